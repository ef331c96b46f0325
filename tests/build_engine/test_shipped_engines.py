"""The shipped weights as engines: size, types, on the two GPUs; and the quantised graph on the CPU.

Of a release without the graphs for builders, what there is is tested: FP32 alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from build_engine.build import BuildOptions, build_engine
from build_engine.inspect import MIN_INT8_SHARE
from build_engine.trt_api import TENSORRT_RTX, Toolkit
from edge_app.embedding.opening import recogniser_manifest, require_golden
from edge_app.engines.golden import golden_batch
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.engines.openvino_engine import OpenVinoEngine

if TYPE_CHECKING:
    from edge_app.engines.engine import Engine

MODELS: Final = Path(__file__).resolve().parents[2] / "models"
MODEL: Final = MODELS / "dsr_inception.json"
QUANTISED: Final = (MODELS / "dsr_inception.qdq-fp16.json").exists()
#: The bar of an INT8 engine's file.
MAX_BYTES: Final = 6_000_000


@pytest.mark.parametrize("target", ["SM86", "SM89"])
@pytest.mark.parametrize("precision", ["fp32", *(["fp16", "int8"] if QUANTISED else [])])
def test_shipped_weights_become_engines(tmp_path: Path, precision: str, target: str) -> None:
    """Every type builds; the INT8 engine is small, and is INT8 but for its depthwise convolutions."""
    options = BuildOptions(model=MODEL, out=tmp_path, precision=precision, target=target)
    result = build_engine(Toolkit(TENSORRT_RTX), options, say=lambda _: None)
    manifest = json.loads(result.manifest.read_text())
    layers = manifest["layers"]
    assert {"int8": {"Int8", "Half"}, "fp16": {"Half"}, "fp32": {"Float"}}[precision] == set(
        layers["by_type"]
    )
    if precision == "int8":
        assert manifest["bytes"] <= MAX_BYTES
        graph = json.loads((MODELS / "dsr_inception.qdq-fp16.json").read_text())["int8"]
        assert (graph["of"], graph["convolutions"], []) == (
            layers["convolutions"],
            layers["int8"],
            layers["depthwise_int8"],
        )
        assert layers["int8_mac_share"] >= MIN_INT8_SHARE


if QUANTISED:

    @pytest.mark.parametrize("backend", [OnnxEngine, OpenVinoEngine])
    @pytest.mark.parametrize("variant", ["qdq-fp32", "qdq-fp16"])
    def test_quantised_graphs_give_their_golden_embeddings(variant: str, backend: type[Engine]) -> None:
        """In both CPU runtimes, within what their manifest allows."""
        path = MODELS / f"dsr_inception.{variant}.json"
        manifest = recogniser_manifest(path)
        assert manifest.golden is not None
        engine = backend(manifest.verify())  # type: ignore[call-arg] # both take a path
        assert require_golden(engine, manifest, manifest.golden) >= float(manifest.golden["min_cosine"])
        engine.close()


def test_openvino_says_what_onnx_runtime_says_with_the_shipped_weights() -> None:
    """In BF16, at a cosine of .999 and more on the golden pictures."""
    path = recogniser_manifest(MODEL).verify()
    fast, reference = OpenVinoEngine(path), OnnxEngine(path)
    cosine = [float((fast.run(one[None])[0] * reference.run(one[None])[0]).sum()) for one in golden_batch()]
    assert min(cosine) > 0.999
    np.testing.assert_allclose(1.0, np.linalg.norm(fast.run(golden_batch()[:1])[0]), atol=1e-2)
