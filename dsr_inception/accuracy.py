"""The tables of ``docs/accuracy.md``, from ``evaluation.json`` and the paper's own figures.

Between ``<!-- table: NAME -->`` and ``<!-- /table -->`` stands what `table_of` makes of NAME; everything else
on the page is written by hand and stays. A test holds the page to the file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dsr_inception.closed import HELD, MICRO
from dsr_inception.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from dsr_inception.report import Report

MARKED: Final = re.compile(r"(<!-- table: ([^>]+?) -->\n).*?(<!-- /table -->)", re.DOTALL)

#: Table 4 of the paper: precision, recall, F1 in percent, size in M, ms a picture (i9-10980XE, RTX A4000).
PAPER_TABLE_4: Final = {
    "inception_v1": (95.34, 90.86, 93.05, 189.0, 547),
    "vgg_16": (91.53, 88.39, 89.93, 526.0, 625),
    "resnet_18": (94.82, 89.73, 92.21, 246.0, 443),
    "dsr_inception": (97.26, 94.17, 95.42, 46.56, 258),
}
#: Table 5 of the paper: accuracy on CelebA, percent, as published by each.
PAPER_TABLE_5: Final = {
    "SNNBFR": 93.54,
    "OPFaceNet": 96.83,
    "IFDM": 95.64,
    "LSCSR": 96.50,
    "MFR": 96.78,
    "MMPCANet": 97.18,
    "DSR-Inception, the paper": 97.26,
}


def write_tables(report: Report, page: Path) -> None:
    """Put every table of the page between its marks.

    Raises:
        DataError: the page is missing, or names a table that the report has no figures for.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{page} cannot be read: {error.strerror or error}") from error
    page.write_text(with_tables(report, text), encoding="utf-8")


def with_tables(report: Report, text: str) -> str:
    """Return `text` with every marked table made anew."""
    return MARKED.sub(lambda match: f"{match[1]}{table_of(report, match[2])}\n{match[3]}", text)


def table_of(report: Report, name: str) -> str:
    """Return one table: ``table 4``, ``table 5``, or a section, ``SECTION: WORD, WORD`` for some of its rows.

    Rows are kept whose name holds one of the words.

    Raises:
        DataError: there are no such figures.
    """
    if name == "table 5":
        return _table_5(report)
    section, _, words = name.partition(": ")
    if section not in report.figures:
        raise DataError(f"no figures for {section!r}; there are {', '.join(report.figures)}")
    if section == "table 4":
        return f"{_table_4(report)}\n\n{_about(report, section)}"
    lines = report.section_table(section).split("\n")
    if words:
        wanted = words.split(" | ")
        lines = lines[:2] + [line for line in lines[2:] if any(w in line.split(" | ")[0] for w in wanted)]
    return "\n".join([*lines, "", _about(report, section)])


def _about(report: Report, section: str) -> str:
    """Return when, on what machine and of which weights a section is."""
    notes = report.notes.get(section, {})
    words = [str(notes[key]) for key in ("date", "machine") if key in notes]
    if notes.get("model"):
        words.append(f"model sha256 {notes['model']}")
    return f"*{'; '.join(words)}.*" if words else ""


def _table_4(report: Report) -> str:
    by = report.figures["table 4"]
    lines = [
        "| | parameters, M | MiB | GMAC | CPU ms, here | the paper: M | ms | precision / recall / F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for network, (precision, recall, f1, size, ms) in PAPER_TABLE_4.items():
        own = by.get(network, {})
        cells = [f"{own[row].value:.1f}" if row in own else "-" for row in ("parameters", "size")]
        cells += [f"{own['GMAC'].value:.2f}" if own else "-"]
        cells += [f"{own['ms'].value:.0f} [{own['ms'].low:.0f}, {own['ms'].high:.0f}]" if own else "-"]
        lines.append(f"| {network} | {' | '.join(cells)} | {size:g} | {ms} | {precision} / {recall} / {f1} |")
    return "\n".join(lines)


def _table_5(report: Report) -> str:
    """Return the published figures, and ours where the closed sets were measured."""
    lines = ["| | accuracy, % | on |", "|---|---|---|"]
    lines += [f"| {name} | {value:.2f} | CelebA, as published |" for name, value in PAPER_TABLE_5.items()]
    for section, row, about in (
        ("deep", MICRO, "123 people, five test photos each, in no training set"),
        ("paper size", f"accuracy, {HELD}", "among 3,208 people, test photos in no training set"),
        ("paper size", MICRO, "4,000 test photos, most of them seen in pre-training"),
    ):
        columns = report.figures.get(section, {})
        best = max(columns, key=lambda c: columns[c][row].value if "scheme" in c else -1.0, default=None)
        if best is not None:
            share = columns[best][row]
            shown = f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
            lines.append(f"| ours, {best} | {shown} | {about} |")
    return "\n".join(lines)
