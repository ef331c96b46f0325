"""Threshold and crops on vectors and pictures whose right answers are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dsr_inception import threshold as th
from dsr_inception.crops import LEVELS, degraded_crops, miner_crops, own_ash, reference_ash
from dsr_inception.datasets import MinerPhoto
from dsr_inception.embedders import unit
from dsr_inception.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

DIM = 32


def _conditions(spread: float) -> tuple[dict[str, list[npt.NDArray[np.float32]]], npt.NDArray[np.str_]]:
    rng = np.random.default_rng(3)
    centres = np.repeat(unit(rng.normal(0, 1, (40, DIM))), 6, axis=0)
    people = np.repeat([f"p{i:02d}" for i in range(40)], 6)
    noise = {name: spread * (1 + i) for i, name in enumerate(th.CONDITIONS)}
    found = {
        name: [
            unit(centres + rng.normal(0, s, centres.shape) / np.sqrt(DIM))
            for _ in range(th.WORN_VIEWS if name == th.WORN else 1)
        ]
        for name, s in noise.items()
    }
    return found, people


def test_threshold_holds_in_every_condition() -> None:
    """The chosen threshold is the highest of the seven, and none lets more than one in 200 in."""
    vectors, people = _conditions(0.4)
    chosen = th.choose_threshold(vectors, people, draws=40)
    assert pytest.approx(max(chosen.per_condition.values()), abs=1e-3) == chosen.threshold
    assert {*th.CONDITIONS, th.PASSAGE, th.WORN_PASSAGE} == set(chosen.per_condition)
    assert all(share <= th.FALSE_ACCEPTS == 5e-3 for share in chosen.false_accepts.values())
    assert chosen.accepted["clean"] >= chosen.accepted["passage"] > chosen.accepted["dark_dust"] > 0.2
    assert chosen.accepted[th.WORN_PASSAGE] > chosen.accepted[th.WORN]
    assert (40, 240) == (chosen.people, chosen.photos)


def test_a_passage_that_is_judged_again_with_every_view_needs_a_higher_threshold() -> None:
    """One name is enough: six looks at the first to the last pool let in more than one look at them all."""
    views, people = _conditions(0.4)
    chosen = th.choose_threshold(views, people, draws=40)
    once = {**views, th.WORN: [th.pool_views(views[th.WORN])] * 3}
    judged_once = th.choose_threshold(once, people, draws=40)
    assert chosen.per_condition[th.WORN_PASSAGE] > judged_once.per_condition[th.WORN_PASSAGE]


def test_threshold_is_reproducible_and_follows_the_impostors() -> None:
    """Same seed, same threshold; a laxer rate gives a lower one."""
    vectors, people = _conditions(0.5)
    strict = th.choose_threshold(vectors, people, draws=20)
    assert strict == th.choose_threshold(vectors, people, draws=20)
    assert th.choose_threshold(vectors, people, draws=20, far=0.05).threshold < strict.threshold


def test_threshold_needs_people_with_photos_to_spare() -> None:
    """Six people with more photos than are registered, or an error that says how many there are."""
    vectors, people = _conditions(0.5)
    few = people < "p03"
    with pytest.raises(DataError, match="need 6 people with more than 4 photos; received 3"):
        th.choose_threshold({k: [one[few] for one in v] for k, v in vectors.items()}, people[few])


class _Detector:
    """Finds the face at its place unless the picture is dark; a stand-in for the network only."""

    backend = "stand-in"

    def __init__(self) -> None:
        self.seen: list[float] = []

    def detect(self, pixels: npt.NDArray[np.uint8]) -> Any:
        from edge_app.records import Box, Face

        self.seen.append(float(pixels.mean()))
        if pixels.mean() < 100:
            return ()
        marks = np.array([[40, 40], [70, 40], [55, 60], [42, 75], [68, 75]], np.float32)
        far = Face(box=Box(0, 0, 12, 12), landmarks=marks, score=0.99)
        return (far, Face(box=Box(30, 25, 50, 65), landmarks=marks, score=0.9))

    def close(self) -> None:
        """Do nothing."""


class _Photos:
    """One even picture under every name."""

    name = "drawn"

    def read(self, _: str) -> npt.NDArray[np.uint8]:
        return np.full((120, 120, 3), 150, np.uint8)


def test_miner_crops_count_what_the_detector_missed() -> None:
    """A face lost under heavy ash is cropped with the clean landmarks and counted as not found."""

    def ash(image: npt.NDArray[np.uint8], box: Any, level: int, key: str) -> npt.NDArray[np.uint8]:
        assert f"p/front/{level}" == key
        return image if level < 2 else (image // 4).astype(np.uint8)

    photo = MinerPhoto("p", "front", "p/front.jpg", (30, 25, 50, 65), real_pose=True)
    found = miner_crops(_Photos(), [photo], _Detector(), ash)  # type: ignore[arg-type]
    assert [True, True, False] == [bool(found[level].found[0]) for level in LEVELS]
    assert (1, 224, 224, 3) == found["heavy"].crops.shape
    assert 37 == int(found["heavy"].crops[0, 112, 112, 0])


def test_degraded_crops_are_seeded_and_clean_is_untouched() -> None:
    """Conditions are functions of seed and place in the batch."""
    crops = np.random.default_rng(0).integers(60, 200, (3, 224, 224, 3), dtype=np.uint8)
    assert degraded_crops(crops, "clean", seed=1) is crops
    for condition in ("light", "heavy", "dark_dust"):
        one, two = (degraded_crops(crops, condition, seed=1) for _ in range(2))
        np.testing.assert_array_equal(one, two)
        assert (one != crops).any()


def test_own_ash_is_keyed_like_the_yardstick() -> None:
    """The key alone decides the pattern."""
    image = np.full((80, 80, 3), 170, np.uint8)
    one, two, other = (
        own_ash(image, (5, 5, 70, 70), 2, key) for key in ("a/front/2", "a/front/2", "b/front/2")
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_missing_yardstick_says_where_it_belongs(tmp_path: Path) -> None:
    """The message names the file; a present one is loaded."""
    with pytest.raises(DataError, match=r"put ash_reference.py at .*nowhere.py"):
        reference_ash(tmp_path / "nowhere.py")
    (tmp_path / "ash.py").write_text("def ash(image, box, level, key):\n    return image\n")
    image = np.zeros((4, 4, 3), np.uint8)
    assert image is reference_ash(tmp_path / "ash.py")(image, (0, 0, 4, 4), 1, "k")
