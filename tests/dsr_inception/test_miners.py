"""Identification and open set on vectors whose right answers are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dsr_inception import miners as mi
from dsr_inception.crops import LEVELS
from dsr_inception.datasets import POSES, MinerPhoto, PhotoSet
from dsr_inception.embedders import unit
from dsr_inception.open_set import FALSE_ACCEPTS, evaluate_open_set, stranger_vectors
from dsr_inception.report import Report

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

DIM = 32
EASY = {"clean": 0.1, "light": 0.3, "heavy": 8.0}


def _miners(people: int, noise: dict[str, float]) -> mi.MinerVectors:
    """Return vectors of `people` in all poses: a direction each, plus noise by level."""
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(0, 1, (people, DIM)))
    photos = tuple(
        MinerPhoto(f"p{i:02d}", pose, "", (0, 0, 1, 1), real_pose=True)
        for i in range(people)
        for pose in POSES
    )
    base = np.repeat(centres, len(POSES), axis=0)
    by_level = {k: unit(base + rng.normal(0, s, base.shape) / np.sqrt(DIM)) for k, s in noise.items()}
    return mi.MinerVectors(photos, by_level)


@pytest.mark.parametrize("pooling", mi.POOLINGS)
def test_leave_pose_out_finds_people_and_chance_finds_none(pooling: str) -> None:
    """Nearly clean vectors are all right; vectors that are mostly noise are near chance."""
    vectors = _miners(12, EASY)
    assert mi.leave_pose_out(vectors, "light", pooling=pooling).all()
    assert mi.leave_pose_out(vectors, "heavy", pooling=pooling).mean() < 0.4


def test_leave_pose_out_never_sees_the_probes_own_photo() -> None:
    """Where only a photo itself points at its person, leaving its pose out leaves nothing: all wrong."""
    photos = tuple(MinerPhoto(p, pose, "", (0, 0, 1, 1), real_pose=True) for p in "ab" for pose in POSES)
    own = np.eye(14, 15, dtype=np.float32)
    own[:, 14] = 0.1
    vectors = mi.MinerVectors(photos, {"clean": unit(own)})
    # Every score between different photos is equal, so the first person always wins.
    right = mi.leave_pose_out(vectors, "clean", pooling="nearest")
    assert [True] * 7 + [False] * 7 == right.tolist()


def test_leave_level_out_may_see_the_same_photo_and_leave_both_out_may_not() -> None:
    """Photos that only resemble themselves under other ash are found by level, and by pose are not."""
    photos = tuple(MinerPhoto(p, pose, "", (0, 0, 1, 1), real_pose=True) for p in "ab" for pose in POSES)
    own = unit(np.eye(14, 15, dtype=np.float32) + 0.1 * np.eye(1, 15, 14, dtype=np.float32))
    vectors = mi.MinerVectors(photos, dict.fromkeys(LEVELS, own))
    assert mi.leave_level_out(vectors, "heavy", pooling="nearest").all()
    right = mi.leave_pose_out(vectors, "heavy", pooling="nearest", enrolled=LEVELS[:2])
    assert [True] * 7 + [False] * 7 == right.tolist()


def test_front_only_does_not_score_the_registered_photo() -> None:
    """Clean: the registered fronts are no probes. Under ash they are: another picture."""
    vectors = _miners(5, EASY)
    assert 5 * 6 == len(mi.front_only(vectors, "clean"))
    assert 5 * 7 == len(mi.front_only(vectors, "light"))
    assert mi.front_only(vectors, "clean").all()


def test_open_set_misses_nobody_far_from_strangers_and_everybody_in_noise() -> None:
    """At one false accept per 1,000 the near are named and the noise is missed."""
    vectors = _miners(12, EASY)
    strangers = unit(np.random.default_rng(5).normal(0, 1, (2000, DIM)))
    report = Report()
    evaluate_open_set(report, {"x": vectors}, {"drawn": {"x": strangers}}, draws=3, threshold=0.5)
    rows = report.figures["open"]["x"]
    for pooling in mi.POOLINGS:
        assert 0.0 == rows[f"misses, clean, strangers drawn, {pooling}"].value
        assert 0.8 < rows[f"misses, heavy, strangers drawn, {pooling}"].value
        assert 3 * 6 * 7 == rows[f"misses, clean, strangers drawn, {pooling}"].cases
    assert 0.001 == FALSE_ACCEPTS
    assert {"registered": 6, "draws": 3, "false_accepts": 0.001, "strangers drawn": 2000} == report.notes[
        "open"
    ]


def test_open_set_at_the_threshold_says_who_is_let_in() -> None:
    """At a threshold below everything every stranger is let in and nobody is missed."""
    vectors = _miners(8, EASY)
    strangers = unit(np.random.default_rng(5).normal(0, 1, (1000, DIM)))
    report = Report()
    evaluate_open_set(report, {"x": vectors}, {"drawn": {"x": strangers}}, draws=2, threshold=-1.0)
    rows = report.figures["open"]["x"]
    assert 1.0 == rows["let in, strangers drawn, template, at the threshold"].value
    assert 0.0 == rows["misses, clean, strangers drawn, template, at the threshold"].value


def test_report_puts_recognisers_side_by_side() -> None:
    """The table has a column a recogniser and a row a figure; poses are scored on real ones."""
    report = Report()
    for name in ("ours", "peer"):
        mi.enter_rank_one(report, "mf", name, _miners(6, EASY))
    table = report.table()
    assert "| | ours | peer |" in table
    assert "| light, leave-pose-out, template | 100.0 % [100.0, 100.0] | 100.0 %" in table
    assert 42 == report.figures["mf"]["ours"]["light, leave-pose-out, template"].cases
    assert 12 == report.figures["mf"]["ours"]["clean, pose yaw_45 (real)"].cases


class _Mean:
    """An embedder of a crop's mean colour."""

    name = "mean"

    def embed(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return unit(crops.mean(axis=(1, 2)) + 1)


class _Detector:
    """Finds no face: the manifest's box is used."""

    backend = "none"

    def detect(self, _: npt.NDArray[np.uint8]) -> Any:
        return ()

    def close(self) -> None:
        """Do nothing."""


def test_crops_are_made_once_with_a_cache(make_tar: Any, tmp_path: Path, drawn: Any) -> None:
    """The second time neither detector nor ash is asked, and the crops are the same."""
    import json

    rows = [{"person": "a", "pose": pose, "file": f"a/{pose}.png", "box": [20, 20, 80, 80]} for pose in POSES]
    files = {row["file"]: drawn(i) for i, row in enumerate(rows)}
    make_tar("mf_photos", files | {"manifest.json": json.dumps(rows).encode()})
    asked: list[str] = []

    def ash(image: Any, box: Any, level: int, key: str) -> Any:
        asked.append(key)
        return image

    photos, cache = PhotoSet(tmp_path, "mf_photos"), tmp_path / "cache" / "crops.npz"
    first, second = (mi.miner_set(photos, frozenset("a"), _Detector(), ash, cache=cache) for _ in range(2))
    assert 7 * 3 == len(asked)
    np.testing.assert_array_equal(first.crops["light"].crops, second.crops["light"].crops)
    assert not second.crops["clean"].found.any()
    assert (7, 3) == first.vectors(_Mean()).by_level["clean"].shape


def test_strangers_are_one_photo_a_person_and_adults_by_their_file_names(
    make_tar: Any, small_set: Path, drawn: Any
) -> None:
    """Two strangers of whom one is 17, two LFW people of three photos, one CelebA development person."""
    from dsr_inception.datasets import Splits

    make_tar("strangers", {"s1A17.png": drawn(1), "s2A18.png": drawn(2)})
    files = {f"{who}/{who}_{k:04d}.png": drawn(k) for who in ("Ann", "Bob") for k in (1, 2)}
    make_tar("lfw_pairs", files | {"pairs.txt": b"2\t1\nAnn\t1\t2\nAnn\t2\tBob\t1\n"})
    found = stranger_vectors(small_set, Splits.load(small_set), [_Mean()])
    sizes = {kind: len(vectors["mean"]) for kind, vectors in found.items()}
    assert {"asian": 2, "asian adults": 1, "lfw": 2, "celeba development": 3} == sizes
