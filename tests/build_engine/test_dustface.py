from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from build_engine.dustface import dustface_from_keras
from edge_app.engines.manifest import load_manifest
from edge_app.engines.onnx_engine import OnnxEngine
from edge_app.errors import ModelError
from edge_app.faces.dustface import DustFace

if TYPE_CHECKING:
    from pathlib import Path

    import keras


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Return the dust detector's network with drawn weights."""
    from dsr_inception.detector import build_detector

    model = build_detector()
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.12, one.shape).astype(np.float32) for one in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def exported(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of the network's ONNX file."""
    folder = tmp_path_factory.mktemp("dust")
    network.save(folder / "dustface.keras")
    (folder / "recipe.json").write_text('{"minutes": 1.0}')
    return dustface_from_keras(folder / "dustface.keras", folder / "out")


def test_onnx_says_what_keras_says(network: keras.Model, exported: Path) -> None:
    """At a size that is no square, every map agrees: the score as the root of class times objectness."""
    picture = np.random.default_rng(1).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    engine = OnnxEngine(load_manifest(exported).verify())
    ours = engine.run(np.ascontiguousarray(picture.transpose(0, 3, 1, 2)))
    for theirs, cells in zip(network(picture), ours, strict=True):
        values = np.asarray(theirs)[0].transpose(2, 0, 1)
        sure = 1 / (1 + np.exp(-values[:2]))
        np.testing.assert_allclose(np.sqrt(sure[0] * sure[1]), cells[0, 0], atol=1e-4)
        np.testing.assert_allclose(values[2:], cells[0, 1:], rtol=1e-3, atol=1e-3)


def test_box_opens_it_and_its_manifest_says_whose_it_is(exported: Path) -> None:
    """Licence and recipe stand in the manifest; the daemon's class takes the file."""
    content = json.loads(exported.read_text())
    assert content["licence"].startswith("research weights")
    assert {"minutes": 1.0} == content["training"]
    DustFace.open(exported).close()


def test_same_weights_give_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    """The file has no date and no order of chance."""
    again = dustface_from_keras(exported.parent.parent / "dustface.keras", tmp_path)
    assert exported.with_suffix(".onnx").read_bytes() == again.with_suffix(".onnx").read_bytes()


def test_strong_types_keep_the_faces(exported: Path, tmp_path: Path) -> None:
    """The FP16 twin that builders take gives the same maps within FP16."""
    from build_engine.fp16 import write_fp16_twin

    twin = write_fp16_twin(exported)
    picture = np.random.default_rng(2).uniform(0, 255, (1, 3, 32, 32)).astype(np.float32)
    whole, half = (OnnxEngine(path.with_suffix(".onnx")).run(picture) for path in (exported, twin))
    for one, other in zip(whole, half, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.05, atol=0.05 * float(np.abs(one).max()))


def test_other_file_is_refused(tmp_path: Path) -> None:
    """A missing file and one that is no network say what to give."""
    for path in (tmp_path / "none.keras", tmp_path / "text.keras"):
        if path.name == "text.keras":
            path.write_text("nothing")
        with pytest.raises(ModelError, match="is no dust detector") as caught:
            dustface_from_keras(path, tmp_path)
        assert "dsr-train detector" in caught.value.fix
