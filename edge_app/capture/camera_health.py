"""Whether a camera that gives pictures sees anything in them, and what is wrong if it does not.

Some faults show in a single picture: ``dark`` (even its brightest part is), ``covered`` (no edge
anywhere), ``glare`` (blown out), ``frozen`` (not one bit has changed for a while, as a camera's noise
always does). The others show against what this camera used to see (`edge_app.capture.view`).

What it used to see is learnt in the first looks and follows slowly, only while all is well: sharpness
slowly up and hardly down, so that a lens that gets dirty over weeks is noticed, and that a few sharp
looks (a lamp that comes by) do not make all others blurred. It outlives restarts (`Memory`) and changes
of resolution, because a picture that is bad teaches nothing. **A state is told for as long as it holds**:
what is covered, dirty, blurred or unlit stays so, however long. Only a camera that looks elsewhere, and
sees there as well as before, is after a while taken as it is, where that is allowed; the view before is
kept beside the new one, so that a camera that is put back is known at once.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.capture.measures import Measures, mean_of
from edge_app.capture.sight import Sight
from edge_app.capture.view import View, ease

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_log = structlog.get_logger(__name__)

_STEP: Final = 8
#: 99 of 100 pixels below this (0..255) is black: video black is 16 with some noise on it.
DARK_BELOW: Final = 20.0
_NS_PER_S: Final = 1_000_000_000

#: Steepest edge (luma a pixel) of a covered lens; saturated share that is glare, and that blinds.
COVERED_BELOW: Final = 2.5
GLARE_FROM: Final = 0.12
BLINDING_FROM: Final = 0.5

_LEARN_LOOKS: Final = 8
_COMPARE_LOOKS: Final = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives a restart.

    Attributes:
        views: what the camera used to see, and what it saw before it was moved, if it was.
        sight: what was seen last.
        since_ns: since when, monotonic; of a camera that is blind since when it is, for whatever reason.
        held: a state that stands although what the camera used to see is lost: nothing can end it but
            somebody who has looked.
    """

    views: tuple[View, ...] = ()
    sight: Sight = Sight.CLEAR
    since_ns: int = 0
    held: Sight | None = None


