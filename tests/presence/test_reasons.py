"""Why somebody has no name: every reason there is comes out as an event, and stands in the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import pytest

from edge_app.clock import WallQuality, WallTime
from edge_app.delivery.event import EnvelopeContext, draft
from edge_app.identity.match import Matcher
from edge_app.identity.vote import IdentityStage
from edge_app.presence.muster import Muster
from edge_app.records import (
    Box,
    CameraState,
    Embedding,
    Event,
    Face,
    Quality,
    Rejection,
    TrackedFace,
)
from tests.identity.conftest import MODEL, PREPROCESS
from tests.identity.test_calibration import register

if TYPE_CHECKING:
    import numpy.typing as npt

S = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]
#: Reasons that a face's quality gives; the others are found when views are compared.
OF_THE_FACE = (
    Rejection.TOO_SMALL,
    Rejection.BLURRED,
    Rejection.TOO_DARK,
    Rejection.TOO_BRIGHT,
    Rejection.LOW_CONTRAST,
    Rejection.TURNED_AWAY,
    Rejection.IMPLAUSIBLE_LANDMARKS,
    Rejection.AT_THE_EDGE,
)
LEFT, RIGHT, UP = np.eye(3, dtype=np.float32)
NEAR = (0.95 * LEFT + np.sqrt(1 - 0.95**2) * RIGHT).astype(np.float32)


def last_sighting(
    registered: list[npt.NDArray[np.float32]],
    face: npt.NDArray[np.float32] | None,
    *,
    rejection: Rejection | None = None,
    views: int = 8,
    strict: tuple[str, ...] = (),
    state: CameraState | None = None,
) -> Event:
    """Return the last sighting of a track that is seen `views` times and ends; it fits the schema."""
    vectors = np.stack(registered) if registered else np.zeros((0, 3), np.float32)
    matcher = Matcher(snapshot=register(vectors), threshold=0.6, strict=strict)
    stage, muster = IdentityStage(lambda: matcher), Muster(zones={"c": "z"})
    if state is not None:
        muster.camera(state, now_ns=0)
    quality = Quality(60.0, 9.0, 90.0, 40.0, 0.0, 0.0, 0.0, 0.8, rejection)
    marks = np.array([[1, 1], [5, 1], [3, 3], [1, 5], [5, 5]], np.float32)
    tracked = TrackedFace("t", Face(Box(0, 0, 60, 60), marks, 0.9), quality, None)
    words = []
    for number in range(views):
        embedding = None if face is None else Embedding(face, MODEL, PREPROCESS)
        words.append(stage.view("c", tracked, embedding, number, number * S // 10))
    words.append(stage.end("c", "t", 2 * S))
    told = [event for word in words if word is not None for event in muster.identity(word)]
    context = EnvelopeContext(site="n", node="b", boot="0b7c5c3e-6a1f-4f5e-9f51-2f3c8a1d9e10")
    wall = WallTime(ms=None, quality=WallQuality.NONE)
    for event in told:
        draft(
            event, event_id=UUID(int=0x0197C1E49D217C3A8F215B1DE0A4C901), wall=wall, context=context, now_ns=0
        )
    return [event for event in told if event.kind == "sighting"][-1]


@pytest.mark.parametrize("rejection", OF_THE_FACE)
def test_what_rejected_the_views_is_the_reason(rejection: Rejection) -> None:
    """A face that was never usable is told at its end, with why."""
    event = last_sighting([LEFT], None, rejection=rejection)
    assert ("undecided", rejection.value, True) == (
        event.data["decision"], event.data["reason"], event.data["final"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "registered", "face", "views", "strict"),
    [
        (Rejection.BELOW_THRESHOLD, [LEFT], RIGHT, 8, ()),
        (Rejection.EMPTY_GALLERY, [], LEFT, 8, ()),
        (Rejection.TOO_FEW_VIEWS, [LEFT], LEFT, 2, ()),
        (Rejection.AMBIGUOUS, [LEFT, RIGHT], (LEFT + RIGHT) / np.sqrt(2).astype(np.float32), 8, ()),
        (Rejection.LOOK_ALIKE, [LEFT, NEAR], LEFT, 8, ("p0000", "p0001")),
    ],
)
def test_what_the_decision_lacked_is_the_reason(
    expected: Rejection,
    registered: list[npt.NDArray[np.float32]],
    face: npt.NDArray[np.float32],
    views: int,
    strict: tuple[str, ...],
) -> None:
    """Nobody is like them, nobody is registered, too short, two are as near, a twin is registered."""
    event = last_sighting(registered, face.astype(np.float32), views=views, strict=strict)
    assert expected.value == event.data["reason"]


@pytest.mark.parametrize(
    ("trouble", "state"),
    [
        ("dirty", CameraState("c", "z", blind_since_ns=0, reason="dirty")),
        ("lamp_out", CameraState("c", "z", impaired="lamp_out")),
        (None, CameraState("c", "z")),
    ],
)
def test_trouble_of_the_camera_stands_beside_the_reason(trouble: str | None, state: CameraState) -> None:
    """Dust on the lens is why faces are blurred; a name needs no excuse."""
    event = last_sighting([LEFT], None, rejection=Rejection.BLURRED, state=state)
    assert ("blurred", trouble) == (event.data["reason"], event.data.get("trouble"))
    named = last_sighting([LEFT], LEFT, state=state)
    assert ("named", None) == (named.data["decision"], named.data.get("trouble"))


def test_every_reason_is_explained_to_the_scada_engineer() -> None:
    """The table names exactly what the program knows."""
    page = (ROOT / "docs/scada.md").read_text(encoding="utf-8")
    table = page.split("## Why somebody has no name")[1].split("\n## ")[0]
    named = {
        word
        for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
        for word in re.findall("`(.+?)`", row)
    }
    assert {rejection.value for rejection in Rejection} == named - {"reason"}
