"""Plots of an evaluation and of a training run, drawn from their files: matplotlib, no window.

``roc.png`` (LFW, all cross pairs), ``ash.png`` and ``pose.png`` (miner-face rank-1 by level of simulated ash
and by pose), ``schemes.png`` (Table 3), ``confusion.png`` (its best scheme), and a run's ``log.png``.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Final

from dsr_inception.closed import MICRO
from dsr_inception.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dsr_inception.metrics import Share
    from dsr_inception.report import Report

LEVELS: Final = ("clean", "light", "heavy")
POSES: Final = ("front", "yaw_15", "yaw_45", "up_15", "down_15")
YARDSTICK: Final = "mf test, yardstick ash"
TABLE_3: Final = "table 3, test people"
#: Columns of a training log that are shares, and those that are losses.
SHARES: Final = ("accuracy", "test_accuracy", "cosine")
LOSSES: Final = ("loss", "cross_entropy")


def _figure(width: float = 6.4, height: float = 4.0) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _saved(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    return path


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write every plot that the report has figures for into `folder`; return their paths."""
    found = []
    if "lfw" in report.curves:
        found.append(roc(report.curves["lfw"], folder / "roc.png"))
    if YARDSTICK in report.figures:
        by = report.figures[YARDSTICK]
        rows = {level: f"{level}, leave-pose-out, template" for level in LEVELS}
        found.append(bars(by, rows, "simulated ash, registered on the other poses", folder / "ash.png"))
        rows = {pose: f"clean, pose {pose} (real)" for pose in POSES}
        found.append(bars(by, rows, "clean, by pose", folder / "pose.png"))
    if TABLE_3 in report.figures:
        by = report.figures[TABLE_3]
        rows = {"all": MICRO} | {level: f"accuracy, {level}" for level in LEVELS}
        found.append(bars(by, rows, "Table 3, schemes a to f, test people", folder / "schemes.png"))
    if TABLE_3 in report.curves:
        found.append(confusion(report.curves[TABLE_3]["confusion"], folder / "confusion.png"))
    return found


def roc(curves: Mapping[str, Sequence[Sequence[float]]], path: Path) -> Path:
    """Draw true accepts over false accepts, (FAR, TAR) by recogniser."""
    figure, axes = _figure()
    for name, points in curves.items():
        axes.plot([p[0] for p in points], [p[1] for p in points], label=name)
    axes.set(xscale="log", xlabel="false-accept rate", ylabel="true-accept rate", ylim=(0, 1.02))
    axes.set_title("LFW, all cross pairs")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _saved(figure, path)


def bars(by: Mapping[str, Mapping[str, Share]], rows: Mapping[str, str], title: str, path: Path) -> Path:
    """Draw a group of bars for each of `rows` (label: row), a bar a column, with intervals."""
    figure, axes = _figure()
    width = 0.8 / len(by)
    for place, (name, figures) in enumerate(by.items()):
        shown = [(at, figures[row]) for at, row in enumerate(rows.values()) if row in figures]
        if not shown:
            continue
        heights = [100 * share.value for _, share in shown]
        spread = [
            [max(0.0, 100 * (share.value - share.low)) for _, share in shown],
            [max(0.0, 100 * (share.high - share.value)) for _, share in shown],
        ]
        at = [x + (place - (len(by) - 1) / 2) * width for x, _ in shown]
        axes.bar(at, heights, width, yerr=spread, capsize=2, label=name)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set(ylabel="right, %", ylim=(0, 105), title=title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=7, loc="lower left")
    return _saved(figure, path)


def confusion(counts: Sequence[Sequence[float]], path: Path) -> Path:
    """Draw who (row) was called whom (column); people by number, nobody's name."""
    figure, axes = _figure(5.0, 4.6)
    image = axes.imshow(counts, cmap="Blues")
    axes.set(xlabel="called", ylabel="person", title="Table 3, best scheme, test people")
    figure.colorbar(image, label="pictures")
    return _saved(figure, path)


def training_curves(log: Path, path: Path) -> Path:
    """Draw loss and accuracy of a run from its ``log.csv``.

    Raises:
        DataError: the log is missing or has no row.
    """
    try:
        with log.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{log} cannot be read: {error.strerror or error}; a run writes it") from error
    if not rows:
        raise DataError(f"{log} has no row yet: let the run go on")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    x = next(key for key in ("pictures", "epoch") if key in rows[0])
    for axes, names in zip(figure.subplots(1, 2), (LOSSES, SHARES), strict=True):
        for name in names:
            if name in rows[0]:
                axes.plot([float(r[x]) for r in rows], [float(r[name]) for r in rows], label=name)
        axes.set(xlabel=x)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return _saved(figure, path)
