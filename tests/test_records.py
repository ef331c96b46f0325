"""Records check themselves when they are made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_app.records import (
    Box,
    Decision,
    Embedding,
    Face,
    Frame,
    Identity,
    PersonSeen,
    PresenceSnapshot,
    Quality,
    Rejection,
)


def identity(**changes: object) -> Identity:
    """Return a named identity, with changes."""
    values: dict[str, object] = {
        "camera": "a", "track": "t1", "decision": Decision.NAMED, "person_ref": "C1", "reason": None,
        "score": 0.7, "threshold": 0.5, "margin": 0.2, "quality": 0.9, "votes": 3, "face_px": 80.0,
        "frame_index": 1, "first_seen_ns": 0, "mono_ns": 1, "gallery_version": 1,
    }  # fmt: skip
    return Identity(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_frame_refuses_what_is_no_bgr_picture(pixels: np.ndarray) -> None:
    """Grey, RGBA, float and empty pictures are converted by capture, never passed on."""
    with pytest.raises(ValueError, match="BGR"):
        Frame(camera="a", index=0, mono_ns=0, pixels=pixels)


def test_frame_knows_its_size() -> None:
    """Width and height are the picture's."""
    frame = Frame(camera="a", index=0, mono_ns=0, pixels=np.zeros((2, 3, 3), np.uint8))
    assert (3, 2) == (frame.width, frame.height)


@pytest.mark.parametrize("values", [(0, 0, 0, 1), (0, 0, 1, -1), (float("nan"), 0, 1, 1)])
def test_box_refuses_empty_and_non_finite(values: tuple[float, ...]) -> None:
    """A box has an area."""
    with pytest.raises(ValueError, match="not a box"):
        Box(*values)


@pytest.mark.parametrize(
    ("other", "expected"),
    [(Box(0, 0, 2, 2), 1.0), (Box(1, 0, 2, 2), 1 / 3), (Box(2, 0, 2, 2), 0.0), (Box(9, 9, 1, 1), 0.0)],
)
def test_iou(other: Box, expected: float) -> None:
    """Intersection over union, from the same box to none."""
    assert expected == pytest.approx(Box(0, 0, 2, 2).iou(other))


def test_face_refuses_other_landmarks_and_scores() -> None:
    """Five finite landmarks and a score of 0..1."""
    box, good = Box(0, 0, 1, 1), np.zeros((5, 2), np.float32)
    with pytest.raises(ValueError, match=r"\(5, 2\)"):
        Face(box=box, landmarks=np.zeros((4, 2), np.float32), score=0.5)
    with pytest.raises(ValueError, match="finite"):
        Face(box=box, landmarks=good * np.float32("nan"), score=0.5)
    with pytest.raises(ValueError, match="score"):
        Face(box=box, landmarks=good, score=1.5)


def test_embedding_must_have_length_one() -> None:
    """A vector that was not normalised would make every similarity wrong."""
    with pytest.raises(ValueError, match=r"length 1; received 2\.0"):
        Embedding(vector=np.array([2, 0], np.float32), model_sha256="a", preprocess_sha256="b")


def test_name_goes_with_named_and_reason_with_the_rest() -> None:
    """Nobody is named silently, and nobody stays unnamed without a reason."""
    assert identity().person_ref == "C1"
    unknown = identity(decision=Decision.UNKNOWN, person_ref=None, reason=Rejection.BELOW_THRESHOLD)
    assert unknown.reason is Rejection.BELOW_THRESHOLD
    for wrong in (
        {"person_ref": None},
        {"reason": Rejection.AMBIGUOUS},
        {"decision": Decision.UNKNOWN},
        {"decision": Decision.UNKNOWN, "person_ref": None},
    ):
        with pytest.raises(ValueError, match="given exactly when"):
            identity(**wrong)


def test_records_are_frozen() -> None:
    """No stage changes what another has made."""
    quality = Quality(face_px=1, sharpness=1, brightness=1, contrast=1, yaw=0, pitch=0, roll=0, score=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        quality.score = 0  # type: ignore[misc]


def test_headcount_counts_the_unknown_too() -> None:
    """A rescue counts people, not names."""
    seen = PersonSeen(
        person_ref="C1", track="t", zone="z", camera="a", first_seen_ns=0, last_seen_ns=1, score=0.5
    )
    stranger = dataclasses.replace(seen, person_ref=None)
    snapshot = PresenceSnapshot(mono_ns=1, people=(seen,), unknown=(stranger, stranger), cameras=())
    assert snapshot.headcount == 3
