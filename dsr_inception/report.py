"""What an evaluation found: figures with intervals, curves, and what they stand on.

A report has sections (``lfw``, ``mf, yardstick ash``, ``table 3`` ...); in each, figures by column (a
recogniser, a scheme) and row. Sections measured at different times stand in one file,
``evaluation.json``: a new run replaces its own sections and leaves the others. Tables and plots are made
from that file and from nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dsr_inception.errors import DataError
from dsr_inception.metrics import Share

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Report:
    """Figures by section, column and row; curves by section and column; `notes` by section."""

    figures: dict[str, dict[str, dict[str, Share]]] = field(default_factory=dict)
    curves: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, section: str, column: str, row: str, share: Share) -> None:
        """Enter one figure."""
        self.figures.setdefault(section, {}).setdefault(column, {})[row] = share

    def note(self, section: str, **about: Any) -> None:
        """Say what a section's figures stand on."""
        self.notes.setdefault(section, {}).update(about)

    def stamp(self, **about: Any) -> None:
        """Say it of every section that has figures."""
        for section in self.figures:
            self.note(section, **about)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        plain = {
            section: {who: {row: _rounded(share) for row, share in rows.items()} for who, rows in by.items()}
            for section, by in self.figures.items()
        }
        return {"figures": plain, "curves": self.curves, "notes": self.notes}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Report:
        """Return the report that `as_json` made `content` of."""
        figures = {
            section: {who: {row: Share(**share) for row, share in rows.items()} for who, rows in by.items()}
            for section, by in content["figures"].items()
        }
        return cls(figures, content["curves"], content["notes"])

    def save_into(self, path: Path) -> Report:
        """Write the sections into the file `path`, whose other sections stay; return all of them.

        Raises:
            DataError: the file is there and is no report.
        """
        whole = load_report(path) if path.is_file() else Report()
        for section in self.figures:
            whole.figures[section] = self.figures[section]
            for own, theirs in ((self.curves, whole.curves), (self.notes, whole.notes)):
                theirs.pop(section, None)
                if section in own:
                    theirs[section] = own[section]
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(whole.as_json(), indent=1) + "\n", encoding="utf-8")
        aside.replace(path)
        return whole

    def table(self, *sections: str) -> str:
        """Return one Markdown table for each of `sections` (all, without any), columns side by side."""
        return "\n\n".join(
            f"### {section}\n\n{self.section_table(section)}" for section in sections or tuple(self.figures)
        )

    def section_table(self, section: str, columns: list[str] | None = None) -> str:
        """Return one section as a Markdown table, with only `columns` where they are given.

        Figures are shares, printed in per cent, but where the section's notes name `units`.
        """
        by, in_units = self.figures[section], "units" in self.notes.get(section, {})
        who = [column for column in (columns or list(by)) if column in by]
        rows = list(dict.fromkeys(row for column in who for row in by[column]))
        lines = [f"| | {' | '.join(who)} |", "|---" * (len(who) + 1) + "|"]
        for row in rows:
            shares = (by[w].get(row) for w in who)
            cells = (
                "-" if share is None else f"{share.value:.2f}" if in_units else str(share) for share in shares
            )
            lines.append(f"| {row} | {' | '.join(cells)} |")
        return "\n".join(lines)


def _rounded(share: Share) -> dict[str, Any]:
    return {
        key: round(value, 5) if isinstance(value, float) else value for key, value in asdict(share).items()
    }


def load_report(path: Path) -> Report:
    """Return the report in the file `path`.

    Raises:
        DataError: it is missing or no report.
    """
    try:
        return Report.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}; make it with `dsr-train evaluate --out`"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no evaluation: {error!r}; make it again with `dsr-train evaluate`"
        ) from error
