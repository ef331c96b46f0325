from __future__ import annotations

import threading
import time

import numpy as np

from edge_app.capture.newest import NewestFrame
from edge_app.records import Frame


def frame(index: int) -> Frame:
    """Return frame number `index`."""
    return Frame(camera="a", index=index, mono_ns=index, pixels=np.zeros((1, 1, 3), np.uint8))


def test_newest_frame_wins() -> None:
    """What nobody took is replaced, and the next that is taken says how many were lost."""
    slot = NewestFrame()
    for index in range(5):
        assert slot.put(frame(index))
    got = slot.get(timeout=0)
    assert got is not None
    assert (4, 4) == (got.index, got.dropped)
    assert 4 == slot.dropped
    assert slot.get(timeout=0) is None


def test_taken_frames_drop_nothing() -> None:
    """Frame by frame there is nothing to count."""
    slot = NewestFrame()
    for index in range(3):
        slot.put(frame(index))
        got = slot.get(timeout=0)
        assert got is not None
        assert (index, 0) == (got.index, got.dropped)
    assert 0 == slot.dropped


def test_frames_that_the_source_passed_over_count() -> None:
    """A gap in the indices counts, wherever the frames were lost."""
    slot = NewestFrame()
    slot.put(frame(0))
    slot.get(timeout=0)
    slot.put(frame(7))
    got = slot.get(timeout=0)
    assert got is not None
    assert 6 == got.dropped


def test_keep_all_waits_for_its_turn() -> None:
    """Nothing is replaced: a second frame is refused until the first was taken."""
    slot = NewestFrame(keep_all=True)
    assert slot.put(frame(0))
    assert not slot.put(frame(1), timeout=0.01)
    threading.Timer(0.05, slot.get, kwargs={"timeout": 0}).start()
    began = time.monotonic()
    assert slot.put(frame(1), timeout=5)
    assert time.monotonic() - began < 2


def test_get_wakes_up_for_a_frame() -> None:
    """A waiting stage is woken, and does not sleep its time out."""
    slot = NewestFrame()
    threading.Timer(0.05, slot.put, args=(frame(0),)).start()
    began = time.monotonic()
    assert slot.get(timeout=5) is not None
    assert time.monotonic() - began < 2


def test_last_frame_is_not_lost_at_the_end() -> None:
    """After the end, the frame that waits can be taken, and only then it has ended."""
    slot = NewestFrame(keep_all=True)
    slot.put(frame(0))
    slot.end()
    assert (False, True) == (slot.ended, slot.closed)
    assert slot.get(timeout=0) is not None
    assert slot.ended
    assert slot.get(timeout=5) is None  # at once
    assert not slot.put(frame(1))


def test_thousand_frames_between_two_threads() -> None:
    """Taken and dropped together are all there were, in order, at full speed."""
    slot = NewestFrame()

    def produce() -> None:
        for index in range(1000):
            slot.put(frame(index))
        slot.end()

    threading.Thread(target=produce).start()
    got = []
    while not slot.ended:
        item = slot.get(timeout=1)
        if item is not None:
            got.append(item)
    indices = [item.index for item in got]
    assert sorted(set(indices)) == indices
    assert (1000, 999) == (len(got) + sum(item.dropped for item in got), indices[-1])
