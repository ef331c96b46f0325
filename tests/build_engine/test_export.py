"""Export and folding against Keras, on networks with every weight and statistic set at random."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from build_engine import export
from edge_app.engines.manifest import load_manifest
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError
from edge_app.faces.detect import CenterFace
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256, align, normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

MODELS = Path(__file__).resolve().parents[2] / "models"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def _random_recogniser() -> Any:
    """Return a recogniser whose BatchNormalization is far from the identity."""
    from dsr_inception import network

    model = network.recogniser(224)
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            size = layer.gamma.shape
            layer.set_weights(
                [rng.uniform(0.3, 1.5, size), rng.normal(0, 0.5, size), rng.normal(0.5, 0.2, size),
                 rng.uniform(0.2, 1.5, size)]
            )  # fmt: skip
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    """Return one random recogniser for the module."""
    return _random_recogniser()


@pytest.fixture(scope="module")
def plain(model: Any) -> Any:
    """Return its graph with BatchNormalization."""
    return export.onnx_from_keras(model, fold=False)


@pytest.fixture(scope="module")
def folded(model: Any) -> Any:
    """Return its graph without."""
    return export.onnx_from_keras(model, fold=True)


def _kinds(proto: Any) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def test_plain_graph_agrees_with_keras(model: Any, plain: Any) -> None:
    """Conversion changes no component by more than 1e-5."""
    assert export.parity(model, plain) <= 1e-5


def test_folded_graph_agrees_with_keras(model: Any, folded: Any) -> None:
    """Folding changes no component by more than 1e-5, with shifts and scales far from the identity."""
    assert export.parity(model, folded) <= 1e-5


def test_folding_leaves_only_convolutions_pools_and_sums(plain: Any, folded: Any) -> None:
    """Five affines are gone; the 45 convolutions are all still there, five of them in four parts each."""
    assert (45, 45 + 5 * 3) == (_kinds(plain).count("Conv"), _kinds(folded).count("Conv"))
    assert 5 == _kinds(plain).count("Mul") - _kinds(folded).count("Mul")


def test_shipped_graphs_agree_with_keras_on_real_faces(
    demo_photos: Mapping[str, Path], centerface: Path
) -> None:
    """Both FP32 files of the release, on the public photos' faces as the box cuts them, within 1e-4."""
    import cv2
    import keras

    from dsr_inception import network  # noqa: F401 -- registers the layers that the file names

    detector = CenterFace.open(centerface)
    crops = []
    for path in demo_photos.values():
        picture = cv2.imread(str(path))
        face = max(detector.detect(picture), key=lambda one: one.box.width * one.box.height)
        crops.append(align(picture, np.asarray(face.landmarks, np.float32)))
    faces = normalise(np.stack(crops))
    wanted = np.asarray(keras.saving.load_model(MODELS / "dsr_inception.keras")(faces, training=False))
    for name in ("dsr_inception", "dsr_inception.plain"):
        engine = OnnxEngine(load_manifest(MODELS / f"{name}.json").verify())
        found = engine.run(np.ascontiguousarray(faces.transpose(0, 3, 1, 2)))[0]
        assert np.abs(found - wanted).max() <= export.PARITY, name


def test_same_weights_are_the_same_bytes(plain: Any) -> None:
    """Whatever order and numbers the converter chose this time, the file and so its hash are one."""
    other = copy.deepcopy(plain)
    names = {w.name: f"const_fold_opt__{900 + i}" for i, w in enumerate(other.graph.initializer)}
    numbered = {old: new for old, new in names.items() if "/constant" in old}
    assert numbered
    for weight in other.graph.initializer:
        weight.name = numbered.get(weight.name, weight.name)
    waiting, ready = list(reversed(copy.deepcopy(list(other.graph.node)))), {"input", *numbered.values()}
    ready |= {w.name for w in other.graph.initializer}
    del other.graph.node[:]
    while waiting:
        node = next(n for n in waiting if all(numbered.get(name, name) in ready for name in n.input))
        waiting.remove(node)
        ready.update(node.output)
        for position, name in enumerate(node.input):
            node.input[position] = numbered.get(name, name)
        other.graph.node.append(node)
    backwards = list(reversed(copy.deepcopy(list(other.graph.initializer))))
    del other.graph.initializer[:]
    other.graph.initializer.extend(backwards)
    assert other.SerializeToString(deterministic=True) != plain.SerializeToString(deterministic=True)
    export._put_in_order(other)
    assert other.SerializeToString(deterministic=True) == plain.SerializeToString(deterministic=True)


