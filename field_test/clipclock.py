"""The time of recorded clips, for a real daemon that works through them frame by frame.

A box that is slower or faster than the clip must decide as it would have decided before the camera: its
tracks end after so many seconds, decided people are looked at again so often. So the monotonic clock of
the field test is the clip's: it stands at the time of the newest frame, and between frames goes on with
the machine's clock, but never beyond the next frame. Before the first and after the last frame it is
the machine's clock. Several cameras go in step: none is a frame ahead of another by more than one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from edge_app.clock import WallQuality, WallTime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from edge_app.capture.sources import Source
    from edge_app.capture.spec import SourceSpec

_NS: Final = 1_000_000_000
_MS: Final = 1_000_000
#: 2026-01-01, when every clip begins, by the wall clock.
_NEW_YEAR_MS: Final = 1_767_225_600_000
_STEP_S: Final = 0.1


class ClipClock:
    """A `Clock` that follows frames. `times` are each camera's frame times, seconds; `jump` moves wall time.

    Args:
        times: by camera.
        jump: (second of the clip, seconds by which the wall clock is then set), if it is.
    """

    def __init__(
        self, times: Mapping[str, Sequence[float]], *, jump: tuple[float, float] | None = None
    ) -> None:
        self._times = times
        self._jump = jump
        self._changed = threading.Condition()
        self._read = dict.fromkeys(times, 0)
        self._now_ns = 0
        self._limit_ns: int | None = None
        self._since = time.monotonic_ns()
        self.base_ns: int | None = None

    def mono_ns(self) -> int:
        """Return nanoseconds: those of the newest frame and a little more."""
        with self._changed:
            return self._mono()

    def _mono(self) -> int:
        passed = time.monotonic_ns() - self._since
        if self._limit_ns is None:
            return self._now_ns + passed
        return min(self._now_ns + passed, max(self._limit_ns, self._now_ns))

    def wall(self) -> WallTime:
        """Return wall time, which goes with the clip and jumps where it is told to."""
        with self._changed:
            now, base = self._mono(), self.base_ns
            ms = _NEW_YEAR_MS + now // _MS
            if self._jump is not None and base is not None and now - base >= self._jump[0] * _NS:
                ms += round(self._jump[1] * 1000)
        return WallTime(ms=ms, quality=WallQuality.SYNC)

    def sleep(self, seconds: float) -> None:
        """Wait, by the machine's clock."""
        time.sleep(seconds)

    def frame(self, camera: str) -> None:
        """Say that `camera` gives its next frame now; waits until the other cameras have come so far."""
        at = self._times[camera][self._read[camera]]
        with self._changed:
            while any(self._behind(other, at) for other in self._times if other != camera):
                self._changed.wait(_STEP_S)
            self.base_ns = self._mono() if self.base_ns is None else self.base_ns
            self._read[camera] += 1
            self._now_ns = max(self._mono(), self.base_ns + round(at * _NS))
            self._since = time.monotonic_ns()
            coming = [self._times[one][n] for one, n in self._read.items() if n < len(self._times[one])]
            self._limit_ns = self.base_ns + round(min(coming) * _NS) if coming else None
            self._changed.notify_all()

    def expects(self, camera: str) -> bool:
        """Return whether a further frame of `camera` is known."""
        return self._read[camera] < len(self._times[camera])

    def ended(self, camera: str) -> None:
        """Say that no more frames of `camera` come."""
        with self._changed:
            self._read[camera] = len(self._times[camera])
            if all(n >= len(self._times[one]) for one, n in self._read.items()):
                self._now_ns, self._since, self._limit_ns = self._mono(), time.monotonic_ns(), None
            self._changed.notify_all()

    def _behind(self, camera: str, at: float) -> bool:
        done, times = self._read[camera], self._times[camera]
        return done < len(times) and times[done] < at


class ClipSource:
    """A recording whose every frame sets the clock."""

    def __init__(self, spec: SourceSpec, *, camera: str, clock: ClipClock) -> None:
        from edge_app.capture.sources import open_source

        self._source: Source = open_source(spec, clock=clock)
        self._camera, self._clock = camera, clock
        self.position = 0

    def read(self) -> npt.NDArray[np.uint8] | None:
        """Return the next frame, None at the end of the recording or of what is known about it."""
        pixels = self._source.read() if self._clock.expects(self._camera) else None
        if pixels is None:
            self._clock.ended(self._camera)
        else:
            self._clock.frame(self._camera)
            self.position = self._source.position
        return pixels

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()
