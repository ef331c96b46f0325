"""Plots of a scored run, where matplotlib is installed (the ``train`` extra): the tables at a glance."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Rows = Mapping[str, Mapping[str, Any]]

_COLOURS: Final = {
    "right": "#3b9a5b", "unknown": "#d9a441", "undecided": "#a7a7a7", "missed": "#5d6d85", "wrong": "#c8453b",
}  # fmt: skip


def plot(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the plots into `folder` and return their paths; none without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    return [
        _answers(figures["passages_by_ash"], folder / "passages-by-ash.png", "Passages of registered people"),
        _answers(
            figures["passages_by_light"], folder / "passages-by-light.png", "Passages of registered people"
        ),
        _bars(figures["registered_faces_by_ash"], folder / "faces-by-ash.png", "Faces of registered people"),
        _bars(
            figures["registered_faces_by_pose"], folder / "faces-by-pose.png", "Faces of registered people"
        ),
        _bars(
            figures["registered_faces_by_size"], folder / "faces-by-size.png", "Faces of registered people"
        ),
    ]


def _axes(title: str) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axes.set_title(title)
    axes.set_ylabel("%")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _answers(rows: Rows, path: Path, title: str) -> Path:
    """Stack how passages ended, one bar a condition."""
    figure, axes = _axes(title)
    below = [0.0] * len(rows)
    for answer, colour in _COLOURS.items():
        heights = [100 * (row[answer]["share"] or 0.0) for row in rows.values()]
        axes.bar(list(rows), heights, bottom=below, color=colour, label=answer, width=0.6)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    return _saved(figure, path)


def _bars(rows: Rows, path: Path, title: str) -> Path:
    """Put precision, misses and right names side by side, with their intervals."""
    figure, axes = _axes(title)
    kinds = {"precision": _COLOURS["right"], "right": _COLOURS["undecided"], "miss": _COLOURS["missed"]}
    for number, (kind, colour) in enumerate(kinds.items()):
        known = [(at, row[kind]) for at, row in enumerate(rows.values()) if row[kind]["share"] is not None]
        heights = [100 * one["share"] for _, one in known]
        reach = [
            [100 * max(0.0, one["share"] - one["low"]) for _, one in known],
            [100 * max(0.0, one["high"] - one["share"]) for _, one in known],
        ]
        places = [at + (number - 1) * 0.25 for at, _ in known]
        axes.bar(places, heights, width=0.23, color=colour, label=kind, yerr=reach, capsize=2)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    return _saved(figure, path)


def _saved(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
