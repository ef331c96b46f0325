"""The parts of one box: made from its configuration, opened together, closed together.

`edge_app.daemon` runs them in its threads; this module only knows which part goes where.
"""

from __future__ import annotations

import dataclasses
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from edge_app import clock as clocks
from edge_app import extras, wiring
from edge_app.annotate import ShowWriter
from edge_app.cameras import Cameras
from edge_app.capture.newest import NewestFrame
from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.service import Delivery
from edge_app.embedding.live import LiveRecogniser
from edge_app.errors import OutboxFull
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.faces.stage import FaceStage
from edge_app.faces.track import Tracker
from edge_app.health.pulse import Pulse
from edge_app.identity.calibration import path_beside
from edge_app.identity.gallery import Gallery
from edge_app.identity.live import LiveMatcher
from edge_app.identity.vote import IdentityStage
from edge_app.inbox import Inbox
from edge_app.recognise import RecogniseWorker
from edge_app.records import Event
from edge_app.register import Register
from edge_app.stages import CameraEnded, FacesWorker, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_app.capture.sources import Source
    from edge_app.capture.spec import SourceSpec
    from edge_app.clock import Clock
    from edge_app.commands.desk import CommandDesk
    from edge_app.config import Config
    from edge_app.config.schema import CameraConfig
    from edge_app.delivery.link import Message
    from edge_app.health.watchdog import StageHealth
    from edge_app.records import FrameFaces, Identity

    Work = Callable[[Callable[[], bool]], None]
    Watch = Callable[[FrameFaces, Mapping[str, Identity]], None]
    Opener = Callable[[SourceSpec], Source]

_log = structlog.get_logger(__name__)
_RETRY_S: Final = 1.0
_NS_PER_S: Final = 1_000_000_000
#: `dsr-edge emit` may have the outbox for ten seconds.
_PATIENCE_S: Final = 15.0
#: Frames a second of the annotated video.
_SHOW_FPS: Final = 12.5


