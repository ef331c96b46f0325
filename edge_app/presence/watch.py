"""When people could not have been seen: while a camera of their zone was blind, while the box did not run.

That somebody was not seen says nothing about such a time. It does not count towards forgetting them, and
at the end of a shift in which there was some nobody of that zone is taken for gone. One blind camera of
several is enough: whoever is in the zone may have been before that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_app.records import CameraState

#: Times that are remembered for each zone; of more the oldest two count as one with what lies between.
_KEEP: Final = 64


@dataclass(frozen=True, slots=True)
class Dark:
    """Nobody in `zone` (None: anywhere) could surely be seen from `since_ns` to `until_ns` (monotonic)."""

    zone: str | None
    since_ns: int
    until_ns: int


class Watch:
    """Remembers when which zones were dark.

    Args:
        watched: the zones that each camera sees.
        kept: what an earlier run remembered, and when no run was; in the order of time.
    """

    def __init__(self, *, watched: Mapping[str, frozenset[str]], kept: Iterable[Dark] = ()) -> None:
        self._watched = watched
        self._spans: dict[str | None, list[Dark]] = {}
        known = frozenset().union(*watched.values())
        for dark in kept:
            if dark.zone is None or dark.zone in known:
                self._add(dark)

    def look(self, now_ns: int, cameras: Iterable[CameraState]) -> None:
        """Note which cameras are blind at `now_ns`, and since when; about once a second."""
        for camera in cameras:
            if camera.blind_since_ns is not None:
                for zone in self._watched.get(camera.camera, ()):
                    self._add(Dark(zone, min(camera.blind_since_ns, now_ns), now_ns))

    def dark_ns(self, zone: str | None, since_ns: int) -> int:
        """Return for how many ns since `since_ns` nobody in `zone` could surely be seen."""
        spans = [*self._spans.get(zone, ()), *(self._spans.get(None, ()) if zone is not None else ())]
        return sum(max(0, one.until_ns - max(one.since_ns, since_ns)) for one in spans)

    def kept(self) -> tuple[Dark, ...]:
        """Return what is remembered."""
        return tuple(one for spans in self._spans.values() for one in spans)

    def _add(self, dark: Dark) -> None:
        spans = self._spans.setdefault(dark.zone, [])
        since, until = dark.since_ns, dark.until_ns
        while spans and spans[-1].until_ns >= since:
            last = spans.pop()
            since, until = min(since, last.since_ns), max(until, last.until_ns)
        spans.append(Dark(dark.zone, since, until))
        if len(spans) > _KEEP:
            spans[:2] = [Dark(dark.zone, spans[0].since_ns, spans[1].until_ns)]
