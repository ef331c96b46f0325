"""What a camera used to see, and what is wrong with a picture against that.

``covered``: most of the picture lost light and detail. ``lamp_out``: a third of it lost more than half of
its light. ``dirty``: details have gone behind dirt, or all edges under a veil. ``blurred``: everything is
less sharp. ``moved``: edges are where there were none. Every bar has an easier one by which a state
that stands ends (hysteresis). The bars were measured on real clips with simulated faults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.capture.measures import Measures, elsewhere, gained, likeness, mean_of
from edge_app.capture.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

#: A block darker than this (0..255) was never lit.
_LIT: Final = 20.0
#: How much easier a bar is for a state that stands.
EASE: Final = 1.2
#: Share of blocks that lost more than half of their light; of tiles of the picture, or of blocks rich in
#: detail, that lost what was to be seen there. Both: something is before the lens. The noise of a camera that
#: turns its gain up under a cloth is as bright as a dark tunnel, but flat: it has so little of the contrast.
COVERED_FROM: Final = 0.7
_FLAT: Final = 0.3
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
#: Share of blocks that may have lost light or detail in a picture that is richer than the one before.
_NOTHING_LOST: Final = 0.05
#: What a picture of another place must have of light, edges, detail and sharpness to be no worse; and of
#: contrast, for which a smaller part of the same picture may lack a lamp or a dark corner (.69 measured).
_AS_GOOD: Final = 0.8
_CONTRAST_AS_GOOD: Final = 0.6

_STEADY_FROM: Final = 0.65
_FOLLOW: Final = 1 / 300
_BETTER: Final = 1 / 2500
_WORSE: Final = 1 / 50_000


@dataclass(frozen=True, slots=True)
class View:
    """What a camera used to see; `steady` if its edges stayed where they were while it was learnt."""

    usual: Measures
    steady: bool

    @classmethod
    def of(cls, looks: Sequence[Measures]) -> View:
        """Return the view of several looks."""
        usual = mean_of(looks)
        like = [likeness(one.edges, usual.edges) for one in looks]
        return cls(usual, steady=float(np.median(like)) >= _STEADY_FROM)

    def against(self, now: Measures, sight: Sight) -> Sight:
        """Return what is wrong with `now`; `sight` is the state that stands."""
        usual = self.usual
        lit = usual.brightness > _LIT
        darker = share(now.brightness < 0.5 * usual.brightness, lit)
        if self._covered(now, darker, COVERED_FROM / ease(sight, Sight.COVERED)):
            return Sight.COVERED
        if darker >= LAMP_OUT_FROM / ease(sight, Sight.LAMP_OUT):
            return Sight.LAMP_OUT
        halved = share(now.brightness < _HALF_LIGHT * usual.brightness, lit)
        if halved >= HALVED_FROM / ease(sight, Sight.LAMP_OUT) and (
            likeness(now.edges, usual.edges) >= _SAME_VIEW and gained(now.edges, usual.edges) < 1
        ):
            return Sight.LAMP_OUT
        if self.steady and self._lost_detail(now) >= DIRTY_FROM / ease(sight, Sight.DIRTY):
            return Sight.DIRTY
        blurred = now.sharpness < BLURRED_BELOW * ease(sight, Sight.BLURRED) * usual.sharpness
        if blurred and min(now.contrast, usual.contrast) >= _CONTRAST_LEAST:
            return Sight.BLURRED
        return self._edges(now, sight) if self.steady else Sight.CLEAR

    def as_good(self, now: Measures) -> bool:
        """Return whether `now`, of another place or another part of it, is no worse a picture."""
        usual = self.usual
        pairs = (
            (now.mean, usual.mean),
            (now.sharpness, usual.sharpness),
            (float(now.edges.sum()), float(usual.edges.sum())),
            (float(now.detail.sum()), float(usual.detail.sum())),
        )
        return now.contrast >= _CONTRAST_AS_GOOD * usual.contrast and all(
            mine >= _AS_GOOD * before for mine, before in pairs
        )

    def followed(self, now: Measures) -> View:
        """Return the view a little nearer to `now`, a good look: sharpness slowly up and hardly down."""
        usual = self.usual
        rate = _BETTER if now.sharpness > usual.sharpness else _WORSE
        faster = np.where(now.detail > usual.detail, _BETTER, _WORSE).astype(np.float32)
        usual = replace(
            usual,
            brightness=usual.brightness + _FOLLOW * (now.brightness - usual.brightness),
            edges=usual.edges + _FOLLOW * (now.edges - usual.edges),
            detail=usual.detail + faster * (now.detail - usual.detail),
            sharpness=usual.sharpness + rate * (now.sharpness - usual.sharpness),
            saturated=usual.saturated + _FOLLOW * (now.saturated - usual.saturated),
        )
        return replace(self, usual=usual)

    def _covered(self, now: Measures, darker: float, most: float) -> bool:
        """Return whether `most` of the picture shows nothing of what was to be seen there."""
        unlike = 0.0
        if self.steady and (darker >= most or now.contrast < _FLAT * self.usual.contrast):
            unlike = elsewhere(now.edges, self.usual.edges)
        return unlike >= most or (darker >= most and self._lost_detail(now) >= most)

    def _lost_detail(self, now: Measures) -> float:
        usual = self.usual.detail
        return share(now.detail < 0.5 * usual, usual > 0.5 * np.median(usual))

    def _edges(self, now: Measures, sight: Sight) -> Sight:
        """Return what a steady camera's edges say: weaker all over, or somewhere else."""
        usual = self.usual.edges
        left = float(now.edges.sum()) / max(float(usual.sum()), 1e-6)
        if left < VEILED_BELOW * ease(sight, Sight.DIRTY):
            return Sight.DIRTY
        easier = max(ease(sight, Sight.MOVED), ease(sight, Sight.DIRTY))
        if likeness(now.edges, usual) >= MOVED_BELOW * easier:
            return Sight.CLEAR
        ratio = gained(now.edges, usual)
        if ratio > _NEW_EDGES[1] and self._nothing_lost(now):
            return Sight.MOVED
        if sight in (Sight.MOVED, Sight.DIRTY):
            return sight
        return Sight.MOVED if _NEW_EDGES[0] <= ratio <= _NEW_EDGES[1] else Sight.DIRTY

    def _nothing_lost(self, now: Measures) -> bool:
        """Return whether the picture is richer than it was everywhere: another one, but no dirt."""
        darker = share(now.brightness < 0.5 * self.usual.brightness, self.usual.brightness > _LIT)
        return max(darker, self._lost_detail(now)) <= _NOTHING_LOST and self.as_good(now)


def ease(sight: Sight, asked: Sight) -> float:
    """Return how much easier the bar of `asked` is while `sight` stands."""
    return EASE if sight is asked else 1.0


def share(where: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float:
    """Return the share of `among` where `where` holds; 0 if there is nothing."""
    return float(where[among].mean()) if among.any() else 0.0
