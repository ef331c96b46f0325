"""What a camera used to see, in a file, so that a restart does not take a bad picture for the usual one.

One JSON file a camera beside the presence ledger, replaced as a whole: when what is seen changes, and
every ten minutes for what follows slowly. It is of one source and one `view`, a number in the
configuration: whoever raises it says that the camera was hung, set or pointed anew and that what it sees
now is good. **Nothing else has a camera learn anew.** Where the file is gone or damaged while an alarm
about the camera stands that only a comparison could end, the alarm stands on.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from edge_app.capture.camera_health import Memory
from edge_app.capture.measures import SHAPES, Measures
from edge_app.capture.sight import Sight
from edge_app.capture.view import View
from edge_app.statefile import UNUSABLE, StateFile, why

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 1
_NS: Final = 1_000_000_000
#: A sight that flickers does not wear out the disk, and what follows slowly is written as slowly.
_SIGHT_EVERY_NS: Final = 5 * _NS
_VIEWS_EVERY_NS: Final = 600 * _NS
_MAX_BYTES: Final = 4 << 20
_MOST_VIEWS: Final = 2

_log = structlog.get_logger(__name__)


class CameraMemory:
    """The file at `path`.

    Args:
        path: its folder is made.
        camera: for the log.
        source: what the camera is, as shown; what another one used to see says nothing.
        view: the number that the configuration gives; with another one the camera learns anew.
        boot: names this run of the monotonic clock.
        standing: the reason of an alarm about this camera that an earlier run raised and did not clear.
    """

    def __init__(
        self, path: Path, *, camera: str, source: str, view: int, boot: str, standing: str | None = None
    ) -> None:
        self._camera = camera
        self._file = StateFile(path, "camera_memory", most_bytes=_MAX_BYTES)
        self._of = {"v": VERSION, "source": source, "view": view}
        self._boot = boot
        self._standing = standing
        self._kept: Memory | None = None
        self._kept_ns = 0

    def load(self) -> Memory:
        """Return what an earlier run left, as it counts now."""
        try:
            body = self._file.read()
            if {key: body[key] for key in self._of} != self._of:
                _log.warning("camera_learns_anew", camera=self._camera, reason="another source or view")
                return Memory()
            self._kept = self._read(body)
        except FileNotFoundError:
            return self._lost()
        except UNUSABLE as error:
            self._file.set_aside(why(error))
            return self._lost()
        return self._kept

    def keep(self, memory: Memory, now_ns: int) -> bool:
        """Write `memory` if it is time; return whether the file is as good as it. Logs a failure once."""
        if not self._due(memory, now_ns):
            return not self._file.failed
        self._kept_ns = now_ns
        body = {
            **self._of,
            "boot": self._boot,
            "sight": memory.sight.value,
            "since_ns": memory.since_ns,
            "held": None if memory.held is None else memory.held.value,
            "views": [{"steady": one.steady, **_written(one.usual)} for one in memory.views],
        }
        if not self._file.write(body):
            return False
        self._kept = memory
        return True

    def _due(self, memory: Memory, now_ns: int) -> bool:
        kept, age_ns = self._kept, now_ns - self._kept_ns
        if kept is None:
            return not self._file.failed or age_ns >= _SIGHT_EVERY_NS
        changed = (kept.sight, kept.held, len(kept.views)) != (memory.sight, memory.held, len(memory.views))
        other = memory.views is not kept.views
        return (changed and age_ns >= _SIGHT_EVERY_NS) or (other and age_ns >= _VIEWS_EVERY_NS)

    def _lost(self) -> Memory:
        """Return what to begin with where what the camera used to see is lost."""
        held = next((one for one in Sight if one.value == self._standing and one.by_comparison), None)
        if held is None:
            return Memory()
        _log.warning(
            "camera_stays_as_told",
            camera=self._camera,
            sight=held.value,
            reason="what it used to see is lost",
            fix=f"look at its picture; if it is good raise `view` of the camera {self._camera}, and restart",
        )
        return Memory(sight=held, held=held)

    def _read(self, body: dict[str, Any]) -> Memory:
        views = tuple(View(_measures(one), steady=bool(one["steady"])) for one in body["views"])
        if len(views) > _MOST_VIEWS:
            msg = f"{len(views)} views; there are {_MOST_VIEWS} at most"
            raise ValueError(msg)
        return Memory(
            views=views,
            sight=Sight(body["sight"]),
            # Of another boot it is only known that it began before this one.
            since_ns=int(body["since_ns"]) if body["boot"] == self._boot else 0,
            held=None if body["held"] is None else Sight(body["held"]),
        )


def path_beside(ledger: Path, camera: str) -> Path:
    """Return where the memory of `camera` is kept, beside the ledger of presence."""
    return ledger.with_name(ledger.name + ".cameras") / f"{camera}.json"


def _written(measures: Measures) -> dict[str, Any]:
    return {
        one.name: np.round(getattr(measures, one.name), 4).tolist()
        if one.name in SHAPES
        else round(getattr(measures, one.name), 5)
        for one in fields(measures)
    }


def _measures(body: dict[str, Any]) -> Measures:
    """Return one set of measures; everything in it is checked, because a file can be edited."""
    found: dict[str, Any] = {
        one.name: np.array(body[one.name], np.float32) if one.name in SHAPES else float(body[one.name])
        for one in fields(Measures)
    }
    for name, value in found.items():
        if np.shape(value) != SHAPES.get(name, ()) or not np.isfinite(value).all() or np.min(value) < 0:
            msg = f"{name} is no measure of a picture"
            raise ValueError(msg)
    return Measures(**found)
