"""The acceptance gate: how much an engine may lose against FP32, on people that nothing was tuned to.

Rank-1 moves long after cosine does, and cosine says nothing about who is let in; so the gate asks for
both: how near the embeddings are, and what verification and identification lose. One miss is enough.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

MEAN_COSINE: Final = 0.998
LEAST_COSINE: Final = 0.99
#: In percentage points.
LFW_LOSS: Final = 0.2
TAR_LOSS: Final = 0.5
RANK1_LOSS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the gate: `value` may not be below `limit` (cosines) or not above it (losses)."""

    name: str
    value: float
    limit: float
    floor: bool
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the engine may run as far as this line goes; a figure that is not a number fails."""
        return bool(self.value >= self.limit) if self.floor else bool(self.value <= self.limit)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "passed": self.passed}


def cosines(reference: Vectors, candidate: Vectors) -> npt.NDArray[np.float64]:
    """Return the cosine of each row of two (N, D) arrays, whatever their lengths; 0 for a zero vector.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    if reference.shape != candidate.shape or reference.ndim != 2 or not len(reference):  # noqa: PLR2004 -- (N, D)
        msg = f"need two equal (N, D) arrays; received {reference.shape} and {candidate.shape}"
        raise ValueError(msg)
    a, b = reference.astype(np.float64), candidate.astype(np.float64)
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(length, 1e-12))


def spread(reference: Vectors, candidate: Vectors) -> dict[str, float]:
    """Return mean, hundredth part and least of the cosines of two (N, D) arrays."""
    found = cosines(reference, candidate)
    values = {"mean": found.mean(), "hundredth": np.quantile(found, 0.01), "least": found.min()}
    return {name: round(float(value), 5) for name, value in values.items()}


def cosine_lines(reference: Vectors, candidate: Vectors, *, of: str) -> list[Line]:
    """Return the two lines about cosine for the pictures `of`."""
    found = cosines(reference, candidate)
    detail = f"{len(found)} pictures of {of}, one in a hundred below {np.quantile(found, 0.01):.4f}"
    return [
        Line(f"mean cosine, {of}", float(found.mean()), MEAN_COSINE, floor=True, detail=detail),
        Line(f"least cosine, {of}", float(found.min()), LEAST_COSINE, floor=True, detail=detail),
    ]


def loss_line(name: str, before: float, after: float, limit: float) -> Line:
    """Return the line about a share that went from `before` to `after` (0..1), in percentage points."""
    detail = f"{100 * before:.2f} % -> {100 * after:.2f} %"
    return Line(f"{name}, loss in points", 100 * (before - after), limit, floor=False, detail=detail)


def table(lines: Sequence[Line]) -> str:
    """Return the gate as a Markdown table."""
    rows = [
        f"| {line.name} | {line.value:.4f} | {'>=' if line.floor else '<='} {line.limit:g} "
        f"| {'pass' if line.passed else 'FAIL'} | {line.detail} |"
        for line in lines
    ]
    return "\n".join(["| gate | value | limit | | |", "|---|---|---|---|---|", *rows])
