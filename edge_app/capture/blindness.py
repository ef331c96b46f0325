"""When a camera counts as blind, and how long to wait before it is tried again.

Both are arithmetic on times that are passed in, so that a night can be tested in a microsecond.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from edge_app.records import CameraState

if TYPE_CHECKING:
    from collections.abc import Callable

_NS_PER_S: Final = 1_000_000_000
_LARGEST_EXPONENT: Final = 30
NO_FRAMES: Final = "no_frames"


class Blindness:
    """Turns "saw something" and "time passes" into the two moments that matter: blind, and seeing again.

    Args:
        camera: its name.
        zone: what it watches.
        after_s: seconds without a useful picture until it is blind.
        now_ns: monotonic time at which it began to look.
    """

    def __init__(self, *, camera: str, zone: str, after_s: float, now_ns: int) -> None:
        self._camera, self._zone = camera, zone
        self._after_ns = round(after_s * _NS_PER_S)
        self._saw_ns = now_ns
        self._reason = NO_FRAMES
        self._told: CameraState | None = None

    @property
    def blind(self) -> bool:
        """Whether it was said to be blind and has not seen since."""
        return self._told is not None

    def saw(self, mono_ns: int) -> None:
        """Note a useful picture at `mono_ns`."""
        self._saw_ns = max(self._saw_ns, mono_ns)
        self._reason = NO_FRAMES

    def saw_nothing(self, reason: str) -> None:
        """Note a picture in which there is nothing to see, and why."""
        self._reason = reason

    def check(self, now_ns: int) -> CameraState | None:
        """Return the new state when it has changed, None otherwise.

        ``blind_since_ns`` is when the last useful picture came, not when that was found out.
        """
        silent = now_ns - self._saw_ns >= self._after_ns
        if silent == self.blind:
            return None
        if not silent:
            self._told = None
            return CameraState(camera=self._camera, zone=self._zone)
        self._told = CameraState(
            camera=self._camera, zone=self._zone, blind_since_ns=self._saw_ns, reason=self._reason
        )
        return self._told


class Backoff:
    """Waits that double up to a cap, each a random share of itself, so that boxes do not knock in step.

    Args:
        base_s: upper bound of the first wait.
        cap_s: upper bound of all.
        uniform: draws between two bounds; injected in tests.
    """

    def __init__(
        self,
        *,
        base_s: float = 0.5,
        cap_s: float = 30.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._base, self._cap, self._uniform = base_s, cap_s, uniform
        self._failures = 0

    def next_s(self) -> float:
        """Return the seconds to wait after one more failure."""
        bound = min(self._cap, self._base * 2.0 ** min(self._failures, _LARGEST_EXPONENT))
        self._failures += 1
        return self._uniform(0.0, bound)

    def reset(self) -> None:
        """Forget the failures: it worked."""
        self._failures = 0
