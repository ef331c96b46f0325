"""Which convolutions stay in float."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from build_engine.placement import Price, choose_float, prices, with_headroom
from build_engine.qdq import insert_qdq, share_in_int8
from calibration.network import quantised_convolutions, quantised_tensors
from tests import small_inception as small


def some(*rows: tuple[float, float]) -> list[Price]:
    """Return prices of convolutions a, b, ..., each with its share and what it costs."""
    return [Price(chr(97 + i), share, mean, 2 * mean) for i, (share, mean) in enumerate(rows)]


def test_costly_and_small_ones_are_spared() -> None:
    """Of .94 in INT8, .04 may go: b and d save most, and a would not fit beside either."""
    found = some((0.5, 9e-4), (0.02, 3e-4), (0.4, 1e-5), (0.02, 2e-4))
    assert ("b", "d") == choose_float(found, least=0.90)
    assert ("b",) == choose_float(found, least=0.915)
    assert () == choose_float(found, least=0.94)
    assert () == choose_float(found, least=0.99)


def test_no_other_choice_saves_more() -> None:
    """Against all subsets of ten, drawn at random."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        found = some(*zip(rng.uniform(0.01, 0.12, 10).round(3), rng.exponential(1e-4, 10), strict=True))
        least = sum(p.mac_share for p in found) - 0.2
        chosen = choose_float(found, least=least)
        by_name = {p.name: p for p in found}
        saved = sum(by_name[name].mean for name in chosen)
        assert sum(by_name[name].mac_share for name in chosen) <= 0.2 + 1e-9
        best = max(
            sum(p.mean for p in group)
            for size in range(11)
            for group in itertools.combinations(found, size)
            if sum(p.mac_share for p in group) <= 0.2 - 1e-9
        )
        assert saved == pytest.approx(best, rel=0.03)


def test_ranges_have_room_for_faces_that_were_not_seen() -> None:
    """Everything learnt gets some, an input in two terms more; the picture is bounded and gets none."""
    model = small.network()
    owners = quantised_tensors(model)
    scales = dict.fromkeys(owners, 0.01) | {"elsewhere": 0.3}
    found = with_headroom(model, scales, two_terms=["f2", "next"])
    assert (0.01, 0.01) == (found["input"], found["f4_pool"])
    assert (0.04, 0.011) == pytest.approx((found["f2_depthwise"], found["down"]), rel=1e-3)
    assert found["down"] == found["side_pool"], "a pool has the scale of what it reads"
    assert 0.3 == found["elsewhere"]
    assert all(
        float(np.float16(scale)) == scale for name, scale in found.items() if name in ("down", "side_pool")
    )


def test_prices_are_of_each_alone() -> None:
    """Every ordinary convolution has one, its share is its own, and a coarser scale costs more."""
    model = small.network()
    scales = dict.fromkeys(quantised_tensors(model).values(), 1.0)
    names = [node.output[0] for node in quantised_convolutions(model)]
    fine = prices(model, scales, small.pictures(2))
    assert [
        (name, small.ORDINARY[name].replace("side_pool", "down").replace("f4_pool", "input"))
        for name in names
    ] == [(price.name, price.source) for price in fine]
    whole = share_in_int8(insert_qdq(model, scales)).mac_share
    assert whole == pytest.approx(sum(price.mac_share for price in fine))
    assert all(0 <= price.mean <= price.most for price in fine)
    kernels = {w.name: int(np.prod(w.dims)) for w in model.graph.initializer if w.name.endswith("/kernel")}
    ordinary = sum(size for name, size in kernels.items() if not name.startswith("f2_depthwise"))
    assert ordinary / sum(kernels.values()) == pytest.approx(sum(price.weight_share for price in fine))
    coarse = prices(model, {name: 4 * scale for name, scale in scales.items()}, small.pictures(2))
    assert sum(p.mean for p in coarse) > 2 * sum(p.mean for p in fine)
