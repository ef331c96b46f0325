"""Nothing is queued between the stages: one item waits, and the cameras drop."""

from __future__ import annotations

import threading

from edge_app.stages import Slot


def test_slot_holds_one_item_and_put_waits_until_it_is_taken() -> None:
    """The second item is not put while the first waits, and is once it was taken."""
    slot: Slot[int] = Slot()
    assert slot.put(1, timeout=0)
    assert not slot.put(2, timeout=0.01)
    taken: list[int | None] = []
    threading.Timer(0.02, lambda: taken.append(slot.take(timeout=1))).start()
    assert slot.put(2, timeout=2)
    assert slot.take(timeout=0) == 2
    assert [1] == taken


def test_take_gives_up_after_its_timeout() -> None:
    """An idle stage comes round to beat."""
    assert Slot[int]().take(timeout=0.01) is None


def test_close_frees_a_waiting_put_and_keeps_the_last_item() -> None:
    """At a stop nobody hangs, and what was handed over is still worked on."""
    slot: Slot[int] = Slot()
    slot.put(1, timeout=0)
    threading.Timer(0.02, slot.close).start()
    assert not slot.put(2, timeout=5)
    assert slot.take(timeout=0) == 1
    assert slot.empty
