from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import structlog.testing

from edge_app.errors import GalleryError
from edge_app.identity.gallery import Gallery
from edge_app.identity.live import LiveMatcher
from edge_app.identity.people import NewPhoto
from edge_app.records import Embedding

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "a" * 64
PREPROCESS = "b" * 64

Unit = Callable[..., npt.NDArray[np.float32]]
Maker = Callable[..., NewPhoto]


def _live(gallery: Gallery, clock: Any, *, model: str = MODEL) -> LiveMatcher:
    return LiveMatcher(
        gallery=gallery, model_sha256=model, preprocess_sha256=PREPROCESS, threshold=0.4, clock=clock
    )


def test_person_registered_while_running_is_known_within_the_interval(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker
) -> None:
    """Not looked at before the interval is over, known after it; the same matcher while nothing changes."""
    live = _live(gallery, clock)
    before = live()
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    clock.sleep(0.9)
    assert live() is before
    clock.sleep(0.1)
    assert live().refs == ("A1",)
    after = live()
    clock.sleep(5)
    assert live() is after


def test_changes_within_one_tick_of_the_file_system_are_seen(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker
) -> None:
    """Same size, same time stamp, another content: the version tells."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0), crop=False)])
    live = _live(gallery, clock)
    stat = gallery.path.stat()
    gallery.remove("A1")
    gallery.add(ref="B2", name="Bob", photos=[photo("one", unit(b=1.0), crop=False)])
    os.utime(gallery.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert stat.st_size == gallery.path.stat().st_size
    assert live.reload_if_changed()
    assert live().refs == ("B2",)


def test_register_that_comes_later_is_picked_up(tmp_path: Path, clock: Any, unit: Unit, photo: Maker) -> None:
    """A box without a register starts, knows nobody, and learns."""
    gallery = Gallery(path=tmp_path / "people.db", clock=clock)
    live = _live(gallery, clock)
    assert (live().refs, live().version) == ((), 0)
    assert not live.reload_if_changed()
    assert live.problem is None
    gallery.create()
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    assert live.reload_if_changed()
    assert live().refs == ("A1",)


def test_restored_copy_is_picked_up(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker, tmp_path: Path
) -> None:
    """A file put in place by rename is another file."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    copy = tmp_path / "copy.db"
    shutil.copy2(gallery.path, copy)
    gallery.add(ref="B2", name="Bob", photos=[photo("two", unit(b=1.0))])
    live = _live(gallery, clock)
    assert live().refs == ("A1", "B2")
    copy.replace(gallery.path)
    assert live.reload_if_changed()
    assert live().refs == ("A1",)


def test_broken_register_keeps_everybody_known_and_says_why(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker
) -> None:
    """Damage while running is a problem to report, not a reason to forget; a repair ends it."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    live = _live(gallery, clock)
    good = gallery.path.read_bytes()
    gallery.path.write_bytes(good[:5000])
    assert not live.reload_if_changed()
    assert live().refs == ("A1",)
    assert live.problem is not None
    assert "damaged" in str(live.problem)
    gallery.path.unlink()
    live.reload_if_changed()
    assert "has gone" in str(live.problem)
    gallery.path.write_bytes(good)
    live.reload_if_changed()
    assert live.problem is None


def test_broken_register_is_logged_once_and_so_is_its_repair(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker
) -> None:
    """It is looked at every second; the log says what is new."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    live = _live(gallery, clock)
    good = gallery.path.read_bytes()
    gallery.path.write_bytes(good[:5000])
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            live.reload_if_changed()
        gallery.path.write_bytes(good)
        for _ in range(3):
            live.reload_if_changed()
    assert ["register_cannot_be_read", "register_read_again"] == [entry["event"] for entry in logs]
    assert "damaged" in logs[0]["error"]


def test_register_of_another_model_stops_the_start(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker
) -> None:
    """After a model change the daemon refuses to start blind and says what to run."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    with pytest.raises(GalleryError, match="people reembed"):
        _live(gallery, clock, model="c" * 64)


def test_writer_at_work_delays_nothing_and_loses_nothing(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker
) -> None:
    """While a change is being written, the state before it is read."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    live = _live(gallery, clock)
    with contextlib.closing(sqlite3.connect(gallery.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM person")
        assert not live.reload_if_changed()
        assert live.problem is None
        writer.execute("ROLLBACK")
    assert live().refs == ("A1",)


def test_another_threshold_counts_at_once_and_stays_when_the_register_changes(
    gallery: Gallery, clock: Any, unit: Unit, photo: Maker
) -> None:
    """Every match carries it; nobody is forgotten."""
    gallery.add(ref="A1", name="Ada", photos=[photo("one", unit(a=1.0))])
    live = _live(gallery, clock)
    seen = Embedding(unit(a=1.0), MODEL, PREPROCESS)
    assert 0.4 == live().match(seen).threshold
    live.use_threshold(0.7)
    assert ("A1", 0.7) == (live().match(seen).person_ref, live().match(seen).threshold)
    gallery.add(ref="B2", name="Bo", photos=[photo("two", unit(b=1.0))])
    clock.sleep(2)
    assert (("A1", "B2"), 0.7) == (live().refs, live().match(seen).threshold)
