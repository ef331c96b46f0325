"""Who is tested on what in the closed sets, and their figures by hand."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dsr_inception import closed
from dsr_inception.datasets import Photo, Splits
from dsr_inception.errors import DataError
from dsr_inception.report import Report

if TYPE_CHECKING:
    from pathlib import Path


class _Photos:
    """A set of photos by person, without pictures."""

    name = "celeba_train"

    def __init__(self, counts: dict[str, int]) -> None:
        self._people = {who: [Photo(who, f"{who}/{k:02d}") for k in range(n)] for who, n in counts.items()}

    def by_person(self) -> dict[str, list[Photo]]:
        return self._people


def _splits(deep: set[str], development: set[str]) -> Splits:
    return Splits(frozenset(development), frozenset(deep), frozenset(), frozenset())


def _counts(found: closed.Selection) -> tuple[int, int]:
    return int((~found.test).sum()), int(found.test.sum())


def test_deep_people_are_tested_on_their_last_five() -> None:
    """Five each, last in file order; nobody else is in the set."""
    photos: Any = _Photos({"a": 15, "b": 17, "c": 5})
    found = closed.deep_selection(photos, _splits({"a", "b"}, set()))
    assert (10 + 12, 10) == _counts(found)
    assert ["a/10", "b/16"] == [found.photos[i].file for i in np.flatnonzero(found.test)[[0, -1]]]
    assert {closed.HELD} == set(found.kinds)
    assert (10, 5) == _counts(closed.deep_selection(photos, _splits({"a", "b"}, set()), identities=1))


def test_one_image_class_is_refused() -> None:
    """Somebody with six photos has one left to train on: named."""
    photos: Any = _Photos({"a": 15, "b": 6})
    with pytest.raises(DataError, match="1 people have fewer than 2 pictures: b"):
        closed.deep_selection(photos, _splits({"a", "b"}, set()))


@pytest.mark.parametrize("photos", [1, 5])
def test_class_with_nothing_to_train_on_is_refused(photos: int) -> None:
    """All that somebody has would be tested, of a class that nobody learnt: named, wherever it stands."""
    for who in ("a", "z"):
        chosen: Any = _Photos({"m": 15, who: photos})
        with pytest.raises(DataError, match=f"1 people have fewer than 2 pictures: {who}"):
            closed.deep_selection(chosen, _splits({"m", who}, set()))


def test_empty_class_is_refused() -> None:
    """Somebody of splits.json without a picture is named: the figures would be of fewer people than said."""
    photos: Any = _Photos({"a": 15, "c": 15})
    with pytest.raises(DataError, match="1 of celeba_deep's people have no picture in celeba_train: b; add"):
        closed.deep_selection(photos, _splits({"a", "b", "c"}, set()))


def test_set_without_deep_people_is_refused() -> None:
    """An empty class list says that nobody is there."""
    photos: Any = _Photos({"a": 15})
    with pytest.raises(DataError, match="nobody to train on"):
        closed.deep_selection(photos, _splits({"b"}, set()))


def test_paper_size_has_exactly_the_pictures_it_says() -> None:
    """Held-back photos of deep people, two of each development person, one of each further one."""
    people = {f"deep{i}": 15 for i in range(2)} | {f"dev{i}": 5 for i in range(3)}
    people |= {f"z{i:02d}": 5 for i in range(20)} | {"zz": 3}
    photos: Any = _Photos(people)
    splits = _splits({"deep0", "deep1"}, {"dev0", "dev1", "dev2"})
    found = closed.paper_selection(photos, splits, train=20 + 9 + 10 * 4 - 3, test=10 + 6 + 10)
    assert (66, 26) == _counts(found)
    kinds = Counter(found.kinds[found.test].tolist())
    assert {closed.HELD: 10, closed.DEVELOPMENT: 6, closed.SEEN: 10} == kinds
    own = [p.file for p, test in zip(found.photos, found.test, strict=True) if not test and "z0" in p.file]
    assert ["z00/00", "z00/01", "z00/02", "z00/03"] == own[:4]
    last = [p.file for p, test in zip(found.photos, found.test, strict=True) if not test and "z09" in p.file]
    assert ["z09/01", "z09/02", "z09/03"] == last, "those who come last give up a training photo"
    files = [p.file for p in found.photos]
    assert files == sorted(set(files))
    assert found.labels.max() + 1 == 2 + 3 + 10


@pytest.mark.parametrize(("train", "test"), [(1000, 26), (66, 5), (66, 100)])
def test_paper_size_that_cannot_be_had_is_refused(train: int, test: int) -> None:
    """The message says what there is."""
    people = {f"deep{i}": 15 for i in range(2)} | {f"z{i:02d}": 5 for i in range(20)}
    photos: Any = _Photos(people)
    with pytest.raises(DataError, match="20 further people"):
        closed.paper_selection(photos, _splits({"deep0", "deep1"}, set()), train=train, test=test)


def test_the_papers_size_fits_the_real_set(data_dir: Path | None) -> None:
    """14,000 and 4,000 of the real photos, 1,215 of them in no training set; without the data, by count."""
    from dsr_inception.datasets import PhotoSet

    if data_dir is None:
        people = {f"deep{i}": 25 for i in range(123)} | {f"dev{i}": 5 for i in range(300)}
        photos: Any = _Photos(people | {f"z{i:04d}": 5 for i in range(9000)})
        splits = _splits({f"deep{i}" for i in range(123)}, {f"dev{i}" for i in range(300)})
    else:
        photos, splits = PhotoSet(data_dir, "celeba_train"), Splits.load(data_dir)
    found = closed.paper_selection(photos, splits)
    assert (14_000, 4_000) == _counts(found)
    kinds = Counter(found.kinds[found.test].tolist())
    assert {closed.HELD: 615, closed.DEVELOPMENT: 600, closed.SEEN: 2785} == kinds


def test_figures_by_hand() -> None:
    """Three classes: one right, one half right, one never said."""
    report = Report()
    predicted, labels = np.array([0, 0, 1, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    kinds = np.array(["x", "x", "x", "x", "y", "y"])
    closed.enter_closed(report, "set", "scheme f", predicted, labels, kinds)
    rows = {row: share.value for row, share in report.figures["set"]["scheme f"].items()}
    assert 0.5 == rows[closed.MICRO]
    assert pytest.approx((2 / 3 + 1 / 3 + 0) / 3) == rows["macro precision"]
    assert pytest.approx((1 + 0.5 + 0) / 3) == rows["macro recall"]
    assert pytest.approx((0.8 + 0.4 + 0) / 3) == rows["macro F1"]
    assert (0.75, 0.0) == (rows["accuracy, x"], rows["accuracy, y"])
    assert all(s.low <= s.value <= s.high for s in report.figures["set"]["scheme f"].values())
