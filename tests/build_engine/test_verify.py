"""The acceptance of whole engines on small sets of pictures, through the command line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from build_engine import cli
from build_engine.recorded import Recorded
from build_engine.verify import open_candidate
from edge_app.engines.engine import TensorSpec
from edge_app.errors import ModelError, PreprocessMismatch
from tests import small_inception as small
from tests.tiny_models import DIM, WEIGHTS, mean_colour_network, recogniser

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = 150


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with LFW's layout: 150 people in two photos each, who differ by their colour."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(4)
    colours = rng.uniform(30, 225, (PEOPLE, 3))
    lines = ["2\t0"]
    for who, colour in enumerate(colours):
        person = folder / "lfw_pairs" / f"P{who:03d}"
        person.mkdir(parents=True)
        for number in (1, 2):
            picture = np.clip(colour + rng.normal(0, 6, (128, 128, 3)) + rng.normal(0, 4, 3), 0, 255)
            cv2.imwrite(str(person / f"P{who:03d}_{number:04d}.png"), picture.astype(np.uint8))
        for step in range(1, 8):  # 1,050 pairs of strangers: enough for a false-accept rate of 1e-3
            lines += [f"P{who:03d}\t1\t2", f"P{who:03d}\t1\tP{(who + step) % PEOPLE:03d}\t2"]
    (folder / "lfw_pairs" / "pairs.txt").write_text("\n".join(lines) + "\n")
    return folder


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _verify(candidate: Path, reference: Path, data: Path, centerface: Path, *extra: str) -> int:
    return cli.main([
        "verify", str(candidate), "--reference", str(reference), "--data", str(data),
        "--detector", str(centerface), "--sets", "lfw", *extra,
    ])  # fmt: skip


def test_the_same_network_is_accepted_and_recorded(
    tmp_path: Path, data: Path, centerface: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 0; the verdict stands in the manifest, which still loads."""
    reference = recogniser(_folder(tmp_path / "a"))
    candidate = recogniser(_folder(tmp_path / "b"))
    cache = tmp_path / "cache"
    assert 0 == _verify(candidate, reference, data, centerface, "--record", "--cache", str(cache))
    assert "ACCEPTED (onnxruntime-cpu)" in capsys.readouterr().out
    accuracy = json.loads(candidate.read_text())["accuracy"]
    assert accuracy["accepted"] is True
    assert [1.0, 1.0] == pytest.approx([line["value"] for line in accuracy["gate"][:2]])
    assert len(list(cache.glob("*.npy"))) == 4  # 300 crops and their mirror images, 256 at a time
    assert {"mean": 1.0, "hundredth": 1.0, "least": 1.0} == accuracy["notes"]["single"]["LFW"]
    engine, _ = open_candidate(candidate, backend=None)
    assert (1, DIM) == engine.run(np.zeros((1, 3, 224, 224), np.float32))[0].shape


def test_a_worse_network_is_refused(
    tmp_path: Path, data: Path, centerface: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 4, what failed is named, and the record says that it was not accepted."""
    reference = recogniser(_folder(tmp_path / "a"))
    spoilt = WEIGHTS + np.random.default_rng(8).normal(0, 0.4, WEIGHTS.shape).astype(np.float32)
    network = mean_colour_network(_folder(tmp_path / "b") / "worse.onnx", weights=spoilt)
    candidate = recogniser(tmp_path / "b", network=network)
    out = tmp_path / "verdict.json"
    assert 4 == _verify(candidate, reference, data, centerface, "--record", "--out", str(out))
    assert "REFUSED: mean cosine, LFW" in capsys.readouterr().out
    assert json.loads(candidate.read_text())["accuracy"] == json.loads(out.read_text())
    assert json.loads(out.read_text())["accepted"] is False


def test_openvino_judges_as_well(tmp_path: Path, data: Path, centerface: Path) -> None:
    """The same gate on another backend."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install dsr-edge[openvino]")
    reference = recogniser(_folder(tmp_path / "a"))
    candidate = recogniser(_folder(tmp_path / "b"))
    assert 0 == _verify(candidate, reference, data, centerface, "--backend", "openvino")


def test_missing_faces_are_an_error_not_a_pass(
    tmp_path: Path, centerface: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No set, no verdict: exit status 2."""
    reference = recogniser(tmp_path)
    assert 2 == _verify(reference, reference, tmp_path, centerface)
    assert "lfw_pairs" in capsys.readouterr().err


def test_damaged_or_foreign_candidates_are_refused(tmp_path: Path) -> None:
    """An altered file, another preprocessing, an ONNX file on TensorRT, an unknown backend."""
    path = recogniser(tmp_path)
    with pytest.raises(ModelError, match="does not run on tensorrt"):
        open_candidate(path, backend="tensorrt")
    with pytest.raises(ModelError, match="no backend 'abacus'"):
        open_candidate(path, backend="abacus")
    foreign = recogniser(_folder(tmp_path / "c"), preprocess={"id": "other", "sha256": "0" * 64})
    with pytest.raises(PreprocessMismatch):
        open_candidate(foreign, backend=None)
    shutil.copy(path.with_suffix(".onnx"), tmp_path / "kept")
    content = bytearray(path.with_suffix(".onnx").read_bytes())
    content[len(content) // 2] ^= 1
    path.with_suffix(".onnx").write_bytes(content)
    with pytest.raises(ModelError, match="not the one its manifest describes"):
        open_candidate(path, backend=None)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """A network that overflows must not slip through a comparison with NaN."""
    network = mean_colour_network(tmp_path / "inf.onnx", weights=np.full((3, DIM), np.inf, np.float32))
    engine, manifest = open_candidate(recogniser(tmp_path, network=network), backend=None)
    with pytest.raises(ModelError, match="not finite"):
        Recorded(engine, name="inf", sha256=manifest.sha256).embed(small.pictures(1))


class Halves:
    """An engine that looks at the left half of a picture only, and is off where that is dark."""

    backend = "onnxruntime-cpu"
    inputs = (TensorSpec(name="face", shape=(None, 3, 224, 224), dtype="float32"),)

    def __init__(self, off: float) -> None:
        self._off = off

    def run(self, batch: np.ndarray) -> list[np.ndarray]:  # type: ignore[type-arg]
        """Return two numbers a picture."""
        left = batch[:, :, :, :112].mean(axis=(1, 2, 3))
        return [np.stack([np.ones_like(left), self._off * (left < 0)], 1).astype(np.float32)]


def test_gate_sees_what_the_box_uses_and_notes_the_face_alone() -> None:
    """Half of what one picture is off is left in the mean with its mirror image; both are kept."""
    crops = np.full((1, 224, 224, 3), 255, np.uint8)
    crops[:, :, :112] = 0
    exact, off = (Recorded(Halves(by), name="x", sha256="0" * 64) for by in (0.0, 0.2))  # type: ignore[arg-type]
    used = exact.embed(crops), off.embed(crops)
    alone, both = off.taken(), exact.taken()
    np.testing.assert_array_equal(used[1], alone.used)
    single = np.array([1, 0.2]) / np.sqrt(1.04)
    np.testing.assert_allclose(single[None], alone.single, atol=1e-6)
    mean = single + np.array([1, 0])
    np.testing.assert_allclose((mean / np.linalg.norm(mean))[None], alone.used, atol=1e-6)
    assert float((both.used * alone.used).sum()) > float((both.single * alone.single).sum())
    with pytest.raises(ValueError, match="concatenate"):
        off.taken()
