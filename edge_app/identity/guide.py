"""Guided registration before a camera: which view is wanted next, and when it was held long enough.

The person looks straight ahead first; nods are measured against that. A view counts when it was seen in
three frames in a row with a quality that a photo must have, and the best of these is taken. What cannot be
used is said, in words for the person who stands there. Whoever operates it decides who that is: nothing here
registers anybody.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_app.faces.quality import assess
from edge_app.faces.stage import align_or_none
from edge_app.identity.photos import PhotoFile
from edge_app.identity.views import Angles, View, view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import numpy.typing as npt

    from edge_app.faces.detect import Detector
    from edge_app.faces.quality import QualityLimits
    from edge_app.records import Quality

#: Frames in a row for which a view must be held.
HOLD: Final = 3
#: Before a camera clear nods and turns can be asked for.
BEFORE_CAMERA: Final = Angles(nod=7.0, turn=13.0, half=25.0, far=30.0)
#: People's faces differ by this many degrees of estimated pitch when they look straight ahead.
_ANYBODYS_FRONT: Final = 12.0
ASK: Final = {
    View.FRONT: "look straight into the camera",
    View.LEFT: "turn your head a little to your left",
    View.FAR_LEFT: "turn your head farther to your left, about half way to the shoulder",
    View.RIGHT: "turn your head a little to your right",
    View.FAR_RIGHT: "turn your head farther to your right, about half way to the shoulder",
    View.UP: "face the camera and lift your chin",
    View.DOWN: "face the camera and lower your chin",
}
_ADVICE: Final = {
    "too_small": "come nearer",
    "blurred": "hold still",
    "too_dark": "more light on the face",
    "too_bright": "less light on the face",
    "low_contrast": "the light is too flat",
    "turned_away": "not so far",
    "at_the_edge": "come into the middle of the picture",
}


@dataclass(frozen=True, slots=True)
class _Taken:
    view: View
    score: float
    pitch: float
    pixels: npt.NDArray[np.uint8]


class Guide:
    """Takes the views that are wanted, one frame after the other.

    Args:
        detector: finds the face; more than one is told.
        limits: the quality that a photo must have.
        have: views that are registered already.
        front_pitch: the pitch of the registered front photo.
        name: what the photos are called, before the view's name.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        limits: QualityLimits,
        have: Iterable[View] = (),
        front_pitch: float = 0.0,
        name: str = "camera",
    ) -> None:
        self._detector, self._limits, self._name = detector, limits, name
        self._wanted = [view for view in View if view not in set(have)]
        self._front_pitch = front_pitch
        self._held: list[_Taken] = []
        self._photos: dict[View, PhotoFile] = {}

    @property
    def photos(self) -> dict[View, PhotoFile]:
        """The views that were taken so far."""
        return dict(self._photos)

    @property
    def missing(self) -> tuple[View, ...]:
        """The views that are still wanted."""
        return tuple(self._wanted)

    def look(self, pixels: npt.NDArray[np.uint8]) -> str:
        """Take one frame, (H, W, 3) uint8 BGR; return what to tell the person.

        Raises:
            ModelError: the detector failed.
        """
        if not self._wanted:
            return "done"
        seen = self._seen(pixels)
        if isinstance(seen, str):
            self._held.clear()
            return seen
        if self._held and self._held[-1].view is not seen.view:
            self._held.clear()
        self._held.append(seen)
        if len(self._held) >= HOLD:
            self._take(max(self._held, key=lambda one: one.score))
        return ASK[self._wanted[0]] if self._wanted else "done"

    def _seen(self, pixels: npt.NDArray[np.uint8]) -> _Taken | str:
        """Return the wanted view that the frame shows, or what to tell the person."""
        faces = self._detector.detect(pixels)
        if len(faces) != 1:
            return "no face" if not faces else "only one person before the camera, please"
        quality = assess(pixels, faces[0], align_or_none(pixels, faces[0]), limits=self._limits)
        if quality.rejection is not None:
            return _ADVICE.get(quality.rejection.value, "not usable: " + quality.rejection.value)
        view = self._view(quality)
        if view not in self._wanted:
            return ASK[self._wanted[0]]
        return _Taken(view, quality.score, quality.pitch, pixels)

    def _view(self, quality: Quality) -> View | None:
        if self._wanted[0] is View.FRONT:  # nothing to measure a nod against yet
            straight = view_of(quality.yaw, 0.0) is View.FRONT
            return View.FRONT if straight and abs(quality.pitch) < _ANYBODYS_FRONT else None
        return view_of(quality.yaw, quality.pitch, front_pitch=self._front_pitch, angles=BEFORE_CAMERA)

    def _take(self, best: _Taken) -> None:
        if best.view is View.FRONT:
            self._front_pitch = best.pitch
        digest = hashlib.sha256(best.pixels.tobytes()).hexdigest()
        path = Path(f"{self._name}-{best.view.value.replace(' ', '-')}.png")
        self._photos[best.view] = PhotoFile(path, digest, best.pixels)
        self._wanted.remove(best.view)
        self._held.clear()


def take_views(
    guide: Guide,
    frames: Iterable[npt.NDArray[np.uint8]],
    *,
    tell: Callable[[str], None],
    over: Callable[[], bool] = lambda: False,
) -> tuple[PhotoFile, ...]:
    """Let `guide` look at `frames` until it has all views, they end, or it is `over`; return the photos.

    `tell` is called when there is something new to say to the person.
    """
    told = ""
    for pixels in frames:
        before = set(guide.photos)
        say = guide.look(pixels)
        for view in [view for view in guide.photos if view not in before]:
            tell(f"{view.value}: taken")
        if say != told:
            told = say
            tell(say)
        if not guide.missing or over():
            break
    return tuple(guide.photos.values())
