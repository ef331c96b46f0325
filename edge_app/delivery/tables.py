"""The outbox's tables: rows, receipts, parked rows, standing alarms, notes, and the loss ledger.

Every method is one transaction that is durable when it returns. Used by one thread; `outbox.py` adds
what makes it a store: the lock, the bounds, recovery from damage.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_app.delivery.database import transaction, translated
from edge_app.delivery.salvage import sound_body

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edge_app.delivery.salvage import SavedRow

_INSERT: Final = (
    "INSERT INTO outbox (seq, event_id, priority, kind, mono_ns, wall_ms, body, crc, parked)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A committed event: its number, id (16 bytes), priority, kind, and the bytes to send."""

    seq: int
    event_id: bytes
    priority: int
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Loss:
    """One entry of the loss ledger; `n` is None where nobody can know how many."""

    id: int
    from_seq: int
    to_seq: int
    n: int | None
    reason: str
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class StandingAlarm:
    """An alarm that stands, with its event's body; None when its retained message is to be removed."""

    id: str
    seq: int
    body: bytes | None


class Tables:
    """The tables of the database `_db` at `path`."""

    path: Path
    _db: sqlite3.Connection

    def _insert(self, rows: Sequence[SavedRow]) -> None:
        self._db.executemany(_INSERT, rows)
        self._count((row[2], 1, len(row[6])) for row in rows)

    def _count(self, changes: Iterable[tuple[int, int, int]]) -> None:
        sums: dict[int, list[int]] = {}
        for priority, n, size in changes:
            total = sums.setdefault(priority, [0, 0])
            total[0] += n
            total[1] += size
        self._db.executemany(
            "UPDATE tally SET n = n + ?, bytes = bytes + ? WHERE priority = ?",
            [(n, size, priority) for priority, (n, size) in sums.items()],
        )

    def remove(self, seqs: Sequence[int]) -> int:
        """Delete delivered rows; return how many there were."""
        with translated(self.path), transaction(self._db):
            return self._delete(seqs)

    def _delete(self, seqs: Sequence[int]) -> int:
        gone = self._db.execute(
            "DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?))"
            " RETURNING priority, length(body)",
            (json.dumps(list(seqs)),),
        ).fetchall()
        self._count((priority, -1, -size) for priority, size in gone)
        return len(gone)

    def receipt(
        self, consumer: str, event_ids: Sequence[bytes], *, required: frozenset[str]
    ) -> tuple[list[int], list[int]]:
        """Note that `consumer` has these events; delete those that all of `required` have.

        Returns:
            The numbers of the events that were here, and of those that were deleted.
        """
        marks = ",".join("?" * len(event_ids))
        with translated(self.path), transaction(self._db):
            found = self._db.execute(f"SELECT seq FROM outbox WHERE event_id IN ({marks})", tuple(event_ids))  # noqa: S608 - only question marks
            known = [row[0] for row in found]
            seqs = known
            others = required - {consumer}
            if consumer not in required:
                return known, []
            if others:
                self._db.executemany(
                    "INSERT OR IGNORE INTO receipt (seq, consumer) VALUES (?, ?)",
                    [(s, consumer) for s in seqs],
                )
                seqs = [seq for seq in seqs if others <= self._receipted(seq)]
            self._delete(seqs)
            if others:
                self._db.executemany("DELETE FROM receipt WHERE seq = ?", [(seq,) for seq in seqs])
        return known, seqs

    def _receipted(self, seq: int) -> set[str]:
        return {row[0] for row in self._db.execute("SELECT consumer FROM receipt WHERE seq = ?", (seq,))}

    def park(self, seq: int, reason: str) -> None:
        """Take a row out of the normal order, because the broker would not have it."""
        with translated(self.path), transaction(self._db):
            self._db.execute("UPDATE outbox SET parked = ? WHERE seq = ?", (reason, seq))

    def unpark(self, why: str, *, kind: str | None = None, limit: int = -1) -> int:
        """Bring back rows parked for `why` (see parking.py), oldest first; return how many."""
        with translated(self.path), transaction(self._db):
            return self._db.execute(
                "UPDATE outbox SET parked = NULL WHERE seq IN (SELECT seq FROM outbox "
                "WHERE parked IS NOT NULL AND substr(parked, 1, ?) = ? AND (? IS NULL OR kind = ?)"
                " ORDER BY kind, seq LIMIT ?)",
                (len(why), why, kind, kind, limit),
            ).rowcount

    # -- reading ---------------------------------------------------------------------------------

    def page(self, priority: int, *, after: int, limit: int) -> list[Row]:
        """Return up to `limit` rows of `priority` with numbers above `after`, in order.

        A row whose checksum is wrong goes into the loss ledger instead.
        """
        with translated(self.path):
            found = self._db.execute(
                "SELECT seq, event_id, kind, body, crc FROM outbox"
                " WHERE priority = ? AND seq > ? AND parked IS NULL ORDER BY seq LIMIT ?",
                (priority, after, limit),
            ).fetchall()
        bad = [(seq, kind) for seq, _, kind, body, crc in found if not sound_body(body, crc)]
        if bad:
            self._lose(bad, "corrupt_row")
        return [
            Row(seq=seq, event_id=event_id, priority=priority, kind=kind, body=body)
            for seq, event_id, kind, body, crc in found
            if (seq, kind) not in bad
        ]

    def contains(self, event_id: bytes) -> bool:
        """Return whether the event is here."""
        with translated(self.path):
            return (
                self._db.execute("SELECT 1 FROM outbox WHERE event_id = ?", (event_id,)).fetchone()
                is not None
            )

    def tally(self) -> dict[int, tuple[int, int]]:
        """Return rows and bytes by priority; takes the same time however many there are."""
        with translated(self.path):
            rows = self._db.execute("SELECT priority, n, bytes FROM tally").fetchall()
        return {priority: (n, size) for priority, n, size in rows}

    def oldest(self) -> tuple[int, int, int | None] | None:
        """Return number, monotonic and wall time of the oldest row, None if there is none."""
        with translated(self.path):
            row: tuple[int, int, int | None] | None = self._db.execute(
                "SELECT seq, mono_ns, wall_ms FROM outbox ORDER BY seq LIMIT 1"
            ).fetchone()
        return row

    def parked_kinds(self, why: str) -> list[str]:
        """Return the kinds of which rows are parked for `why`."""
        with translated(self.path):
            rows = self._db.execute(
                "SELECT DISTINCT kind FROM outbox WHERE parked IS NOT NULL AND substr(parked, 1, ?) = ?",
                (len(why), why),
            ).fetchall()
        return [row[0] for row in rows]

    # -- alarms that stand, notes about the box ------------------------------------------------------

    def alarms(self) -> list[StandingAlarm]:
        """Return the alarms whose retained message is to be published or removed."""
        with translated(self.path):
            return [
                StandingAlarm(*row)
                for row in self._db.execute("SELECT id, seq, body FROM alarm ORDER BY seq")
            ]

    def forget_alarm(self, alarm: StandingAlarm) -> None:
        """Forget a cleared alarm whose retained message is removed; not one that was raised again."""
        with translated(self.path), transaction(self._db):
            self._db.execute(
                "DELETE FROM alarm WHERE id = ? AND seq = ? AND body IS NULL", (alarm.id, alarm.seq)
            )

    def note(self, key: str, value: str) -> str | None:
        """Store a note about the box under `key`; return what stood there before."""
        with translated(self.path), transaction(self._db):
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            self._db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
        return None if row is None else str(row[0])

    def note_boot(self, boot_id: str, offset_ms: int | None) -> int | None:
        """Store the wall clock's offset of this boot; return the one known before."""
        with translated(self.path), transaction(self._db):
            row = self._db.execute("SELECT offset_ms FROM boot WHERE boot_id = ?", (boot_id,)).fetchone()
            number = self._db.execute("SELECT coalesce(max(n), 0) FROM boot").fetchone()[0]
            if row is None:
                self._db.execute("INSERT INTO boot VALUES (?, ?, ?)", (boot_id, number + 1, offset_ms))
            elif offset_ms is not None:
                self._db.execute("UPDATE boot SET offset_ms = ? WHERE boot_id = ?", (offset_ms, boot_id))
        return None if row is None or row[0] is None else int(row[0])

    # -- losses ------------------------------------------------------------------------------------

    def unreported(self) -> list[Loss]:
        """Return the losses that no ``gap`` event reports yet."""
        with translated(self.path):
            rows = self._db.execute(
                "SELECT id, from_seq, to_seq, n, reason, kinds FROM loss"
                " WHERE gap_seq IS NULL ORDER BY id LIMIT 100"
            ).fetchall()
        return [
            Loss(id=i, from_seq=first, to_seq=last, n=n, reason=reason, kinds=json.loads(kinds))
            for i, first, last, n, reason, kinds in rows
        ]

    def _lose(self, rows: Sequence[tuple[int, str]], reason: str) -> None:
        seqs = [seq for seq, _ in rows]
        kinds = Counter(kind for _, kind in rows)
        with translated(self.path), transaction(self._db):
            self._delete(seqs)
            # A report of a loss that is itself lost is written again.
            self._db.executemany(
                "UPDATE loss SET gap_seq = NULL WHERE gap_seq = ?", [(seq,) for seq, k in rows if k == "gap"]
            )
            self._ledger(min(seqs), max(seqs), len(seqs), reason, dict(kinds))

    def _ledger(self, first: int, last: int, n: int | None, reason: str, kinds: dict[str, int]) -> None:
        self._db.execute(
            "INSERT INTO loss (from_seq, to_seq, n, reason, kinds) VALUES (?, ?, ?, ?, ?)",
            (first, last, n, reason, json.dumps(kinds)),
        )
        self._db.execute(
            "DELETE FROM loss WHERE gap_seq IS NOT NULL AND id < (SELECT max(id) FROM loss) - 1000"
        )
