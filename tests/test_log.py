"""What reaches a log, in which form, and what never does."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from edge_app import log
from edge_app.clock import WallQuality, WallTime
from edge_app.records import Decision, Identity, Quality, Rejection


class FixedClock:
    """A clock that stands still."""

    def __init__(self, wall: WallTime) -> None:
        self._wall = wall

    def mono_ns(self) -> int:
        """Return 12.345 s after boot."""
        return 12_345_000_000

    def wall(self) -> WallTime:
        """Return the given time."""
        return self._wall

    def sleep(self, seconds: float) -> None:
        """Do not wait."""


SYNCED = FixedClock(WallTime(ms=1_790_000_000_250, quality=WallQuality.SYNC))
LOST = FixedClock(WallTime(ms=None, quality=WallQuality.NONE))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def configured(clock: FixedClock = SYNCED, level: str = "debug") -> io.StringIO:
    """Return a stream that receives JSON lines."""
    stream = io.StringIO()
    log.configure(level=level, stream=stream, json=True, clock=clock)
    return stream


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the JSON records written so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def an_identity(**changes: Any) -> Identity:
    """Return a decision about somebody."""
    fields: dict[str, Any] = {
        "camera": "c1",
        "track": "t7",
        "decision": Decision.NAMED,
        "person_ref": "CARD-1",
        "reason": None,
        "score": 0.61234,
        "threshold": 0.4,
        "margin": 0.2,
        "quality": 0.8,
        "votes": 5,
        "face_px": 80.0,
        "frame_index": 3,
        "first_seen_ns": 1,
        "mono_ns": 2,
        "gallery_version": 1,
    }
    return Identity(**{**fields, **changes})


def test_a_record_is_one_json_object_with_time_level_and_fields() -> None:
    """Everything a collector needs is in the one line."""
    stream = configured()
    structlog.get_logger().warning("source lost", camera="c1", attempt=2)
    assert [
        {
            "time": "2026-09-21T14:13:20.250Z",
            "level": "warning",
            "record": "log",
            "event": "source lost",
            "camera": "c1",
            "attempt": 2,
            "mono_ms": 12_345,
            "time_quality": "sync",
        }
    ] == records(stream)


def test_without_wall_time_the_record_says_so_and_keeps_the_monotonic_time() -> None:
    """A tunnel box without a clock does not invent a date."""
    stream = configured(LOST)
    structlog.get_logger().info("up")
    (record,) = records(stream)
    assert (None, "none", 12_345) == (record["time"], record["time_quality"], record["mono_ms"])


def test_a_decision_and_a_rejection_are_told_apart() -> None:
    """The field `record` is what a reader filters on."""
    stream = configured()
    logger = structlog.get_logger()
    log.decision(logger, an_identity())
    log.rejection(logger, camera="c1", track="t8", reason="blurred", quality=None)
    logger.info("something else")
    assert ["decision", "rejection", "log"] == [record["record"] for record in records(stream)]


def test_a_decision_carries_who_how_sure_and_on_how_much() -> None:
    """Enough to argue with it later."""
    stream = configured()
    log.decision(structlog.get_logger(), an_identity())
    (record,) = records(stream)
    wanted = ("decision", "person_ref", "score", "threshold", "votes", "reason")
    assert ("named", "CARD-1", 0.612, 0.4, 5, None) == tuple(record[key] for key in wanted)


def test_an_unknown_is_a_decision_with_its_reason() -> None:
    """Nobody named is an answer, not a rejection."""
    stream = configured()
    unknown = an_identity(
        decision=Decision.UNKNOWN, person_ref=None, reason=Rejection.BELOW_THRESHOLD, score=None
    )
    log.decision(structlog.get_logger(), unknown)
    (record,) = records(stream)
    assert ("decision", "unknown", "below_threshold", None) == (
        record["record"],
        record["decision"],
        record["reason"],
        record["score"],
    )


def test_a_rejection_carries_what_was_measured() -> None:
    """A reason without its numbers cannot be acted on."""
    stream = configured()
    quality = Quality(
        face_px=31.26, sharpness=4.0, brightness=18.0, contrast=6.0, yaw=1.0, pitch=2.0, roll=3.0, score=0.0
    )
    log.rejection(structlog.get_logger(), camera="c1", track=None, reason="too_small", quality=quality)
    (record,) = records(stream)
    assert ("too_small", 31.3, 18.0) == (record["reason"], record["face_px"], record["brightness"])


def test_rejections_are_silent_at_info() -> None:
    """There is one a frame, so they are asked for."""
    stream = configured(level="info")
    log.rejection(structlog.get_logger(), camera="c1", track=None, reason="blurred", quality=None)
    log.decision(structlog.get_logger(), an_identity())
    assert ["decision"] == [record["record"] for record in records(stream)]


@pytest.mark.parametrize("key", sorted(log.NEVER_LOGGED))
def test_names_and_secrets_are_withheld_at_any_depth(key: str) -> None:
    """Whatever the caller passed, it is not written."""
    stream = configured()
    structlog.get_logger().info("enrolled", person={key: "Zhang Wei"}, **{key: "Zhang Wei"})
    assert "Zhang" not in stream.getvalue()
    assert log.WITHHELD == records(stream)[0][key]
    assert {key: log.WITHHELD} == records(stream)[0]["person"]


def test_pictures_and_embeddings_become_their_shape() -> None:
    """No image and no embedding leaves the box, not by its log either."""
    stream = configured()
    structlog.get_logger().info("x", crop=np.zeros((2, 3, 3), np.uint8), vector=[np.ones(4)], blob=b"abc")
    (record,) = records(stream)
    assert ("<array (2, 3, 3) uint8>", ["<array (4,) float64>"], "<3 bytes>") == (
        record["crop"],
        record["vector"],
        record["blob"],
    )


def test_passwords_in_addresses_are_taken_out() -> None:
    """Camera addresses carry credentials."""
    stream = configured()
    structlog.get_logger().info("open rtsp://admin:h%40nter2@10.0.0.4/h264", source="rtsp://u:pw@cam/1")
    (record,) = records(stream)
    assert ("open rtsp://***@10.0.0.4/h264", "rtsp://***@cam/1") == (record["event"], record["source"])


def test_numbers_that_json_lacks_do_not_break_the_line() -> None:
    """NaN is written as text, numpy scalars as numbers."""
    stream = configured()
    structlog.get_logger().info("x", a=float("nan"), b=np.float32(0.5), c=np.int64(3), d=Path("/a/b"))
    (record,) = records(stream)
    assert ("nan", 0.5, 3, "/a/b") == (record["a"], record["b"], record["c"], record["d"])


def test_the_standard_library_and_warnings_take_the_same_way() -> None:
    """Paho logs through logging, numpy through warnings; both must be one JSON object a line."""
    stream = configured()
    logging.getLogger("paho.mqtt").warning("lost %s", "mqtt://u:pw@broker")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old camera", UserWarning, stacklevel=1)
    first, second = records(stream)
    assert ("paho.mqtt", "lost mqtt://***@broker", "warning") == (
        first["logger"],
        first["event"],
        first["level"],
    )
    assert "py.warnings" == second["logger"]
    assert "old camera" in second["event"]


def test_an_exception_stays_on_its_line() -> None:
    """A traceback is a field, so that a collector does not tear it apart."""
    stream = configured()
    try:
        msg = "no picture from rtsp://u:pw@cam/1"
        raise OSError(msg)  # noqa: TRY301
    except OSError:
        structlog.get_logger().exception("capture failed")
    (record,) = records(stream)
    assert "OSError: no picture from rtsp://***@cam/1" in record["exception"]


def test_a_thread_that_dies_is_logged_with_its_name() -> None:
    """An exception that nobody caught must not vanish."""
    stream = configured()

    def fail() -> None:
        msg = "boom"
        raise RuntimeError(msg)

    thread = threading.Thread(target=fail, name="recognise")
    thread.start()
    thread.join()
    (record,) = records(stream)
    assert ("thread died", "recognise", "error") == (record["event"], record["thread"], record["level"])
    assert "RuntimeError: boom" in record["exception"]


def test_a_terminal_gets_a_readable_line_and_a_file_gets_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form follows the stream unless it is asked for."""
    monkeypatch.setenv("NO_COLOR", "1")
    terminal, file = Terminal(), io.StringIO()
    log.configure(stream=terminal, clock=SYNCED)
    structlog.get_logger().info("ready", stages=3)
    log.configure(stream=file, clock=SYNCED)
    structlog.get_logger().info("ready", stages=3)
    assert terminal.getvalue().startswith("14:13:20.250")
    assert "ready" in terminal.getvalue()
    assert "{" not in terminal.getvalue()
    assert 3 == json.loads(file.getvalue())["stages"]


