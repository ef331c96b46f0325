"""The dust detector: YuNet's network, trained on under simulated ash, dust and darkness, on any engine.

About a fifth of CenterFace's cost. The file is made by ``dsr-engine export --detector dustface.keras``
(`build_engine.dustface`); how it was trained and on whom its manifest says.

For each of the strides 8, 16 and 32 the network gives a map of fifteen values a cell: how sure it is of a
face, the box's middle from the cell's upper left corner and its size as a logarithm, and the five
landmarks from the same corner, all in units of the stride.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.faces.network import LARGEST_LOG_SIZE, Found, NetworkDetector

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

STRIDES: Final = (8, 16, 32)
CHANNELS: Final = 15
#: What a detection must score, unless configured: chosen on development people, see docs/sight.md.
DUSTFACE_SCORE: Final = 0.5
DUSTFACE_FOLLOW: Final = 0.25


class DustFace(NetworkDetector):
    """The dust detector on an `Engine`; see `NetworkDetector`."""

    called = "dust detector"
    made_by = "make it with `dsr-engine export --detector dustface.keras`"
    channels = (CHANNELS,) * len(STRIDES)
    order = (0, 1, 2)
    own_score = DUSTFACE_SCORE

    def _decode(self, outputs: Sequence[npt.NDArray[np.float32]]) -> Found:
        """Return the cells of all strides that are sure enough."""
        found = [self._cells(cells[0], stride) for cells, stride in zip(outputs, STRIDES, strict=True)]
        return Found(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _cells(self, cells: npt.NDArray[np.float32], stride: int) -> Found:
        rows, columns = np.nonzero(cells[0] >= self._threshold)
        values = cells[:, rows, columns].T
        corner = np.stack([columns, rows], axis=1).astype(np.float32)
        middle = (values[:, 1:3] + corner) * np.float32(stride)
        size = np.exp(np.minimum(values[:, 3:5], LARGEST_LOG_SIZE)) * np.float32(stride)
        marks = (values[:, 5:].reshape(-1, 5, 2) + corner[:, None, :]) * np.float32(stride)
        boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
        return Found(values[:, 0], boxes.astype(np.float32), marks.astype(np.float32))
