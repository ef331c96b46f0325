"""Rectangles in bulk: which input size fits a picture, and non-maximum suppression.

A detector's network takes sides that are multiples of 32. A picture is scaled so that its long
side is the configured one (never enlarged more than `MAX_ENLARGEMENT`: a dot has no face in it),
and each side goes to the nearest multiple where that distorts it by at most 5 %; where it does not,
the picture keeps its shape and is padded with black on the right and below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

STRIDE: Final = 32
MAX_ENLARGEMENT: Final = 2.0
MAX_DISTORTION: Final = 0.05


@dataclass(frozen=True, slots=True)
class Fit:
    """How a picture goes into the network: resized to `scaled`, inside a net input of `net`; (w, h) both."""

    scaled: tuple[int, int]
    net: tuple[int, int]
    factor: tuple[float, float]


def fit_picture(width: int, height: int, *, long_side: int) -> Fit:
    """Return how a `width` x `height` picture is brought to a long side of about `long_side` pixels."""
    scale = min(long_side / max(width, height), MAX_ENLARGEMENT)
    scaled_w, net_w = _fit_side(width * scale)
    scaled_h, net_h = _fit_side(height * scale)
    return Fit(scaled=(scaled_w, scaled_h), net=(net_w, net_h), factor=(scaled_w / width, scaled_h / height))


def _fit_side(side: float) -> tuple[int, int]:
    nearest = max(round(side / STRIDE), 1) * STRIDE
    if abs(nearest - side) <= MAX_DISTORTION * side:
        return nearest, nearest
    kept = max(round(side), 1)
    return kept, -(-kept // STRIDE) * STRIDE


def suppress(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], *, iou: float, limit: int = 256
) -> npt.NDArray[np.intp]:
    """Return the indices of the boxes that stay after non-maximum suppression, best first.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,).
        iou: a box goes when a better one overlaps it by this much or more.
        limit: only so many of the best boxes are looked at.
    """
    order = np.argsort(-scores, kind="stable")[:limit]
    overlap = pairwise_iou(boxes[order], boxes[order]) >= iou
    alive = np.ones(len(order), dtype=bool)
    for position in range(len(order)):
        if alive[position]:
            alive[position + 1 :] &= ~overlap[position, position + 1 :]
    return order[alive]


def pairwise_iou(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the (N, M) intersection over union of (N, 4) and (M, 4) boxes: left, top, right, bottom."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0.0, None), axis=2)
    area_a = np.prod(a[:, 2:] - a[:, :2], axis=1)
    area_b = np.prod(b[:, 2:] - b[:, :2], axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    shares: npt.NDArray[np.float32] = np.zeros(inter.shape, dtype=np.float32)
    np.divide(inter, union, out=shares, where=union > 0, casting="same_kind")
    return shares
