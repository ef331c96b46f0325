"""A camera of the box with its memory: what it used to see, and what the last run said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_app import wiring
from edge_app.capture.camera import Camera
from edge_app.capture.memory import CameraMemory, path_beside
from edge_app.capture.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.capture.newest import NewestFrame
    from edge_app.capture.sources import Source
    from edge_app.capture.spec import SourceSpec
    from edge_app.clock import Clock
    from edge_app.config import Config
    from edge_app.config.schema import CameraConfig
    from edge_app.records import CameraState

#: A camera that was moved is taken as it is after so long; not one with portals, whose lines then lie wrong.
ACCEPT_MOVED_S: Final = 600.0


class Cameras:
    """Makes the cameras of one box.

    Args:
        config: what the box was told.
        clock: monotonic time and waiting.
        boot: names this run of the monotonic clock.
        reason_of: why an alarm was raised that an earlier run left standing, by its id; None if none stands.
        opener: opens a camera's source; None for the usual way.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        boot: str,
        reason_of: Callable[[str], str | None],
        opener: Callable[[SourceSpec], Source] | None,
    ) -> None:
        self._ledger = config.presence.ledger
        self._clock, self._boot, self._reason_of, self._opener = clock, boot, reason_of, opener

    def make(
        self,
        camera: CameraConfig,
        newest: NewestFrame,
        *,
        beat: Callable[[], None],
        on_state: Callable[[CameraState], None],
    ) -> Camera:
        """Return one camera, not yet running; see `Camera`."""
        spec = wiring.source_spec(camera)
        return Camera(
            name=camera.name,
            zone=camera.zone,
            spec=spec,
            newest=newest,
            clock=self._clock,
            beat=beat,
            on_state=on_state,
            blind_after_s=camera.blind_after_s,
            opener=self._opener,
            memory=self._memory(camera, spec) if spec.live else None,
            accept_moved_s=None if camera.portals else ACCEPT_MOVED_S,
        )

    def _memory(self, camera: CameraConfig, spec: SourceSpec) -> CameraMemory:
        states = ("blind", *(one.value for one in Sight))
        reasons = (self._reason_of(f"camera_{state}.{camera.name}") for state in states)
        standing = next((reason.removeprefix("camera_") for reason in reasons if reason), None)
        return CameraMemory(
            path_beside(self._ledger, camera.name),
            camera=camera.name,
            source=spec.shown,
            view=camera.view,
            boot=self._boot,
            standing=standing,
        )
