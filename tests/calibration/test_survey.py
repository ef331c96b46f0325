"""From a folder of pictures to a manifest or a refusal, with the real detector on public photos.

The good folder is made of the public photos under other framings and light, so that no research data is
needed; there are too few people among them, so each framing counts as a person.
"""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from calibration import cli
from calibration.manifest import crops_of, load_calibration_manifest
from calibration.pictures import PictureFolder
from calibration.survey import choose, read_consent
from edge_app.errors import PhotoError, PreprocessMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONSENT = {"statement": "public portraits", "by": "the test", "date": "2026-11-01", "people": "*"}
PEOPLE, POSES, LEVELS = 8, ("front", "left", "right"), ("clean", "light", "heavy")


def _picture(photo: Any, *, who: int, pose: int, level: int) -> Any:
    """Return one of 72 different pictures of a face: turned, moved, lit and tinted."""
    rng = np.random.default_rng([who, pose, level])
    height, width = photo.shape[:2]
    size = 320
    turn = cv2.getRotationMatrix2D(
        (width / 2, height / 2), float(rng.uniform(-12, 12)), size / max(height, width)
    )
    turn[:, 2] += np.array([size / 2 - width / 2, size / 2 - height / 2])
    seen = cv2.warpAffine(photo, turn, (size, size), borderValue=(60, 60, 60)).astype(np.float32)
    ramp = np.linspace(*rng.uniform(0.6, 1.2, 2), size)[None, :, None]
    return np.clip(seen * ramp * rng.uniform(0.85, 1.1) + rng.normal(0, 3, seen.shape), 0, 255).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo_photos: Mapping[str, Path]) -> Path:
    """Return PERSON/LEVEL/POSE.jpg: 8 x 3 x 3 pictures with a consent note."""
    top = tmp_path_factory.mktemp("mf") / "set"
    photos = [cv2.imread(str(path)) for path in demo_photos.values()]
    for who in range(PEOPLE):
        for level, name in enumerate(LEVELS):
            (top / f"p{who}" / name).mkdir(parents=True)
            for pose, of in enumerate(POSES):
                picture = _picture(photos[who % len(photos)], who=who, pose=pose, level=level)
                cv2.imwrite(str(top / f"p{who}" / name / f"{of}.jpg"), picture)
    (top / "consent.json").write_text(json.dumps(CONSENT))
    return top


