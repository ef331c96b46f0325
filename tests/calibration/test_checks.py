"""Every reason to refuse a calibration set, on sets that are right but for one thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.checks import Sample, check_set, duplicates, light_of

POSES = ("front", "left", "right", "up")
EVERYBODY = ["*"]


def _good(people: int = 10) -> list[Sample]:
    """Return a set that passes: `people` x 4 poses x 3 levels, in ordinary light."""
    rng = np.random.default_rng(0)
    return [
        Sample(
            person=f"p{who}", level=level, pose=pose, file_sha256=f"{who}{pose}", simulated=level != "clean",
            luminance=100 + who, spread=50, mean=(120, 100, 90),
            thumbnail=rng.uniform(0, 255, (8, 8)).astype(np.float32),
        )
        for who in range(people)
        for pose in POSES
        for level in ("clean", "light", "heavy")
    ]  # fmt: skip


def _codes(samples: list[Sample], **changes: object) -> list[str]:
    told = {"held_out": ["x1"], "consented": EVERYBODY} | changes
    return [finding.code for finding in check_set(samples, **told)]  # type: ignore[arg-type]


def test_a_good_set_passes() -> None:
    """Nothing is found in it: every refusal below is about what was changed."""
    assert [] == _codes(_good())


def test_three_pictures_are_refused() -> None:
    """And so are too few people and poses with them."""
    assert {"too-few", "few-people", "few-poses"} <= set(_codes(_good()[:3]))


def test_one_person_is_refused() -> None:
    """However many pictures there are of them."""
    samples = [replace(s, person="p0") for s in _good()]
    assert ["few-people", "one-person"] == _codes(samples)


def test_one_pose_is_refused() -> None:
    """A box sees people from the side."""
    assert ["few-poses", "one-pose"] == _codes([replace(s, pose="front") for s in _good()])


def test_missing_ash_is_refused() -> None:
    """Each level needs its share, or scales are those of clean faces."""
    (finding,) = check_set([replace(s, level="clean") for s in _good()], held_out=[], consented=EVERYBODY)
    assert "levels" == finding.code
    assert "light 0, heavy 0" in finding.text


@pytest.mark.parametrize(("luminance", "code"), [(0.0, "dark"), (25.0, "dark"), (240.0, "bright")])
def test_wrong_light_is_refused(luminance: float, code: str) -> None:
    """Too dark leaves a cosine of .44 to FP32."""
    assert [code] == _codes([replace(s, luminance=luminance) for s in _good()])


def test_black_pictures_are_refused_as_dark_and_flat() -> None:
    """All black: no light, and nothing to be seen."""
    assert {"dark", "flat"} == set(_codes([replace(s, luminance=0, spread=0) for s in _good()]))


def test_some_dark_pictures_are_allowed() -> None:
    """A tunnel has dark corners: a tenth may be dark."""
    samples = _good()
    samples[::10] = [replace(s, luminance=20) for s in samples[::10]]
    assert [] == _codes(samples)


def test_evaluation_people_are_refused_by_name() -> None:
    """Who judges must not have been calibrated on; not saying who judges is a warning."""
    (finding,) = check_set(_good(), held_out=["p3", "zz"], consented=EVERYBODY)
    assert ("overlap", True) == (finding.code, finding.refuses)
    assert "p3" in finding.text
    (finding,) = check_set(_good(), held_out=None, consented=EVERYBODY)
    assert ("overlap-unchecked", False) == (finding.code, finding.refuses)


def test_pictures_without_consent_are_refused() -> None:
    """No note at all, or a note that leaves somebody out."""
    assert ["consent"] == _codes(_good(), consented=None)
    (finding,) = check_set(_good(), held_out=[], consented=[f"p{i}" for i in range(9)])
    assert "does not cover 1 people (p9)" in finding.text


def test_blue_faces_are_a_warning() -> None:
    """Red and blue may be swapped, or the light is cold."""
    (finding,) = check_set(
        [replace(s, mean=(80, 100, 130)) for s in _good()], held_out=[], consented=EVERYBODY
    )
    assert ("colour", False) == (finding.code, finding.refuses)


def test_duplicates_are_found_by_bytes_and_by_looks() -> None:
    """The same file twice, the same picture coded again; the same file under other ash is none."""
    samples = _good()[:4]
    again = replace(samples[0], person="other", file_sha256="recoded", thumbnail=samples[0].thumbnail + 0.5)
    assert [(0, 4)] == duplicates([*samples, again])
    assert [(0, 4)] == duplicates([*samples, replace(samples[0], thumbnail=samples[0].thumbnail + 90)])
    assert [] == duplicates(samples)


def test_light_of_a_crop() -> None:
    """Mean and spread of luminance, and an 8x8 thumbnail."""
    crop = np.zeros((224, 224, 3), np.uint8)
    crop[:112] = 200
    luminance, spread, thumbnail = light_of(crop)
    assert (100.0, 100.0) == (pytest.approx(luminance, abs=0.01), pytest.approx(spread, abs=0.01))
    assert [200.0] * 4 + [0.0] * 4 == pytest.approx(thumbnail[:, 3].tolist(), abs=0.01)