def test_a_person_reads_no_empty_fields_and_tells_decisions_from_rejections() -> None:
    """On a terminal the first word says which it is, and what is not there is not written."""
    terminal = Terminal()
    log.configure(stream=terminal, clock=SYNCED, level="debug")
    logger = structlog.get_logger()
    logger.info("decided", record="decision", decision="named", reason=None)
    logger.debug("rejected", record="rejection", reason="blurred")
    decided, rejected = terminal.getvalue().splitlines()
    assert "decided" in decided
    assert "rejected" in rejected
    assert "None" not in decided
    assert "record" not in decided + rejected


def test_configuring_twice_writes_once() -> None:
    """The last call wins and no record is doubled."""
    configured()
    stream = configured()
    structlog.get_logger().info("once")
    assert 1 == len(records(stream))


def test_an_unknown_level_is_refused_with_the_ones_there_are() -> None:
    """A typing error in the configuration must not silence the log."""
    with pytest.raises(ValueError, match=r"debug, info, warning, error; received 'loud'"):
        log.configure(level="loud", stream=io.StringIO())


def test_under_the_journal_a_line_starts_with_its_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`journalctl -p warning` works because journald reads the prefix."""
    with (tmp_path / "journal").open("w", encoding="utf-8") as stream:
        stat = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
        log.configure(stream=stream, clock=SYNCED)
        structlog.get_logger().error("broken")
        structlog.get_logger().info("fine")
    first, second = (tmp_path / "journal").read_text(encoding="utf-8").splitlines()
    assert ("<3>{", "<6>{") == (first[:4], second[:4])
