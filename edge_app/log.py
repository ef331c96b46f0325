"""Logs that a person reads on a terminal and a machine reads everywhere else.

On a terminal each record is one aligned line; otherwise it is one JSON object a line. Records of the
standard ``logging`` module, ``warnings`` and unhandled exceptions of threads take the same way.

Two records matter more than the rest and are told apart by the field ``record``: a ``decision`` says
who was named (or that nobody was), a ``rejection`` says why a face gave no identity. Everything else
is ``record: log``.

What must not be in a log is taken out here, once, whatever the caller passed: people appear as
their reference, never by name; pictures and embeddings become their shape; passwords go, also out of
addresses. Times carry the wall clock's quality, and ``mono_ms`` orders records where it is ``none``.
"""

from __future__ import annotations

import json as jsonlib
import logging
import math
import os
import re
import sys
import threading
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from edge_app.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import EventDict, Processor, WrappedLogger

    from edge_app.clock import Clock
    from edge_app.records import Identity, Quality

    StreamHandler = logging.StreamHandler[TextIO]
else:
    StreamHandler = logging.StreamHandler  # takes a parameter from Python 3.11 on only

LEVELS: Final = ("debug", "info", "warning", "error")
WITHHELD: Final = "[withheld]"
#: Fields that would hold a person's name or a secret. Nothing may use them for anything else.
NEVER_LOGGED: Final = frozenset(
    {"name", "person_name", "full_name", "names", "roster", "password", "passphrase", "secret", "token"}
)
_CREDENTIALS_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+@")
#: syslog(3) priorities, which journald reads from the start of a line (sd-daemon(3)).
_PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def configure(
    *, level: str = "info", stream: TextIO | None = None, json: bool | None = None, clock: Clock | None = None
) -> None:
    """Set up all logging of the process; calling it again replaces what the last call set up.

    Args:
        level: the lowest level that is written, one of `LEVELS`.
        stream: where to; standard error if None.
        json: one JSON object a line; None means whatever suits `stream` (a terminal gets pretty lines).
        clock: what stamps the records.

    Raises:
        ValueError: no such level.
    """
    if level not in LEVELS:
        msg = f"log level must be one of {', '.join(LEVELS)}; received {level!r}"
        raise ValueError(msg)
    stream = sys.stderr if stream is None else stream
    as_json = not stream.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        _Stamp(clock or SystemClock()),
        _name_record_kind,
        structlog.processors.format_exc_info if as_json else _keep,
        withhold,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_note_logger, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _json_line(journal=_is_journal(stream)) if as_json else _pretty(stream),
            ],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_thread_death


def decision(logger: Any, identity: Identity) -> None:
    """Log what the box says about a track: a name's reference, or that nobody is named and why."""
    logger.info(
        "decided",
        record="decision",
        camera=identity.camera,
        track=identity.track,
        decision=identity.decision.value,
        person_ref=identity.person_ref,
        reason=None if identity.reason is None else identity.reason.value,
        score=None if identity.score is None else round(identity.score, 3),
        threshold=round(identity.threshold, 3),
        margin=None if identity.margin is None else round(identity.margin, 3),
        votes=identity.votes,
        revised=identity.revised,
        final=identity.final,
    )


def rejection(logger: Any, *, camera: str, track: str | None, reason: str, quality: Quality | None) -> None:
    """Log why a face gives no identity, with what was measured (debug level: there is one a frame)."""
    measured: dict[str, float] = {}
    if quality is not None:
        measured = {
            "face_px": round(quality.face_px, 1),
            "sharpness": round(quality.sharpness, 1),
            "brightness": round(quality.brightness, 1),
            "contrast": round(quality.contrast, 1),
            "yaw": round(quality.yaw, 1),
            "pitch": round(quality.pitch, 1),
        }
    logger.debug("rejected", record="rejection", camera=camera, track=track, reason=reason, **measured)


def withhold(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out names, secrets, pictures and embeddings; the last processor before a record is written."""
    return {key: WITHHELD if key in NEVER_LOGGED else _plain(value) for key, value in event.items()}


def _plain(value: Any) -> Any:
    """Return `value` as a JSON value that gives nothing away."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        value = value.item() if value.shape == () else f"<array {tuple(value.shape)} {value.dtype}>"
    if isinstance(value, dict):
        return {str(key): WITHHELD if key in NEVER_LOGGED else _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, (str, os.PathLike)):
        return _CREDENTIALS_IN_URL.sub("***@", str(value.value if isinstance(value, Enum) else value))
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class _Stamp:
    """Adds the wall time with its quality, and the monotonic time in milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        wall = self._clock.wall()
        event["mono_ms"] = self._clock.mono_ns() // 1_000_000
        event["time_quality"] = wall.quality.value
        event["time"] = None
        if wall.ms is not None:
            stamp = datetime.fromtimestamp(wall.ms / 1000, tz=timezone.utc)
            event["time"] = stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event


class _Handler(StreamHandler):
    """The one handler of this module, so that `configure` finds its own again."""


def _name_record_kind(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.setdefault("record", "log")
    return event


def _note_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say which library a record of the standard logging module comes from."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name
    return event


def _keep(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return event


def _json_line(*, journal: bool) -> Processor:
    """Return the renderer of one JSON object a line, with journald's priority in front under systemd."""
    first = ("time", "level", "record", "event")

    def render(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> str:
        ordered = {key: event[key] for key in first if key in event}
        ordered.update((key, value) for key, value in event.items() if key not in ordered)
        line = jsonlib.dumps(ordered, ensure_ascii=False, default=repr)
        return f"<{_PRIORITY.get(str(event.get('level')), 6)}>{line}" if journal else line

    return render


def _pretty(stream: TextIO) -> Processor:
    """Return the renderer for a terminal: time of day, level, what, then the fields in their order."""
    colours = stream.isatty() and not os.environ.get("NO_COLOR")
    console = structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False, pad_event_to=18)

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        stamp = event.pop("time", None)
        mono = event.pop("mono_ms", 0)
        event.pop("time_quality", None)
        event["timestamp"] = stamp[11:23] if stamp else f"+{mono / 1000:.3f}"
        event.pop("record", None)  # for machines; a person reads `decided` and `rejected`
        said = {key: value for key, value in event.items() if value is not None}
        return str(console(logger, method, said))

    return render


def _is_journal(stream: TextIO) -> bool:
    """Return whether `stream` is connected to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def _log_thread_death(args: threading.ExceptHookArgs) -> None:
    """Log an exception that ends a thread, with the thread's name."""
    thread = "?" if args.thread is None else args.thread.name
    info = (args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    structlog.get_logger(__name__).error("thread died", thread=thread, exc_info=info)