class Parts:
    """Everything between the cameras and the broker.

    Args:
        config: what the box was told.
        clock: monotonic and wall time.
        beat: told a stage's name after every round of its work.
        show: also write the first camera's annotated frames to this file.
        source: the file that the configuration was read from, if it was.
        watch: told every frame's faces with the last decision by track.
        opener: opens a camera's source; None for the usual way.
        stages: how every stage is now, for the status page.

    Raises:
        ModelError: a model is missing, altered or does not fit.
        GalleryError: the register is there and cannot be used.
        OutboxError: the outbox cannot be opened, or another process owns it.
        ConfigError: a secret's file cannot be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        beat: Callable[[str], None],
        show: Path | None = None,
        source: Path | None = None,
        watch: Watch | None = None,
        opener: Opener | None = None,
        stages: Callable[[], Sequence[StageHealth]] = tuple,
    ) -> None:
        self._config, self._clock = config, clock
        self._opener, self._beat = opener, beat
        self._show = ShowWriter(show, fps=_SHOW_FPS) if show else None
        self._inbox = Inbox()
        self._stages: list[FaceStage] = []
        self._faces: Slot[FrameFaces | CameraEnded] = Slot()
        self._open_models()
        self._open_register()
        self._open_delivery()
        self._pulse = Pulse(folder=config.delivery.outbox.parent, counts=self._counts)
        self._desk = self._make_desk(source)
        self._delivery.start(patience_s=_PATIENCE_S)
        self._open_planes(stages)
        self._presence = wiring.presence(
            config, boot=self._context.boot, clock=clock, standing_alarms=self._delivery.standing_alarms()
        )
        self._register = Register(
            self._matcher,
            standing=self._delivery.standing_alarms(),
            counted=[ref for ref, _ in self._presence.muster.kept().people],
        )
        page = None if self._page is None else self._page.status.saw
        self._watchers = [one for one in (watch, page, self._film if show else None) if one is not None]
        self._recognise = self._make_recognise({camera.name: camera.zone for camera in config.cameras})
        if self._desk is not None:
            self._desk.start()

    def _open_models(self) -> None:
        """Open detector and recogniser, the best engine that the store has."""
        config = self._config
        self._detector = wiring.build_detector(config, tracked=True)
        self._engines = wiring.engine_store(config)
        self._opening = wiring.open_recogniser(config, self._engines)
        self._recogniser = LiveRecogniser(
            self._opening,
            reopen=lambda without: wiring.open_recogniser(config, self._engines, without=without),
            store=self._engines,
            on_change=self._backend_changed,
        )

    def _open_register(self) -> None:
        """Open the register of people, and the votes on tracks that stand on it."""
        calibrated = self._config.recogniser.threshold is None
        self._matcher = LiveMatcher(
            gallery=Gallery(path=self._config.gallery.path),
            model_sha256=self._recogniser.model_sha256,
            preprocess_sha256=PREPROCESS_SHA256,
            threshold=self._threshold(),
            calibration_path=path_beside(self._config.gallery.path) if calibrated else None,
            clock=self._clock,
        )
        self._identity = IdentityStage(self._matcher, options=wiring.vote_options(self._config))

    def _open_delivery(self) -> None:
        """Open the outbox and the way to the broker, not yet started."""
        config = self._config
        self._context = EnvelopeContext(
            site=config.box.site,
            node=config.box.node,
            boot=clocks.boot_id(),
            backend=self._recogniser.backend,
            model_sha=self._recogniser.model_sha256,
            gallery_version=self._matcher().version,
        )
        self._delivery = Delivery(
            options=wiring.delivery_options(config),
            context=self._context,
            clock=self._clock,
            on_beat=lambda: self._beat("delivery"),
            on_command=self._command_arrived if config.commands.keys else None,
            on_cards=self._inbox.cards_arrived if config.cards.listen else None,
        )

    def _open_planes(self, stages: Callable[[], Sequence[StageHealth]]) -> None:
        """Open what else tells the mine, where it is asked for: Sparkplug B and the status page."""
        self._sparkplug = extras.sparkplug_plane(
            self._config,
            clock=self._clock,
            standing_alarms=self._delivery.standing_alarms(),
            on_beat=lambda: self._beat("sparkplug"),
        )
        self._page = extras.status_page(
            self._config,
            clock=self._clock,
            context=lambda: self._context,
            stages=stages,
            status=self._delivery.status,
        )

    def works(self) -> dict[str, Work]:
        """Return what each stage does, by its name in the daemon's table; ``recognise`` is the last."""
        turn = threading.Lock()
        works: dict[str, Work] = {}
        cameras = Cameras(
            self._config,
            clock=self._clock,
            boot=self._context.boot,
            reason_of=self._delivery.standing_reason,
            opener=self._opener,
        )
        for camera in self._config.cameras:
            newest = NewestFrame(keep_all=wiring.source_spec(camera).keeps_all)
            stage = f"capture:{camera.name}"
            made = cameras.make(
                camera, newest, beat=partial(self._beat, stage), on_state=self._recognise.camera_state
            )
            works[stage] = made.run
            works[f"faces:{camera.name}"] = self._make_faces(camera, newest, turn).run
        works["recognise"] = self._recognise.run
        return works

    def submit(self, event: Event) -> None:
        """Hand over `event` for good; waits for as long as the outbox takes nothing.

        Raises:
            OutboxError: delivery has ended.
        """
        while not self._submitted(event):
            pass

    def _submitted(self, event: Event) -> bool:
        try:
            self._delivery.submit(event, timeout=_RETRY_S)
        except OutboxFull as error:
            _log.error("outbox_takes_nothing", error=error.what, fix=error.fix)
            return False
        if self._sparkplug is not None:
            self._sparkplug.observe(event)
        return True

    def say_started(self) -> None:
        """Submit ``box_start``, log what was chosen, and open the status page."""
        if self._page is not None:
            self._page.start()
        _log.info(
            "box_start",
            site=self._config.box.site,
            node=self._config.box.node,
            recogniser=self._recogniser.manifest.name,
            backend=self._recogniser.backend,
            reason=self._recogniser.reason,
            detector=self._config.detector.kind,
            detector_backend=self._detector.backend,
            threshold=round(self._register.now.threshold, 3),
            registered=len(self._register.now.refs),
            gallery_version=self._register.now.version,
        )
        said = {"version": wiring.version(), "clean": self._delivery.clean_before}
        self.submit(Event(kind="box_start", mono_ns=self._clock.mono_ns(), data=said))
        for passed in self._opening.fallbacks:
            asked = wiring.ask_for_rebuild(self._config, passed)
            reason = f"{passed.reason}; a rebuild was asked for" if asked else passed.reason
            self._tell_backend(self._recogniser.backend, passed.backend, reason)

    def say_stopping(self, reason: str) -> None:
        """Submit ``box_stop``."""
        self.submit(Event(kind="box_stop", mono_ns=self._clock.mono_ns(), data={"reason": reason}))

    def close(self, *, timeout: float) -> bool:
        """Commit everything, say goodbye and let go of all; returns whether that was done in time."""
        self._presence.close()
        if self._page is not None:
            self._page.stop()
        if self._desk is not None:
            self._desk.stop()
        done = self._delivery.stop(timeout)
        left = self._delivery.status()
        if left.waiting:
            _log.info("events_wait", events=left.waiting, reason=left.last_error or "no receipts yet")
        if self._sparkplug is not None:
            self._sparkplug.stop()
        if self._show is not None:
            self._show.close()
        self._recogniser.close()
        self._detector.close()
        return done

    def _threshold(self) -> float:
        """Return the configured threshold, or the model's own."""
        threshold = self._config.recogniser.threshold
        return self._recogniser.threshold if threshold is None else threshold

    def _make_desk(self, source: Path | None) -> CommandDesk | None:
        return extras.command_desk(
            self._config,
            source=source,
            clock=self._clock,
            context=lambda: self._context,
            delivery=self._delivery,
            engines=self._engines,
            muster_now=self._inbox.muster_now,
            take_over=self._inbox.take_over,
            submit=self.submit,
        )

    def _command_arrived(self, message: Message) -> None:
        """Lay a command on the desk; called by the delivery thread."""
        if self._desk is not None:
            self._desk.arrived(message)

    def _take_configs(self) -> None:
        for config, taken in self._inbox.configs():
            self._config = config
            self._matcher.use_threshold(self._threshold())
            self._identity.use_options(wiring.vote_options(self._config))
            for stage in self._stages:
                stage.use_limits(wiring.quality_limits(self._config))
            _log.info("config_taken", threshold=round(self._threshold(), 3))
            taken.set()

    def _make_faces(self, camera: CameraConfig, newest: NewestFrame, turn: threading.Lock) -> FacesWorker:
        limits = wiring.quality_limits(self._config)
        tracker = Tracker(limits=wiring.track_limits(self._config))
        stage = FaceStage(detector=self._detector, tracker=tracker, limits=limits)
        self._stages.append(stage)
        return FacesWorker(
            camera=camera.name,
            newest=newest,
            stage=stage,
            turn=turn,
            out=self._faces,
            beat=lambda: self._beat(f"faces:{camera.name}"),
        )

    def _make_recognise(self, zones: Mapping[str, str]) -> RecogniseWorker:
        return RecogniseWorker(
            faces=self._faces,
            recogniser=self._recogniser,
            identity=self._identity,
            muster=self._presence.muster,
            zones=zones,
            submit=self.submit,
            mono_ns=self._clock.mono_ns,
            beat=lambda: self._beat("recognise"),
            on_tick=self._tick,
            watch=self._watch if self._watchers else None,
        )

    def _watch(self, faces: FrameFaces, identities: Mapping[str, Identity]) -> None:
        for watcher in self._watchers:
            watcher(faces, identities)

    def _film(self, faces: FrameFaces, identities: Mapping[str, Identity]) -> None:
        if self._show is not None and faces.frame.camera == self._config.cameras[0].name:
            self._show.add(faces, identities)

    def _tick(self, now_ns: int) -> None:
        """Look at the register and show the muster; about once a second, in the ``recognise`` thread."""
        self._take_configs()
        self._follow_register(now_ns)
        self._recogniser.tick(now_ns)
        for readings in self._inbox.cards():
            self._presence.muster.cards(readings, now_ns=now_ns)
        now = self._presence.tick(now_ns)
        for event in (*now.events, *self._pulse.tick(now_ns)):
            self.submit(event)
        asked = self._inbox.musters()
        if self._page is not None:
            self._page.status.muster(now.snapshot)
        self._delivery.publish_muster(now.snapshot, as_event=now.muster_due or bool(asked))
        for answer in asked:
            answer.put(now.snapshot)
        self._delivery.set_measures(self._pulse.measures)
        if self._sparkplug is not None:
            self._sparkplug.muster(now.snapshot)
            self._sparkplug.box(self._delivery.status(), self._context, self._pulse.measures)

    def _counts(self) -> dict[str, int]:
        counts = {"receipts_refused": self._delivery.status().rejected_receipts}
        if self._config.cards.listen:
            counts["cards_refused"] = self._delivery.refused_cards + self._inbox.cards_dropped
        for room in (self._desk, self._sparkplug):
            counts |= {} if room is None else room.counts()
        return counts

    def _backend_changed(self, backend: str, previous: str, reason: str) -> None:
        """Let every event from now on name the engine that is in use; between two frames."""
        self._context = dataclasses.replace(self._context, backend=backend)
        self._delivery.set_context(self._context)
        self._tell_backend(backend, previous, reason)

    def _tell_backend(self, backend: str, previous: str, reason: str) -> None:
        _log.warning("backend_changed", backend=backend, previous_backend=previous, reason=reason)
        data = {"backend": backend, "previous_backend": previous, "reason": reason}
        self.submit(Event(kind="backend_changed", mono_ns=self._clock.mono_ns(), data=data))

    def _follow_register(self, now_ns: int) -> None:
        for event in self._register.tick(now_ns):
            version = self._register.now.version
            if version != self._context.gallery_version:
                self._context = dataclasses.replace(self._context, gallery_version=version)
                self._delivery.set_context(self._context)
            self.submit(event)
