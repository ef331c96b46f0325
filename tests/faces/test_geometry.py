from __future__ import annotations

import numpy as np
import pytest

from edge_app.faces.geometry import Fit, fit_picture, pairwise_iou, suppress
from edge_app.records import Box


@pytest.mark.parametrize(
    ("size", "long_side", "fit"),
    [
        (
            (640, 360),
            640,
            Fit(scaled=(640, 352), net=(640, 352), factor=(1.0, 352 / 360)),
        ),  # nearest: 2 % off
        ((1920, 1080), 640, Fit(scaled=(640, 352), net=(640, 352), factor=(1 / 3, 352 / 1080))),
        ((300, 400), 640, Fit(scaled=(480, 640), net=(480, 640), factor=(1.6, 1.6))),
        ((640, 110), 640, Fit(scaled=(640, 110), net=(640, 128), factor=(1.0, 1.0))),  # 13 % off: padded
        ((1, 1), 640, Fit(scaled=(2, 2), net=(32, 32), factor=(2.0, 2.0))),  # enlarged twice at most
        ((5000, 1), 640, Fit(scaled=(640, 1), net=(640, 32), factor=(0.128, 1.0))),
        ((7680, 4320), 640, Fit(scaled=(640, 352), net=(640, 352), factor=(1 / 12, 352 / 4320))),
    ],
)
def test_picture_fits_the_network(size: tuple[int, int], long_side: int, fit: Fit) -> None:
    """Sides become multiples of 32, with little distortion or with padding."""
    assert fit == fit_picture(*size, long_side=long_side)


@pytest.mark.parametrize("width", range(1, 2000, 37))
def test_every_size_fits(width: int) -> None:
    """No size leaves the bound by more than one step, is no multiple of 32, or is bent by over 5 %."""
    fit = fit_picture(width, 360, long_side=640)
    assert all(side % 32 == 0 and 32 <= side <= 672 for side in fit.net)
    assert all(scaled <= net for scaled, net in zip(fit.scaled, fit.net, strict=True))
    # rounding to whole pixels bends a strip of a few pixels by more
    assert 0.9 <= fit.factor[0] / fit.factor[1] <= 1.11 or width < 20


def test_iou_agrees_with_the_records() -> None:
    """The bulk computation is the record's own, for random boxes, empty ones included."""
    rng = np.random.default_rng(5)
    corners = rng.uniform(0, 50, (20, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 40, (20, 2))], axis=1)
    records = [Box(x=a, y=b, width=c - a, height=d - b) for a, b, c, d in boxes.tolist()]
    expected = [[one.iou(other) for other in records] for one in records]
    np.testing.assert_allclose(expected, pairwise_iou(boxes, boxes), atol=1e-5)
    empty = np.zeros((1, 4))
    assert 0.0 == pairwise_iou(empty, empty)[0, 0]


def greedy(boxes: list[Box], scores: list[float], iou: float) -> list[int]:
    """Suppress in the plainest way, as the reference."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(boxes[index].iou(boxes[other]) < iou for other in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_the_greedy_one(seed: int) -> None:
    """Vectorised or not, the same boxes stay, best first."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (60, 2))], axis=1).astype(np.float32)
    scores = rng.permutation(60).astype(np.float32) / 60
    records = [Box(x=a, y=b, width=c - a, height=d - b) for a, b, c, d in boxes.tolist()]
    assert greedy(records, scores.tolist(), 0.3) == suppress(boxes, scores, iou=0.3).tolist()


def test_suppression_of_nothing() -> None:
    """No candidates, no boxes."""
    assert [] == suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), iou=0.3).tolist()
