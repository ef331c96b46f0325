"""The ``recognise`` stage of all cameras: faces in, events out.

It embeds the faces that are worth it, decides who they are, keeps the presence ledger and submits
the events. It alone touches the ledger: cameras send it their states, and once a second it looks at
the register of people and shows the muster.
"""

from __future__ import annotations

import dataclasses
import queue
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from edge_app import log
from edge_app.identity.handover import Handovers, Likeness
from edge_app.records import CameraState
from edge_app.stages import CameraEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_app.embedding.live import LiveRecogniser
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.identity.vote import IdentityStage
    from edge_app.presence.muster import Muster
    from edge_app.records import Embedding, Event, FrameFaces, Identity
    from edge_app.stages import Slot

_NS_PER_MS: Final = 1_000_000
_WAIT_S: Final = 0.2
_WINDOW: Final = 100
_TICK_NS: Final = 1_000_000_000

_log = structlog.get_logger(__name__)


class DropMeter:
    """The share of a camera's frames that were dropped, over its last hundred seen."""

    def __init__(self) -> None:
        self._dropped: dict[str, deque[int]] = {}

    def saw(self, camera: str, dropped: int) -> bool:
        """Note that a frame was seen and that `dropped` before it were not; False for a camera's first."""
        known = camera in self._dropped
        self._dropped.setdefault(camera, deque(maxlen=_WINDOW)).append(dropped)
        return known

    def share(self, camera: str) -> float:
        """Return dropped / (dropped + seen), 0..1; 0 for a camera that has given nothing yet."""
        counts = self._dropped.get(camera)
        if not counts:
            return 0.0
        dropped = sum(counts)
        return dropped / (dropped + len(counts))


