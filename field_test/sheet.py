"""The contact sheet: a run at one glance, frames with boxes, names and scores, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_app.annotate import put_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from field_test.tunnel import Truth
    from field_test.verdict import Check

    Image = npt.NDArray[np.uint8]

_COLUMNS: Final = 4
_TILE: Final = (480, 270)
_LINE: Final = 24
_GREEN, _RED, _WHITE = (80, 200, 60), (60, 60, 230), (230, 230, 230)
#: How far into a passage its pictures are taken.
_SHARES: Final = (0.4, 0.6, 0.8)


def moments(truth: Truth) -> list[tuple[float, str]]:
    """Return the seconds to show, in order, each with what is true then."""
    chosen = [
        ((one.first + share * (one.last - one.first)) / truth.fps, f"truth: {one.who}")
        for one in truth.passages
        for share in _SHARES
    ]
    longest = sorted(truth.empty, key=lambda gap: gap[0] - gap[1])[: _COLUMNS * 2 - len(chosen)]
    chosen += [((first + last) / 2 / truth.fps, "truth: nobody") for first, last in longest]
    return sorted(chosen)


def frames_at(video: Path, seconds: Sequence[float]) -> list[Image]:
    """Return the video's frames at these times, the last frame for times after its end.

    Raises:
        ValueError: the video has no picture.
    """
    capture = cv2.VideoCapture(str(video))
    fps = capture.get(cv2.CAP_PROP_FPS) or 1.0
    wanted = {round(at * fps) for at in seconds}
    kept: dict[int, Image] = {}
    index, last = 0, None
    while (read := capture.read())[0]:
        last = np.asarray(read[1], dtype=np.uint8)
        if index in wanted:
            kept[index] = last
        index += 1
    capture.release()
    if last is None:
        msg = f"{video} has no picture"
        raise ValueError(msg)
    return [kept.get(round(at * fps), last) for at in seconds]


def contact_sheet(video: Path, truth: Truth, checks: Sequence[Check], out: Path, *, legend: str) -> Path:
    """Write the sheet of an annotated video of the whole clip to `out` (.png) and return its path.

    Args:
        video: of the daemon's ``--show``.
        truth: of the clip.
        checks: questions and answers, for the head.
        out: the file.
        legend: who the references are.

    Raises:
        ValueError: the video has no picture.
        OSError: `out` cannot be written.
    """
    chosen = moments(truth)
    tiles = []
    for (at, caption), frame in zip(chosen, frames_at(video, [at for at, _ in chosen]), strict=True):
        tile = np.asarray(cv2.resize(frame, _TILE, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        put_text(tile, f"{at:4.1f} s   {caption}", (8, _TILE[1] - 10), _WHITE)
        tiles.append(tile)
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % _COLUMNS)
    rows = [np.hstack(tiles[start : start + _COLUMNS]) for start in range(0, len(tiles), _COLUMNS)]
    head = np.zeros((_LINE * (len(checks) + 1) + 12, rows[0].shape[1], 3), dtype=np.uint8)
    put_text(head, legend, (10, _LINE * (len(checks) + 1)), _WHITE)
    for number, check in enumerate(checks):
        text = f"{'yes' if check.passed else 'NO '}  {check.question}"
        put_text(head, text, (10, _LINE * (number + 1)), _GREEN if check.passed else _RED)
    if not cv2.imwrite(str(out), np.vstack([head, *rows])):
        msg = f"the contact sheet {out} cannot be written; is the disk full, or the folder read-only?"
        raise OSError(msg)
    return out
