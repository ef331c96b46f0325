"""What the status page shows: the box as it is now, as one JSON document, and its cameras' last pictures.

The stages hand over references to what they have anyway; what it costs to draw and encode a picture is
paid by whoever asks for it, in the server's threads. People are references here as everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import cv2

from edge_app.annotate import annotated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_app.delivery.event import EnvelopeContext
    from edge_app.delivery.options import DeliveryStatus
    from edge_app.health.watchdog import StageHealth
    from edge_app.records import CameraState, FrameFaces, Identity, PersonSeen, PresenceSnapshot

_NS_PER_S: Final = 1_000_000_000
_PRIORITIES: Final = ("alarm", "presence", "sighting", "health")
_JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 80)


class BoxStatus:
    """Gathers what the page shows; every method may be called from any thread.

    Args:
        context: names of the box and of what it computes with, asked for anew each time.
        stages: how every stage is now.
        delivery: what delivery says about itself.
        mono_ns: the monotonic clock.
    """

    def __init__(
        self,
        *,
        context: Callable[[], EnvelopeContext],
        stages: Callable[[], Sequence[StageHealth]],
        delivery: Callable[[], DeliveryStatus],
        mono_ns: Callable[[], int],
    ) -> None:
        self._context, self._stages, self._delivery, self._mono_ns = context, stages, delivery, mono_ns
        self._seen: dict[str, tuple[FrameFaces, dict[str, Identity]]] = {}
        self._presence: PresenceSnapshot | None = None

    def saw(self, faces: FrameFaces, identities: Mapping[str, Identity]) -> None:
        """Keep a camera's last frame with what is said about each face in it."""
        self._seen[faces.frame.camera] = (faces, dict(identities))

    def muster(self, snapshot: PresenceSnapshot) -> None:
        """Keep who is where."""
        self._presence = snapshot

    def picture(self, camera: str) -> bytes | None:
        """Return a camera's last frame with boxes and references as JPEG; None before its first."""
        last = self._seen.get(camera)
        if last is None:
            return None
        good, data = cv2.imencode(".jpg", annotated(*last), _JPEG)
        return data.tobytes() if good else None

    def document(self) -> dict[str, Any]:
        """Return everything but the pictures, JSON values only; ages are in seconds."""
        presence = self._presence
        return {
            "about": self._about(),
            "stages": [
                {
                    "name": stage.name,
                    "does": stage.does,
                    "alive": stage.alive,
                    "silent_s": round(stage.silent_s, 1),
                    "limit_s": stage.limit_s,
                }
                for stage in self._stages()
            ],
            "outbox": self._outbox(),
            "cameras": [] if presence is None else [self._camera(camera) for camera in presence.cameras],
            "people": [] if presence is None else [self._person(one) for one in presence.people],
            "unknown": [] if presence is None else [self._person(one) for one in presence.unknown],
            "headcount": None if presence is None else _count(presence),
        }

    def _about(self) -> dict[str, Any]:
        now = self._context()
        return {
            "site": now.site,
            "node": now.node,
            "backend": now.backend,
            "model": (now.model_sha or "")[:12],
            "register": now.gallery_version,
        }

    def _outbox(self) -> dict[str, Any]:
        now = self._delivery()
        return {
            "broker": now.broker if now.connected else None,
            "waiting": dict(zip(_PRIORITIES, now.backlog, strict=True)),
            "oldest_s": now.oldest_age_s,
            "uncommitted": now.uncommitted,
            "parked": now.parked,
            "lost": now.lost,
            "last_error": now.last_error,
        }

    def _camera(self, camera: CameraState) -> dict[str, Any]:
        last = self._seen.get(camera.camera)
        return {
            "name": camera.camera,
            "zone": camera.zone,
            "sees": camera.blind_since_ns is None,
            "reason": camera.reason or camera.impaired,
            "faces": None if last is None else len(last[0].faces),
            "picture_age_s": None if last is None else self._age_s(last[0].frame.mono_ns),
        }

    def _person(self, person: PersonSeen) -> dict[str, Any]:
        return {
            "person_ref": person.person_ref,
            "zone": person.zone,
            "camera": person.camera,
            "seen_s_ago": self._age_s(person.last_seen_ns),
            "perhaps_left": person.perhaps_left_ns is not None,
        }

    def _age_s(self, at_ns: int) -> float:
        return round(max(0, self._mono_ns() - at_ns) / _NS_PER_S, 1)


def _count(presence: PresenceSnapshot) -> dict[str, int]:
    counted = presence.count
    if counted is None:
        return {"best": presence.headcount, "low": presence.headcount, "high": presence.headcount}
    return {"best": counted.best, "low": counted.low, "high": counted.high}
