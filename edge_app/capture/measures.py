"""What is measured in a picture to tell whether the camera sees: light, detail and edges, by blocks.

All on a copy of 320 x 180: fine enough to notice a lens that is out of focus by four pixels of a
1280 x 720 picture, and noise is averaged away by the reduction. A look costs a few milliseconds and
there is one a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Map = npt.NDArray[np.float32]

_SIZE: Final = (320, 180)
_BLOCKS: Final = (16, 9)
_EDGES: Final = (80, 45)
_TILE: Final = (15, 16)
#: Rows and columns of what is measured by place.
SHAPES: Final = {"brightness": (9, 16), "detail": (9, 16), "edges": (45, 80)}
#: Video white: cameras of limited range, and those that press highlights together, end well below 255.
_SATURATED: Final = 235
#: A tile whose edges correlate less shows something else, or nothing.
_UNLIKE: Final = 0.2
#: Added to brightness before dividing by it: sensor noise in the dark is no detail.
_FLOOR: Final = 10.0


@dataclass(frozen=True, slots=True)
class Measures:
    """One look.

    Attributes:
        brightness: (9, 16) mean luma of each block, 0..255.
        detail: (9, 16) mean second derivative of each block, over its brightness.
        edges: (45, 80) strength of edges, over the picture's brightness, on a log scale.
        sharpness: strength of the sharpest hundredth of edges, over the contrast.
        mean: of the whole picture.
        white: 99 of 100 pixels are darker than this.
        contrast: luma between the darkest and the brightest twentieth.
        edge: slope of the steepest hundredth, luma a pixel.
        saturated: share of blown-out pixels.
    """

    brightness: Map
    detail: Map
    edges: Map
    sharpness: float
    mean: float
    white: float
    contrast: float
    edge: float
    saturated: float

    @classmethod
    def of(cls, pixels: npt.NDArray[np.uint8]) -> Measures:
        """Measure (H, W, 3) uint8 BGR `pixels`."""
        step = max(1, min(pixels.shape[0] // (2 * _SIZE[1]), pixels.shape[1] // (2 * _SIZE[0])))
        small = cv2.resize(pixels[::step, ::step], _SIZE, interpolation=cv2.INTER_AREA)
        luma: Any = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        smooth = cv2.GaussianBlur(luma, (3, 3), 0).astype(np.float32)
        second = np.abs(cv2.Laplacian(smooth, cv2.CV_32F, ksize=1))
        shares = np.bincount(luma.ravel(), minlength=256).cumsum() / luma.size
        black, bright, white = (float(v) for v in np.searchsorted(shares, (0.05, 0.95, 0.99)))
        brightness = _map(cv2.resize(smooth, _BLOCKS, interpolation=cv2.INTER_AREA))
        coarse = cv2.resize(smooth, _EDGES, interpolation=cv2.INTER_AREA)
        mean = float(brightness.mean())
        return cls(
            brightness=brightness,
            detail=_map(cv2.resize(second, _BLOCKS, interpolation=cv2.INTER_AREA) / (brightness + _FLOOR)),
            edges=_map(np.log1p(20.0 * _slope(coarse) / (mean + _FLOOR))),
            sharpness=_top_hundredth(second) / max(bright - black, 1.0),
            mean=mean,
            white=white,
            contrast=bright - black,
            edge=_top_hundredth(_slope(smooth)) / 4.0,
            saturated=float(1.0 - shares[_SATURATED - 1]),
        )


def mean_of(looks: Sequence[Measures]) -> Measures:
    """Return the mean of several looks."""
    return Measures(
        brightness=_map(np.mean([look.brightness for look in looks], axis=0)),
        detail=_map(np.mean([look.detail for look in looks], axis=0)),
        edges=_map(np.mean([look.edges for look in looks], axis=0)),
        sharpness=float(np.mean([look.sharpness for look in looks])),
        mean=float(np.mean([look.mean for look in looks])),
        white=float(np.mean([look.white for look in looks])),
        contrast=float(np.mean([look.contrast for look in looks])),
        edge=float(np.mean([look.edge for look in looks])),
        saturated=float(np.mean([look.saturated for look in looks])),
    )


def likeness(edges: Map, reference: Map) -> float:
    """Return how far the edges are where those of `reference` are: median correlation of its tiles, -1..1.

    Tiles without edges in the reference say nothing; 1 if there are none. Somebody who stands in the
    picture changes some tiles, and not the median.
    """
    found = _tiles(edges, reference)
    return float(np.median(found)) if found else 1.0


def elsewhere(edges: Map, reference: Map) -> float:
    """Return the share of tiles, 0..1, in which the edges of `reference` are nowhere to be seen."""
    found = _tiles(edges, reference)
    return sum(one < _UNLIKE for one in found) / len(found) if found else 0.0


def gained(edges: Map, reference: Map) -> float:
    """Return how much edge there is where there was none, over how much is gone; 1 for a view that moved.

    Dirt hides edges and makes few; another view has as many as the one before, elsewhere.
    """
    change = edges - reference
    lost = float(np.maximum(-change, 0.0).sum())
    return float(np.maximum(change, 0.0).sum()) / max(lost, 1e-6)


def _tiles(edges: Map, reference: Map) -> list[float]:
    """Return the correlation of every tile that has edges in `reference`."""
    height, width = _TILE
    bar = 0.15 * float(reference.std())
    return [
        _correlation(edges[y : y + height, x : x + width], tile)
        for y in range(0, reference.shape[0], height)
        for x in range(0, reference.shape[1], width)
        if (tile := reference[y : y + height, x : x + width]).std() > bar
    ]


def _slope(luma: Any) -> Any:
    return np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))


def _top_hundredth(values: Any) -> float:
    rank = values.size - values.size // 100
    return float(np.partition(values.ravel(), rank)[rank])


def _correlation(one: Map, other: Map) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))


def _map(values: Any) -> Map:
    return np.asarray(values, dtype=np.float32)
