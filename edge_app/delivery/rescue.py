"""What is taken over from a damaged outbox into a new one: rows, alarms, notes, losses still to be told."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from edge_app.delivery.database import transaction, translated
from edge_app.delivery.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_app.delivery.salvage import SavedRow, Wreck

_ROWS: Final = 512


class Rescue(Tables):
    """The tables of a new outbox, and how a damaged one's get into them."""

    def _take_over(self, wreck: Wreck, *, ceiling: int, alive: Callable[[], None]) -> int:
        """Take over what a damaged outbox still says; numbers up to `ceiling` were given; return the rows."""
        kept = 0
        batch: list[SavedRow] = []
        for row in wreck.rows(ceiling=ceiling):
            batch.append(row)
            if len(batch) >= _ROWS:
                alive()
                kept += self._adopt(batch)
                batch = []
        kept += self._adopt(batch)
        with translated(self.path), transaction(self._db):
            for table, columns in (("alarm", 3), ("meta", 2), ("boot", 3)):
                marks = ",".join("?" * columns)
                self._adopt_notes(table, marks, wreck.ask(f"SELECT * FROM {table}"))  # noqa: S608 - constant
            self._adopt_losses(wreck)
        return kept

    def _adopt_losses(self, wreck: Wreck) -> None:
        """Take over the losses that are still to be told: those whose report may be lost as well."""
        lowest = wreck.ask("SELECT seq FROM outbox ORDER BY seq LIMIT 1")
        for first, last, n, reason, kinds, gap in wreck.ask(
            "SELECT from_seq, to_seq, n, reason, kinds, gap_seq FROM loss"
        ):
            told = gap is not None and lowest and gap < lowest[0][0]
            if told or self._db.execute("SELECT 1 FROM outbox WHERE seq = ?", (gap,)).fetchone():
                continue
            with suppress(ValueError, TypeError, sqlite3.Error):
                self._ledger(first, last, n, reason, json.loads(kinds))

    def _adopt(self, rows: Sequence[SavedRow]) -> int:
        with translated(self.path), transaction(self._db):
            self._insert(rows)
        return len(rows)

    def _adopt_notes(self, table: str, marks: str, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in rows:
            with suppress(sqlite3.IntegrityError, sqlite3.ProgrammingError):
                self._db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 - constant

    @staticmethod
    def _salvaged_span(wreck: Wreck, *, ceiling: int) -> tuple[int, int]:
        """Return the lowest number that is left, and the highest that was ever given."""
        low = wreck.ask("SELECT seq FROM outbox ORDER BY seq LIMIT 1")
        high = wreck.ask("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        return (low[0][0] if low else 1), (high[0][0] if high else max(1, ceiling))
