from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper
from onnx.utils import Extractor

from build_engine.inspect import inspect
from build_engine.layers import parse_layers
from build_engine.trt_api import TENSORRT, TENSORRT_RTX, BuildRequest, Toolkit
from edge_app.engines.store import plan_version
from edge_app.errors import BuildFailed, ModelError, NotInt8
from tests import engine_models

if TYPE_CHECKING:
    from pathlib import Path

    from build_engine.inspect import Inspection


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the small recogniser as all the files that builders want."""
    return engine_models.write(tmp_path_factory.mktemp("models")).parent


@pytest.fixture(scope="module")
def rtx() -> Toolkit:
    """Return TensorRT-RTX's real builder."""
    return Toolkit(TENSORRT_RTX)


def build(rtx: Toolkit, model: bytes, target: str = "SM86") -> Inspection:
    """Build `model` and return what its convolutions compute in."""
    built = rtx.build(model, BuildRequest(precision="int8", target=target), on_message=lambda _: None)
    return inspect(model, parse_layers(built.layer_text))


def trunk(path: Path) -> bytes:
    """Return the network in `path` up to its average pooling: Turing has no FP32 matrix product."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    cut: bytes = Extractor(model).extract_model(["input"], ["gap"]).SerializeToString()
    return cut


@pytest.mark.parametrize("target", ["SM86", "SM89"])
@pytest.mark.parametrize(
    ("variant", "types"),
    [
        ("", {"Float": 7}),
        (".fp16", {"Half": 7}),
        (".qdq-fp32", {"Float": 1, "Int8": 6}),
        (".qdq-fp16", {"Half": 1, "Int8": 6}),
    ],
)
def test_every_precision_is_built_in_its_types(
    rtx: Toolkit, folder: Path, variant: str, types: dict[str, int], target: str
) -> None:
    """FP32, FP16 and INT8 engines compute in the types of their graphs, on both GPUs."""
    model = (folder / f"{engine_models.NAME}{variant}.onnx").read_bytes()
    assert types == build(rtx, model, target).record()["by_type"]


def test_int8_leaves_the_depthwise_convolution_in_floating_point(rtx: Toolkit, folder: Path) -> None:
    """Nearly all multiply-accumulates run in INT8, and the depthwise ones do not."""
    found = build(rtx, (folder / "small.qdq-fp16.onnx").read_bytes())
    found.require_int8()
    assert (0.9934, ()) == (round(found.int8_mac_share, 4), found.depthwise_int8)


@pytest.mark.parametrize("variant", ["qdq-fp32", "qdq-fp16"])
def test_negative_control_a_gpu_without_int8_here_is_found_out(
    rtx: Toolkit, folder: Path, variant: str
) -> None:
    """SM75 builds the very same Q/DQ graph without a word, and with no convolution in INT8."""
    model = trunk(folder / f"small.{variant}.onnx")
    build(rtx, model, "SM86").require_int8()
    turing = build(rtx, model, "SM75")
    assert 0.0 == turing.int8_mac_share
    with pytest.raises(NotInt8, match=r"only 0\.0% of the multiply-accumulates run in INT8"):
        turing.require_int8()


def test_warning_is_told_once_and_not_for_each_layer(rtx: Toolkit, folder: Path) -> None:
    """The builder warns of every quantised convolution in the same words; a person reads them once."""
    told: list[str] = []
    request = BuildRequest(precision="int8", target="SM86")
    rtx.build((folder / "small.qdq-fp16.onnx").read_bytes(), request, on_message=told.append)
    warnings = [message for message in told if message.startswith("warning:")]
    assert sorted(set(warnings)) == sorted(warnings)
    assert any("activation scales" in message for message in warnings)


def test_plan_says_who_built_it(rtx: Toolkit, folder: Path) -> None:
    """Builder and version stand in the plan's first bytes, readable without the builder."""
    model = (folder / "small.onnx").read_bytes()
    built = rtx.build(model, BuildRequest(precision="fp32", target="SM86"), on_message=lambda _: None)
    assert (TENSORRT_RTX, rtx.version) == plan_version(built.plan)


def damaged(content: bytes) -> dict[str, tuple[bytes, str]]:
    """Return bad networks, each with what the error must say."""
    unknown = onnx.load_model_from_string(content)
    unknown.graph.node[0].op_type = "Frobnicate"
    dangling = onnx.load_model_from_string(content)
    dangling.graph.node[0].input[0] = "nowhere"
    two = onnx.load_model_from_string(content)
    two.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["N", 3]))
    return {
        "empty": (b"", "the ONNX file is empty"),
        "garbage": (b"not a network at all" * 50, "cannot read the ONNX file"),
        "truncated": (content[: len(content) // 2], "cannot read the ONNX file"),
        "unknown-op": (unknown.SerializeToString(), "Frobnicate"),
        "dangling": (dangling.SerializeToString(), "cannot read the ONNX file"),
        "two-inputs": (two.SerializeToString(), "must have one input"),
        "no-network": (onnx.ModelProto(ir_version=8).SerializeToString(), "network|ONNX"),
    }


@pytest.mark.parametrize(
    "kind", ["empty", "garbage", "truncated", "unknown-op", "dangling", "two-inputs", "no-network"]
)
def test_bad_networks_are_refused_with_what_is_wrong(rtx: Toolkit, folder: Path, kind: str) -> None:
    """Whatever is handed over, the answer is an error that names it, never an engine."""
    model, said = damaged((folder / "small.onnx").read_bytes())[kind]
    with pytest.raises(BuildFailed, match=said):
        rtx.build(model, BuildRequest(precision="fp32", target="SM86"), on_message=lambda _: None)


def test_builder_gives_up_aloud_and_the_process_is_done_for(folder: Path) -> None:
    """What Turing cannot do is told in the builder's words; and no INT8 comes after it (found 2026-11)."""
    code = """
import sys
from pathlib import Path
from build_engine.inspect import inspect
from build_engine.layers import parse_layers
from build_engine.trt_api import BuildRequest, Toolkit
from edge_app.errors import BuildFailed
toolkit, models = Toolkit("tensorrt-rtx"), [Path(path).read_bytes() for path in sys.argv[1:]]
def share(target, model):
    built = toolkit.build(model, BuildRequest(precision="int8", target=target), on_message=lambda _: None)
    return round(inspect(model, parse_layers(built.layer_text)).int8_mac_share, 2)
print(share("SM86", models[0]))
try:
    share("SM75", models[1])
except BuildFailed as error:
    print("FP32 GEMM is not supported" in error.what, error.out_of_memory)
print(share("SM86", models[0]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *(str(folder / f"small.qdq-fp{bits}.onnx") for bits in (16, 32))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ["0.99", "True False", "0.0"] == done.stdout.splitlines()


def test_builders_that_are_not_here_say_how_to_get_them() -> None:
    """A name that there is none of, a library that is missing, a GPU that cannot be built for."""
    with pytest.raises(ModelError, match="there is no builder 'cuda'"):
        Toolkit("cuda")
    with pytest.raises(ModelError, match="tensorrt cannot be used here") as caught:
        Toolkit(TENSORRT)
    assert "JetPack" in caught.value.fix


def test_gpu_that_cannot_be_built_for_lists_the_others(rtx: Toolkit, folder: Path) -> None:
    """A Jetson's GPU is not among TensorRT-RTX's: its engines are built on it, by TensorRT."""
    with pytest.raises(ModelError, match="cannot build for 'SM87'") as caught:
        build(rtx, (folder / "small.onnx").read_bytes(), "SM87")
    assert "SM86" in caught.value.fix
