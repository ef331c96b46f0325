"""When a camera counts as blind or impaired, and how long to wait before it is tried again.

All are arithmetic on times that are passed in, so that a night can be tested in a microsecond.
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
#: An impairment (a lamp out, a camera that was moved) is told, and its end is, after so long.
_IMPAIRED_AFTER_S: Final = 6.0


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
        self._noticed: tuple[str | None, int] = (None, now_ns)
        self._impaired: str | None = None
        self._known = False

    @property
    def blind(self) -> bool:
        """Whether it was said to be blind and has not seen since."""
        return self._told is not None

    def known(self, reason: str, since_ns: int, *, blind: bool) -> None:
        """Begin with what an earlier run knew: told at once, and it stands until a picture says otherwise."""
        self._known = True
        if blind:
            self.saw_nothing(reason, since_ns)
        else:
            self.noticed(reason, since_ns)

    def noticed(self, impairment: str | None, mono_ns: int) -> None:
        """Note what is wrong with a camera that sees all the same, None when nothing is."""
        if impairment != self._noticed[0]:
            self._noticed = (impairment, mono_ns)

    def saw(self, mono_ns: int) -> None:
        """Note a useful picture at `mono_ns`."""
        self._saw_ns = max(self._saw_ns, mono_ns)
        self._reason = NO_FRAMES
        self._known = False

    def saw_nothing(self, reason: str, since_ns: int | None = None) -> None:
        """Note a picture in which there is nothing to see, why, and since when, if that is found out late."""
        self._reason = reason
        if since_ns is not None:
            self._saw_ns = min(self._saw_ns, since_ns)

    def check(self, now_ns: int) -> CameraState | None:
        """Return the new state when it has changed, None otherwise.

        ``blind_since_ns`` is when the last useful picture came, not when that was found out.
        """
        known_blind = self._known and self._reason != NO_FRAMES
        silent = known_blind or now_ns - self._saw_ns >= self._after_ns
        impaired = self._impaired
        if not silent and (self._known or now_ns - self._noticed[1] >= _IMPAIRED_AFTER_S * _NS_PER_S):
            impaired = self._noticed[0]
        if silent == self.blind and impaired == self._impaired:
            return None
        self._impaired = impaired
        if not silent:
            self._told = None
            return CameraState(camera=self._camera, zone=self._zone, impaired=impaired)
        self._told = CameraState(
            camera=self._camera,
            zone=self._zone,
            blind_since_ns=self._saw_ns,
            reason=self._reason,
            impaired=impaired,
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