def test_parity_can_fail(model: Any, folded: Any) -> None:
    """A single altered bias is seen: the check is no formality."""
    import onnx
    from onnx import numpy_helper

    broken = onnx.ModelProto()
    broken.CopyFrom(folded)
    weight = next(w for w in broken.graph.initializer if len(w.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(0.5), weight.name))
    assert export.PARITY < export.parity(model, broken)


def test_names_and_metadata(folded: Any) -> None:
    """Input, output, dynamic batch, opset and the preprocessing's hash are what the box expects."""
    value, output = folded.graph.input[0], folded.graph.output[0]
    dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
    assert ("input", ["N", 3, 224, 224]) == (value.name, dims)
    assert ("embedding", "N", 128) == (
        output.name,
        output.type.tensor_type.shape.dim[0].dim_param,
        output.type.tensor_type.shape.dim[1].dim_value,
    )
    assert 17 == folded.opset_import[0].version
    metadata = {p.key: p.value for p in folded.metadata_props}
    assert {
        "preprocess_id": PREPROCESS_ID,
        "preprocess_sha256": PREPROCESS_SHA256,
        "batch_normalisation": "folded",
    } == metadata


def test_negative_scale_is_refused() -> None:
    """A BatchNormalization that would not commute with max pooling is named."""
    model = _random_recogniser()
    layer = model.get_layer("s3_bn")
    gamma = np.asarray(layer.gamma).copy()
    gamma[7] = -0.1
    layer.gamma.assign(gamma)
    with pytest.raises(ModelError, match=r"'s3_bn' has a scale of -0.1"):
        export.onnx_from_keras(model)


def test_manifest_is_what_the_box_reads(folded: Any, tmp_path: Path) -> None:
    """The written manifest loads, its hash fits, and nothing temporary is left."""
    path = export.write_model(
        folded, tmp_path, threshold=0.4, threshold_source="test", training={"samples": 1}
    )
    manifest = load_manifest(path)
    assert tmp_path / "dsr_inception.onnx" == manifest.verify()
    assert (0.4, 128, PREPROCESS_SHA256) == (
        manifest.threshold,
        manifest.output_dim,
        manifest.preprocess_sha256,
    )
    assert ["dsr_inception.json", "dsr_inception.onnx"] == sorted(p.name for p in tmp_path.iterdir())


def test_export_without_threshold_says_what_to_do(tmp_path: Path) -> None:
    """No threshold file and no manifest: the error names the command that makes one."""
    with pytest.raises(ModelError, match="dsr-train threshold"):
        export._threshold(None, tmp_path / "dsr_inception.json")
    (tmp_path / "t.json").write_text(json.dumps({"threshold": 0.5, "threshold_source": "x"}))
    assert (0.5, "x") == export._threshold(tmp_path / "t.json", tmp_path / "none.json")


def test_golden_embeddings_stand_in_the_manifest(folded: Any, tmp_path: Path) -> None:
    """Whatever runs the model on a box is compared with them at every start."""
    from edge_app.embedding.opening import require_golden
    from edge_app.engines.onnx_engine import OnnxEngine

    path = export.write_model(folded, tmp_path, threshold=0.4, threshold_source="none", training={})
    manifest = load_manifest(path)
    assert manifest.golden is not None
    assert manifest.sha256 == manifest.golden["reference_sha256"]
    assert require_golden(OnnxEngine(manifest.path), manifest, manifest.golden) > 0.99999
