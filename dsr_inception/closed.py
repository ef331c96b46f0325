"""`dsr-train evaluate --only deep paper`: the closed set, as the paper has it.

- **deep**: the 123 people of ``celeba_deep`` (15 photos or more each). The last five photos of each, in file
  order, are for testing; no training set holds them, pre-training included.
- **paper size**: 14,000 pictures to train on and 4,000 to test, as many as in the paper, which does not say
  whose. Ours (`paper_selection`) are 615 held-back photos of the deep people, the last two of each of the
  300 development people, and the last one of further people in the order of their names. Photos of the
  third kind were in the trunk's pre-training, so their accuracy is an upper bound and stands apart; those
  of the first two were not.

In a closed set every picture gets one of the known names, so precision, recall and F1 averaged over
pictures (micro) are all the accuracy; macro is the mean over people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dsr_inception import metrics
from dsr_inception.datasets import HELD_BACK, require_classes
from dsr_inception.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dsr_inception.datasets import Photo, PhotoSet, Splits
    from dsr_inception.report import Report

    Labels = npt.NDArray[np.integer]

TRAIN: Final = 14_000
TEST: Final = 4_000
DEVELOPMENT_TEST: Final = 2
#: What the test pictures are to the trunk.
HELD: Final = "held back from all training"
DEVELOPMENT: Final = "development people"
SEEN: Final = "seen in pre-training"
MICRO: Final = "accuracy = micro precision, recall, F1"


@dataclass(frozen=True, slots=True)
class Selection:
    """A closed set: `photos` in file order, whose (`labels`, 0..C-1), which test, and of what kind."""

    photos: tuple[Photo, ...]
    labels: npt.NDArray[np.intp]
    test: npt.NDArray[np.bool_]
    kinds: npt.NDArray[np.str_]


def _selection(chosen: Sequence[tuple[Photo, bool, str]]) -> Selection:
    ordered = sorted(chosen, key=lambda row: row[0].file)
    photos, test = tuple(row[0] for row in ordered), np.array([row[1] for row in ordered])
    trained = (p for p, held in zip(photos, test, strict=True) if not held)
    require_classes(trained, least=2, people=[p.person for p in photos])
    _, labels = np.unique([p.person for p in photos], return_inverse=True)
    return Selection(photos, labels, test, np.array([row[2] for row in ordered]))


def _marked(own: Sequence[Photo], held: int, kind: str) -> list[tuple[Photo, bool, str]]:
    return [(photo, place >= len(own) - held, kind) for place, photo in enumerate(own)]


def deep_selection(photos: PhotoSet, splits: Splits, *, identities: int | None = None) -> Selection:
    """Return the deep people's closed set, of the first `identities` of them if given.

    Raises:
        DataError: somebody has fewer than two photos beside the five for testing or none at all, or nobody
            is there.
    """
    people = {who: own for who, own in photos.by_person().items() if who in splits.celeba_deep}
    empty = sorted(splits.celeba_deep - people.keys())
    if people and empty:
        shown = ", ".join(empty[:10])
        raise DataError(
            f"{len(empty)} of celeba_deep's people have no picture in {photos.name}: {shown}; "
            "add their pictures, or take them out of splits.json"
        )
    chosen = dict(sorted(people.items())[:identities])
    return _selection([row for own in chosen.values() for row in _marked(own, HELD_BACK, HELD)])


def paper_selection(photos: PhotoSet, splits: Splits, *, train: int = TRAIN, test: int = TEST) -> Selection:
    """Return the closed set of the paper's size.

    The further people have five photos each, so that four, or for the last of them three, are trained on.

    Raises:
        DataError: the set is too small for that.
    """
    rows: list[tuple[Photo, bool, str]] = []
    others: list[list[Photo]] = []
    for who, own in sorted(photos.by_person().items()):
        if who in splits.celeba_deep:
            rows += _marked(own, HELD_BACK, HELD)
        elif who in splits.celeba_development and len(own) > DEVELOPMENT_TEST + 1:
            rows += _marked(own, DEVELOPMENT_TEST, DEVELOPMENT)
        elif who not in splits.celeba_development and len(own) == HELD_BACK:
            others.append(own)
    left_test = test - sum(held for _, held, _ in rows)
    left_train = train - sum(not held for _, held, _ in rows)
    most = HELD_BACK - 1
    spare = most * left_test - left_train
    if left_test < 0 or not 0 <= spare <= left_test * (most - 2) or left_test > len(others):
        raise DataError(
            f"{photos.name} gives no closed set of {train} and {test} pictures: {len(others)} further people "
            f"with {HELD_BACK} photos are there, for {left_train} and {left_test} more pictures"
        )
    for place, own in enumerate(others[:left_test]):
        drop = spare // left_test + (place >= left_test - spare % left_test)
        rows += _marked(own[drop:], 1, SEEN)
    return _selection(rows)


def by_class(predicted: Labels, labels: Labels) -> tuple[npt.NDArray[np.float64], ...]:
    """Return precision, recall and F1 of each class that has a test picture, (C,) each.

    A class that was never said has precision 0.
    """
    classes = np.unique(labels)
    size = int(max(predicted.max(), labels.max())) + 1
    hit = np.bincount(labels[predicted == labels], minlength=size)[classes].astype(float)
    said, there = (np.bincount(x, minlength=size)[classes].astype(float) for x in (predicted, labels))
    precision, recall = hit / np.maximum(said, 1), hit / there
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def enter_closed(  # noqa: PLR0917 -- one call, in reading order
    report: Report,
    section: str,
    column: str,
    predicted: Labels,
    labels: Labels,
    kinds: npt.NDArray[np.str_] | None = None,
) -> None:
    """Enter a column of the closed set's figures, and the accuracy of each kind of test picture.

    Intervals are from drawing people (for macro figures, classes) again.
    """
    people = labels.astype(str)
    report.add(section, column, MICRO, metrics.by_people(predicted == labels, people))
    for name, values in zip(("precision", "recall", "F1"), by_class(predicted, labels), strict=True):
        report.add(section, column, f"macro {name}", metrics.mean_by_class(values))
    for kind in () if kinds is None else dict.fromkeys(kinds.tolist()):
        own = kinds == kind
        share = metrics.by_people(predicted[own] == labels[own], people[own])
        report.add(section, column, f"accuracy, {kind}", share)