@pytest.fixture(scope="module")
def made(folder: Path, centerface: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of that folder, made by the command."""
    out = tmp_path_factory.mktemp("out") / "calibration.json"
    assert 0 == cli.main(["manifest", str(folder), "--detector", str(centerface), "--out", str(out)])
    return out


def test_a_good_folder_gives_a_manifest(made: Path, folder: Path) -> None:
    """Counts, light, hashes; no picture in it; the crops come out of the files again."""
    content = json.loads(made.read_text())
    assert (PEOPLE, set(LEVELS), 0) == (content["people"], set(content["levels"]), content["simulated_ash"])
    assert 64 <= content["pictures"] <= 72
    assert ["nobody said"] == [text[:11] for text in content["warnings"]]
    manifest, digest = load_calibration_manifest(made)
    assert 64 == len(digest)
    crops = crops_of(manifest, PictureFolder(folder))
    assert (content["pictures"], 224, 224, 3) == crops.shape


def test_an_archive_reads_like_its_folder(made: Path, folder: Path, tmp_path: Path) -> None:
    """The same crops out of a tar."""
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname="set")
    manifest, _ = load_calibration_manifest(made)
    assert (crops_of(manifest, PictureFolder(archive)) == crops_of(manifest, PictureFolder(folder))).all()


def test_an_exchanged_picture_is_refused(made: Path, folder: Path, tmp_path: Path) -> None:
    """The file's hash is in the manifest."""
    import shutil

    copy = tmp_path / "set"
    shutil.copytree(folder, copy)
    manifest, _ = load_calibration_manifest(made)
    first, second = (entry.picture.file for entry in manifest.entries[:2])
    shutil.copy(copy / second, copy / first)
    with pytest.raises(PhotoError, match="is not the manifest's picture"):
        crops_of(manifest, PictureFolder(copy))


def test_other_preprocessing_is_refused(made: Path, tmp_path: Path) -> None:
    """A manifest that was made by another release."""
    content = json.loads(made.read_text())
    content["preprocess"] = {"id": "other", "sha256": "0" * 64}
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(PreprocessMismatch, match="'other'"):
        load_calibration_manifest(tmp_path / "m.json")


def _refused(folder: Path, centerface: Path, capsys: pytest.CaptureFixture[str], *extra: str) -> str:
    out = folder.parent / "never.json"
    status = cli.main(["manifest", str(folder), "--detector", str(centerface), "--out", str(out), *extra])
    assert 2 == status
    assert not out.exists()
    said = capsys.readouterr()
    return said.out + said.err


def test_three_pictures_are_refused(
    demo_photos: Mapping[str, Path], centerface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, every reason on its own line, nothing written; a picture in no known place is named."""
    for name in ("obama", "biden", "astronaut"):
        (tmp_path / "s" / name / "clean").mkdir(parents=True)
        image = cv2.imread(str(demo_photos[name]))
        cv2.imwrite(str(tmp_path / "s" / name / "clean" / "front.jpg"), image)
    said = _refused(tmp_path / "s", centerface, capsys)
    for code in ("consent", "too-few", "few-people", "few-poses", "levels"):
        assert f"REFUSED [{code}]" in said
    (tmp_path / "s" / "obama" / "clean").rename(tmp_path / "s" / "obama" / "dusty")
    said = _refused(tmp_path / "s", centerface, capsys)
    assert "left out: obama/dusty/front.jpg: neither PERSON/LEVEL/POSE with LEVEL one of clean" in said


def test_black_pictures_are_refused(
    centerface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No face is found in any of them, and that is said for each."""
    for who in range(10):
        for level in LEVELS:
            (tmp_path / "s" / f"p{who}" / level).mkdir(parents=True)
            for pose in POSES:
                cv2.imwrite(
                    str(tmp_path / "s" / f"p{who}" / level / f"{pose}.png"), np.zeros((160, 160, 3), np.uint8)
                )
    said = _refused(tmp_path / "s", centerface, capsys)
    assert 90 == said.count("no face found")
    assert "REFUSED [too-few] 0 different pictures" in said


def test_one_person_and_evaluation_people_are_refused(
    folder: Path, centerface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However good the pictures are."""
    said = _refused(folder, centerface, capsys, "--people", "p0")
    assert "REFUSED [one-person] 9 of 9" in said
    (tmp_path / "judges").write_text("p3\n\nsomebody p0\n")
    said = _refused(folder, centerface, capsys, "--held-out", str(tmp_path / "judges"))
    assert "REFUSED [overlap] 1 people are also evaluation people (p3)" in said
    (tmp_path / "splits.json").write_text("[]")
    said = _refused(folder, centerface, capsys, "--splits", str(tmp_path / "splits.json"))
    assert "the evaluation people cannot be read" in said


def test_missing_and_empty_folders_say_what_to_do(
    centerface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither is a traceback."""
    assert "there is no folder" in _refused(tmp_path / "none", centerface, capsys)
    (tmp_path / "empty").mkdir()
    assert "PERSON/LEVEL/POSE.jpg" in _refused(tmp_path / "empty", centerface, capsys)
    (tmp_path / "x.tar").write_bytes(b"not an archive")
    assert "no readable tar" in _refused(tmp_path / "x.tar", centerface, capsys)


def test_a_consent_note_says_four_things(tmp_path: Path) -> None:
    """Statement, by whom, when, for whom."""
    (tmp_path / "consent.json").write_text(json.dumps(CONSENT | {"by": ""}))
    with pytest.raises(PhotoError, match=r"does not say \['by'\]"):
        read_consent(PictureFolder(tmp_path), None)
    (tmp_path / "consent.json").unlink()
    assert read_consent(PictureFolder(tmp_path), None) is None


def test_the_choice_is_balanced(folder: Path) -> None:
    """24 of 72: every level 8 times, every person 3 times, every pose 8 times; the same every time."""
    pictures = PictureFolder(folder).pictures()
    chosen = choose(pictures, 24)
    assert chosen == choose(pictures, 24)
    for kind, expected in (("level", 8), ("person", 3), ("pose", 8)):
        values = [getattr(p, kind) for p in chosen]
        assert {expected} == {values.count(value) for value in values}, kind