class RecogniseWorker:
    """Faces in, events out.

    Args:
        faces: where the cameras' faces come from.
        recogniser: makes the embeddings.
        identity: decides about tracks.
        muster: keeps the presence ledger and turns decisions into events.
        zones: the zone of every camera.
        submit: takes an event for good.
        mono_ns: the injected monotonic clock.
        beat: told after every round.
        on_tick: called about once a second, in this thread.
        watch: told every frame with the last decisions by track (``dsr-edge run --show``).
    """

    def __init__(
        self,
        *,
        faces: Slot[FrameFaces | CameraEnded],
        recogniser: Recogniser | LiveRecogniser,
        identity: IdentityStage,
        muster: Muster,
        zones: Mapping[str, str],
        submit: Callable[[Event], None],
        mono_ns: Callable[[], int],
        beat: Callable[[], None],
        on_tick: Callable[[int], None],
        watch: Callable[[FrameFaces, Mapping[str, Identity]], None] | None = None,
    ) -> None:
        self._faces = faces
        self._recogniser = recogniser
        self._identity = identity
        self._handovers = Handovers()
        self._muster = muster
        self._zones = zones
        self._submit = submit
        self._mono_ns = mono_ns
        self._beat = beat
        self._on_tick = on_tick
        self._watch = watch
        self._stated: set[str] = set()
        self._states: queue.SimpleQueue[CameraState] = queue.SimpleQueue()
        self._drops = DropMeter()
        self._last: dict[str, dict[str, Identity]] = {}
        self._ticked_ns = 0

    def camera_state(self, state: CameraState) -> None:
        """Take note that a camera has gone blind, or sees again. Any thread."""
        self._stated.add(state.camera)
        self._states.put(state)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until `stopping` and nothing waits any more.

        Raises:
            ModelError: the recogniser failed.
            GalleryError: the register and the recogniser do not go together.
            OutboxError: delivery has ended.
        """
        while True:
            self._beat()
            item = self._faces.take(timeout=_WAIT_S)
            if isinstance(item, CameraEnded):
                self._end_camera(item.camera)
            elif item is not None:
                self.process(item)
            self._tell_states()
            now = self._mono_ns()
            if now - self._ticked_ns >= _TICK_NS:
                self._ticked_ns = now
                self._on_tick(now)
            if item is None and stopping():
                self._on_tick(self._mono_ns())  # the last word about who is where
                return

    def process(self, faces: FrameFaces) -> None:
        """Decide about every face of one frame and submit what is new."""
        frame = faces.frame
        if not self._drops.saw(frame.camera, frame.dropped) and frame.camera not in self._stated:
            self.camera_state(CameraState(camera=frame.camera, zone=self._zones[frame.camera]))
        faces = self._handovers.renamed(faces)
        for track in faces.crossed:
            self._identity.recheck(frame.camera, track)
        faces, embeddings = self._cut(faces, self._embed(faces))
        self._submit_all(self._muster.see(faces))
        last = self._last.setdefault(frame.camera, {})
        for tracked in faces.faces:
            quality = tracked.quality
            if quality.rejection is not None:
                reason = quality.rejection.value
                log.rejection(_log, camera=frame.camera, track=tracked.track, reason=reason, quality=quality)
            embedding = embeddings.get(tracked.track)
            identity = self._identity.view(frame.camera, tracked, embedding, frame.index, frame.mono_ns)
            if identity is not None:
                last[tracked.track] = identity
                self._tell(identity)
        for track in faces.ended:
            self._end(frame.camera, track, frame.mono_ns)
        if self._watch is not None:
            self._watch(faces, last)

    def _cut(
        self, faces: FrameFaces, embeddings: dict[str, Embedding]
    ) -> tuple[FrameFaces, dict[str, Embedding]]:
        """End tracks that went over to somebody else; return the faces by their names from now on."""
        frame, kept, seen = faces.frame, [], {}
        for tracked in faces.faces:
            embedding, now = embeddings.get(tracked.track), tracked
            if embedding is not None:
                weight = tracked.quality.score
                likeness, name = self._handovers.view(frame.camera, tracked.track, embedding, weight)
                if likeness is Likeness.OTHER:
                    _log.info("track_handed_over", camera=frame.camera, track=tracked.track, now=name)
                    self._end(frame.camera, tracked.track, frame.mono_ns)
                    now = dataclasses.replace(tracked, track=name)
                if likeness is not Likeness.STRANGE:
                    seen[name] = embedding
            kept.append(now)
        return dataclasses.replace(faces, faces=tuple(kept)), seen

    def _end(self, camera: str, track: str, mono_ns: int) -> None:
        """Tell a track's last word."""
        self._last.get(camera, {}).pop(track, None)
        identity = self._identity.end(camera, track, mono_ns)
        if identity is not None:
            self._tell(identity)
        self._muster.ended(camera, track)

    def _end_camera(self, camera: str) -> None:
        for identity in self._identity.end_camera(camera, self._mono_ns()):
            self._tell(identity)
        self._muster.camera_ended(camera)
        self._handovers.end_camera(camera)
        self._last.pop(camera, None)

    def _embed(self, faces: FrameFaces) -> dict[str, Embedding]:
        frame = faces.frame
        wanted = {
            tracked.track: tracked.crop
            for tracked in faces.faces
            if tracked.crop is not None
            and (
                self._handovers.doubts(frame.camera, tracked.track)
                or self._identity.wants_embedding(frame.camera, tracked.track, tracked.quality, frame.mono_ns)
            )
        }
        if not wanted:
            return {}
        vectors = self._recogniser.embed(np.stack(list(wanted.values())))
        return dict(zip(wanted, vectors, strict=True))

    def _tell(self, identity: Identity) -> None:
        log.decision(_log, identity)
        share = round(self._drops.share(identity.camera), 4)
        latency_ms = round((self._mono_ns() - identity.mono_ns) / _NS_PER_MS, 1)
        self._submit_all(
            dataclasses.replace(event, data={**event.data, "latency_ms": latency_ms, "dropped_share": share})
            for event in self._muster.identity(identity)
        )

    def _tell_states(self) -> None:
        while not self._states.empty():
            self._submit_all(self._muster.camera(self._states.get(), now_ns=self._mono_ns()))

    def _submit_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._submit(event)