class CameraHealth:
    """Looks at a camera's frames, one in `every_s` seconds, and names what is wrong with them.

    Args:
        frozen_after_s: identical pictures for this long are frozen; None for a recording, whose
            pictures may well be the same.
        every_s: seconds between two looks.
        accept_after_s: a camera that was moved for this long, and sees as well as before, is how it is now;
            None: never.
        memory: what an earlier run left.
    """

    def __init__(
        self,
        *,
        frozen_after_s: float | None = 10.0,
        every_s: float = 1.0,
        accept_after_s: float | None = 600.0,
        memory: Memory | None = None,
    ) -> None:
        self._frozen_after, self._every, self._accept_after = frozen_after_s, every_s, accept_after_s
        self._looked_ns: int | None = None
        self._print: int | None = None
        self._shape: tuple[int, ...] = ()
        self._reframed = False
        self._learnt: list[Measures] = []
        self._recent: deque[Measures] = deque(maxlen=_COMPARE_LOOKS)
        self.brightness = 0.0
        memory = memory or Memory()
        self._views, self._held = memory.views, memory.held
        self.sight, self._since_ns = memory.sight, memory.since_ns
        self._changed_ns = memory.since_ns

    @property
    def useless_ns(self) -> int:
        """Since when a picture that stands has stood; for any other the time of the last look.

        A picture must stand for a while before it is known to be frozen: it was of no use all that time.
        """
        return self._changed_ns if self.sight is Sight.FROZEN else (self._looked_ns or 0)

    @property
    def memory(self) -> Memory:
        """What is to outlive a restart."""
        return Memory(self._views, self.sight, self._since_ns, self._held)

    def look(self, pixels: npt.NDArray[np.uint8], mono_ns: int) -> Sight:
        """Return what is seen in `pixels`, (H, W, 3) uint8 BGR, at `mono_ns`."""
        if self._looked_ns is not None and mono_ns - self._looked_ns < self._every * _NS_PER_S:
            return self.sight
        self._looked_ns = mono_ns
        if pixels.shape != self._shape:
            self._reframe(pixels.shape)
        sample = pixels[::_STEP, ::_STEP]
        self.brightness = float(sample.mean())
        fingerprint = zlib.crc32(sample.tobytes())
        if fingerprint != self._print:
            self._print, self._changed_ns = fingerprint, mono_ns
        frozen = (
            self._frozen_after is not None and mono_ns - self._changed_ns >= self._frozen_after * _NS_PER_S
        )
        measures = Measures.of(pixels)
        found = self._alone(measures, frozen=frozen) or self._compared(measures, mono_ns)
        if found is not self.sight:
            if not (found.blind and self.sight.blind):  # blind for another reason is blind all the same
                self._since_ns = mono_ns
            self.sight = found
        return self.sight

    def _reframe(self, shape: tuple[int, ...]) -> None:
        """Take note that pictures are of another size now, and perhaps another part of what there is."""
        self._reframed = bool(self._shape) and bool(self._views)
        self._shape = shape
        self._recent.clear()
        self._learnt = []

    def _alone(self, now: Measures, *, frozen: bool) -> Sight | None:
        """Return what is wrong with this picture by itself."""
        if now.white < DARK_BELOW * ease(self.sight, Sight.DARK):
            return Sight.DARK
        if frozen:
            return Sight.FROZEN
        if now.saturated >= BLINDING_FROM / ease(self.sight, Sight.BLINDED):
            return Sight.BLINDED
        if now.edge < COVERED_BELOW * ease(self.sight, Sight.COVERED):
            return Sight.COVERED
        return None

    def _compared(self, now: Measures, mono_ns: int) -> Sight:
        """Return what is wrong against what this camera used to see; learn it first."""
        glare = now.saturated >= GLARE_FROM / ease(self.sight, Sight.GLARE)
        self._recent.append(now)
        if self._held is not None:
            return self._held
        if not self._views:
            if not glare and (view := self._learn(now)) is not None:
                self._views = (view,)
            return Sight.GLARE if glare else Sight.CLEAR
        if glare and now.saturated >= self._views[0].usual.saturated + GLARE_FROM / 2:
            return Sight.GLARE
        if len(self._recent) < _COMPARE_LOOKS:
            return self.sight
        return self._judged(now, mean_of(self._recent), mono_ns)

    def _judged(self, now: Measures, recent: Measures, mono_ns: int) -> Sight:
        """Return what is wrong with the `recent` looks, the last of which is `now`."""
        current, *former = self._views
        found = current.against(recent, self.sight)
        for view in former if found is not Sight.CLEAR else ():
            if view.against(recent, self.sight) is Sight.CLEAR:
                _log.info("camera_sees_its_former_view", instead_of=found.value)
                self._views = (view, current)
                return Sight.CLEAR
        if found is Sight.CLEAR:
            self._views = (current.followed(recent), *former)
            self._learnt = []
            return found
        return self._taken_as_it_is(now, recent, found, mono_ns)

    def _taken_as_it_is(self, now: Measures, recent: Measures, found: Sight, mono_ns: int) -> Sight:
        """Return `found`, unless the camera looks elsewhere and has for long enough seen well there."""
        stood = found is self.sight is Sight.MOVED
        long = self._accept_after is not None and (
            mono_ns - self._since_ns >= (self._accept_after or 0) * _NS_PER_S
        )
        if not (self._reframed or (stood and long)) or not self._views[0].as_good(recent):
            self._learnt = []
            return found
        view = self._learn(now)
        if view is None:
            return self.sight if self._reframed else found
        if not view.steady and self._views[0].steady:
            return found
        _log.warning("camera_view_taken_as_it_is", reason="another size" if self._reframed else "moved")
        self._reframed = False
        self._views = (view, *self._views[:1]) if self._views[0].steady else (view,)
        self._recent.clear()
        return Sight.CLEAR

    def _learn(self, now: Measures) -> View | None:
        """Take a look; return the view once there have been enough."""
        self._learnt.append(now)
        if len(self._learnt) < _LEARN_LOOKS:
            return None
        view = View.of(self._learnt)
        self._learnt = []
        return view
