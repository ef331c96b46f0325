"""UUIDs of version 7."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from edge_app.delivery.uuid7 import Uuid7Maker


def test_version_variant_and_time_stand_where_the_rfc_puts_them() -> None:
    """RFC 9562, section 5.7."""
    made = Uuid7Maker().make(ms=1_750_000_000_123)
    assert (7, "specified in RFC 4122", 1_750_000_000_123) == (made.version, made.variant, made.int >> 80)


def test_ids_ascend_when_the_clock_stands_or_goes_back() -> None:
    """Within one maker the order of making is the order of the ids, whatever the clock does."""
    maker = Uuid7Maker()
    made = [maker.make(ms=ms) for ms in [1000] * 5000 + [0] * 5000 + [2000]]
    assert made == sorted(made)


def test_threads_get_different_ids() -> None:
    """No id twice, also when threads ask at once."""
    maker = Uuid7Maker()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: maker.make(ms=5), range(8000)))
    assert 8000 == len(set(made))
