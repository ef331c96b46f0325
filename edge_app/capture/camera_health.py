"""Whether a camera that gives pictures sees anything in them, and what is wrong if it does not.

Some faults show in a single picture: ``dark`` (even its brightest part is), ``covered`` (no edge
anywhere), ``glare`` (blown out), ``frozen`` (not one bit has changed for a while, as a camera's noise
always does). The others show against what this camera used to see: ``lamp_out`` (a third of the picture
lost more than half of its light), ``dirty`` (details have gone behind dirt, or all edges under a veil),
``blurred`` (everything is less sharp), ``moved`` (edges are where there were none).

What it used to see is learnt in the first looks and follows slowly, only while all is well: sharpness
slowly up and hardly down, so that a lens that gets dirty over weeks is noticed, and that a few sharp
looks (a lamp that comes by) do not make all others blurred. A lamp that stays out
or a camera that stays moved is after a while what it sees: it has been told. Every bar has a lower
one by which the state ends (hysteresis). The bars were measured on real clips with simulated faults.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.capture.measures import Measures, gained, likeness, mean_of

if TYPE_CHECKING:
    import numpy.typing as npt

_STEP: Final = 8
#: 99 of 100 pixels below this (0..255) is black: video black is 16 with some noise on it.
DARK_BELOW: Final = 20.0
_NS_PER_S: Final = 1_000_000_000
#: How much easier a bar is for a state that stands.
_EASE: Final = 1.2

#: Steepest edge (luma a pixel) of a covered lens; saturated share that is glare, and that blinds.
COVERED_BELOW: Final = 2.5
GLARE_FROM: Final = 0.12
BLINDING_FROM: Final = 0.5
#: Shares of blocks that lost more than half of their light, or of their detail.
LAMP_OUT_FROM: Final = 0.3
DIRTY_FROM: Final = 0.4
#: Share of blocks that lost half of their light (.4 to .66 of tunnels with half of their lamps out, at most
#: .04 with people passing), which is that much of their luma, while the edges stay where they were.
HALVED_FROM: Final = 0.3
_HALF_LIGHT: Final = 0.7
_SAME_VIEW: Final = 0.2
#: Strength of all edges together against what it was: a film of dust veils all alike (.42 to .64 of
#: rendered tunnels, at least .89 of clean ones).
VEILED_BELOW: Final = 0.7
#: Sharpness against what it was (.50 to .70 and at least .81 there); needs this contrast, below which
#: noise is sharper than the picture.
BLURRED_BELOW: Final = 0.66
_CONTRAST_LEAST: Final = 25.0
#: Likeness of edges; and between which ratios of new edges to lost ones that is a camera that moved, not
#: dirt. Measured: .84 to 1.23 for views that moved, at most .33 for a lens with mud out of focus, at least
#: 1.75 for mud that shows its own edge.
MOVED_BELOW: Final = 0.5
_NEW_EDGES: Final = (0.5, 1.5)

_LEARN_LOOKS: Final = 8
_COMPARE_LOOKS: Final = 3
_STEADY_FROM: Final = 0.65
_FOLLOW: Final = 1 / 300
_BETTER: Final = 1 / 2500
_WORSE: Final = 1 / 50_000


class Sight(str, Enum):
    """What a camera sees; the value stands in events as the reason for blindness."""

    CLEAR = "clear"
    DARK = "dark"
    FROZEN = "frozen"
    COVERED = "covered"
    DIRTY = "dirty"
    BLURRED = "blurred"
    BLINDED = "blinded"
    GLARE = "glare"
    LAMP_OUT = "lamp_out"
    MOVED = "moved"

    @property
    def blind(self) -> bool:
        """Whether nobody could be recognised; with the others the camera still sees something."""
        return self not in (Sight.CLEAR, Sight.GLARE, Sight.LAMP_OUT, Sight.MOVED)


class CameraHealth:
    """Looks at a camera's frames, one in `every_s` seconds, and names what is wrong with them.

    Args:
        frozen_after_s: identical pictures for this long are frozen; None for a recording, whose
            pictures may well be the same.
        every_s: seconds between two looks.
        accept_after_s: a lamp that is out or a camera that was moved for this long is how it is now.
    """

    def __init__(
        self, *, frozen_after_s: float | None = 10.0, every_s: float = 1.0, accept_after_s: float = 600.0
    ) -> None:
        self._frozen_after, self._every, self._accept_after = frozen_after_s, every_s, accept_after_s
        self._looked_ns: int | None = None
        self._changed_ns = self._since_ns = 0
        self._print: int | None = None
        self._shape: tuple[int, ...] = ()
        self.sight = Sight.CLEAR
        self.brightness = 0.0
        self._forget()

    @property
    def useless_ns(self) -> int:
        """Since when a picture that stands has stood; for any other the time of the last look.

        A picture must stand for a while before it is known to be frozen: it was of no use all that time.
        """
        return self._changed_ns if self.sight is Sight.FROZEN else (self._looked_ns or 0)

    def look(self, pixels: npt.NDArray[np.uint8], mono_ns: int) -> Sight:
        """Return what is seen in `pixels`, (H, W, 3) uint8 BGR, at `mono_ns`."""
        if self._looked_ns is not None and mono_ns - self._looked_ns < self._every * _NS_PER_S:
            return self.sight
        self._looked_ns = mono_ns
        if pixels.shape != self._shape:
            self._shape = pixels.shape
            self._forget()
        sample = pixels[::_STEP, ::_STEP]
        self.brightness = float(sample.mean())
        fingerprint = zlib.crc32(sample.tobytes())
        if fingerprint != self._print:
            self._print, self._changed_ns = fingerprint, mono_ns
        frozen = (
            self._frozen_after is not None and mono_ns - self._changed_ns >= self._frozen_after * _NS_PER_S
        )
        measures = Measures.of(pixels)
        found = self._alone(measures, frozen=frozen) or self._compared(measures)
        if found is not self.sight:
            self.sight, self._since_ns = found, mono_ns
        elif found in (Sight.LAMP_OUT, Sight.MOVED) and (
            mono_ns - self._since_ns >= self._accept_after * _NS_PER_S
        ):
            self._forget()
        return self.sight

    def _forget(self) -> None:
        """Learn anew what this camera sees."""
        self._learnt: list[Measures] = []
        self._recent: deque[Measures] = deque(maxlen=_COMPARE_LOOKS)
        self._reference: Measures | None = None
        self._steady = False

    def _alone(self, now: Measures, *, frozen: bool) -> Sight | None:
        """Return what is wrong with this picture by itself."""
        if now.white < DARK_BELOW * self._ease(Sight.DARK):
            return Sight.DARK
        if frozen:
            return Sight.FROZEN
        if now.saturated >= BLINDING_FROM / self._ease(Sight.BLINDED):
            return Sight.BLINDED
        if now.edge < COVERED_BELOW * self._ease(Sight.COVERED):
            return Sight.COVERED
        return None

    def _compared(self, now: Measures) -> Sight:
        """Return what is wrong against what this camera used to see; learn it first."""
        glare = now.saturated >= GLARE_FROM / self._ease(Sight.GLARE)
        self._recent.append(now)
        if self._reference is None:
            if not glare:
                self._learn(now)
            return Sight.GLARE if glare else Sight.CLEAR
        reference = self._reference
        if glare and now.saturated >= reference.saturated + GLARE_FROM / 2:
            return Sight.GLARE
        if len(self._recent) < _COMPARE_LOOKS:
            return self.sight if not self.sight.blind else Sight.CLEAR
        found = self._against(mean_of(self._recent), reference)
        if found is Sight.CLEAR:
            self._follow(now, reference)
        return found

    def _against(self, now: Measures, reference: Measures) -> Sight:
        lit = reference.brightness > DARK_BELOW
        darker = _share(now.brightness < 0.5 * reference.brightness, lit)
        if darker >= LAMP_OUT_FROM / self._ease(Sight.LAMP_OUT):
            return Sight.LAMP_OUT
        halved = _share(now.brightness < _HALF_LIGHT * reference.brightness, lit)
        if halved >= HALVED_FROM / self._ease(Sight.LAMP_OUT) and (
            likeness(now.edges, reference.edges) >= _SAME_VIEW and gained(now.edges, reference.edges) < 1
        ):
            return Sight.LAMP_OUT
        rich = reference.detail > 0.5 * np.median(reference.detail)
        if self._steady and _share(now.detail < 0.5 * reference.detail, rich) >= DIRTY_FROM / self._ease(
            Sight.DIRTY
        ):
            return Sight.DIRTY
        blurred = now.sharpness < BLURRED_BELOW * self._ease(Sight.BLURRED) * reference.sharpness
        if blurred and min(now.contrast, reference.contrast) >= _CONTRAST_LEAST:
            return Sight.BLURRED
        return self._view(now, reference) if self._steady else Sight.CLEAR

    def _view(self, now: Measures, reference: Measures) -> Sight:
        """Return what a steady camera's edges say: weaker all over, or somewhere else."""
        left = float(now.edges.sum()) / max(float(reference.edges.sum()), 1e-6)
        if left < VEILED_BELOW * self._ease(Sight.DIRTY):
            return Sight.DIRTY
        ease = max(self._ease(Sight.MOVED), self._ease(Sight.DIRTY))
        if likeness(now.edges, reference.edges) >= MOVED_BELOW * ease:
            return Sight.CLEAR
        if self.sight in (Sight.MOVED, Sight.DIRTY):
            return self.sight
        elsewhere = gained(now.edges, reference.edges)
        return Sight.MOVED if _NEW_EDGES[0] <= elsewhere <= _NEW_EDGES[1] else Sight.DIRTY

    def _learn(self, now: Measures) -> None:
        self._learnt.append(now)
        if len(self._learnt) < _LEARN_LOOKS:
            return
        self._reference = mean_of(self._learnt)
        like = [likeness(one.edges, self._reference.edges) for one in self._learnt]
        self._steady = float(np.median(like)) >= _STEADY_FROM
        self._learnt = []

    def _follow(self, now: Measures, reference: Measures) -> None:
        better = now.sharpness > reference.sharpness
        rate = _BETTER if better else _WORSE
        faster = np.where(now.detail > reference.detail, _BETTER, _WORSE).astype(np.float32)
        self._reference = replace(
            reference,
            brightness=reference.brightness + _FOLLOW * (now.brightness - reference.brightness),
            edges=reference.edges + _FOLLOW * (now.edges - reference.edges),
            detail=reference.detail + faster * (now.detail - reference.detail),
            sharpness=reference.sharpness + rate * (now.sharpness - reference.sharpness),
            saturated=reference.saturated + _FOLLOW * (now.saturated - reference.saturated),
        )

    def _ease(self, sight: Sight) -> float:
        return _EASE if self.sight is sight else 1.0


def _share(where: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float:
    """Return the share of `among` where `where` holds; 0 if there is nothing."""
    return float(where[among].mean()) if among.any() else 0.0
