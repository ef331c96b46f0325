"""The store of events: what is committed survives power cuts until it is delivered, or its loss is told.

One SQLite database (`schema_v1.sql`), owned by one process and used by one thread. Rows are numbered by
`seq`; a row leaves when it is delivered, or when room is needed: then the least important and oldest go
first, into the loss ledger, from which the owner makes ``gap`` events. A damaged file is set aside and
its readable rows are taken over (`salvage.py`).

Nothing here knows about MQTT.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_app.delivery.database import max_pages, open_database, transaction, translated
from edge_app.delivery.files import Ballast, SequenceCeiling, has_room, sync_folder
from edge_app.delivery.lock import OutboxLock
from edge_app.delivery.salvage import Wreck, quarantine, sound_body
from edge_app.errors import OutboxCorrupt, OutboxError, OutboxFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_app.delivery.event import Draft
    from edge_app.delivery.options import OutboxOptions
    from edge_app.delivery.salvage import SavedRow

_EVICT_AT_ONCE: Final = 512
_TRIES: Final = 6
_SLACK_PAGES: Final = 16
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


class Outbox:
    """The outbox at `options.path`, locked for this process until `close`.

    Raises:
        OutboxLocked: another process owns it.
        OutboxError: the folder cannot be made or written.
    """

    def __init__(self, *, options: OutboxOptions) -> None:
        self._options = options
        self.path = options.path
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutboxError(
                f"the outbox's folder {self.path.parent} cannot be made: {error.strerror}",
                fix="make it by hand, writable for the user that runs the daemon, or change delivery.outbox",
            ) from error
        self._lock = OutboxLock(self.path)
        self._ceiling = SequenceCeiling(self.path)
        self._ballast = Ballast(self.path)
        self._frozen = False
        try:
            fresh = not self.path.exists()
            try:
                self._db = open_database(self.path, max_mb=options.max_mb)
                self.next_seq = self._first_free(fresh=fresh)
            except OutboxCorrupt:
                self.recover()
            sync_folder(self.path.parent)
        except BaseException:
            self._lock.release()
            raise
        self._ballast.restore()

    def close(self) -> None:
        """Close the database and give the lock free."""
        with suppress(sqlite3.Error):
            self._db.close()
        self._lock.release()

    # -- writing ---------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft], *, losses: Sequence[int] = ()) -> list[int]:
        """Commit `drafts` in one durable transaction and return their numbers.

        `losses` are ids of the loss ledger that the first ``len(losses)`` drafts report.

        Raises:
            OutboxFull: no room even after eviction; nothing was committed, try again later.
            OutboxCorrupt: the file is damaged; call `recover` and try again.
        """
        self._watch_disk()
        self._bound_rows(len(drafts))
        tries = 0
        while True:
            tries += 1
            try:
                return self._append(drafts, losses)
            except OutboxFull:
                if tries == _TRIES or not self._make_room(first=tries == 1):
                    raise

    def _append(self, drafts: Sequence[Draft], losses: Sequence[int]) -> list[int]:
        first = self.next_seq
        with suppress(OSError):
            self._ceiling.reserve(first + len(drafts))
        rows: list[SavedRow] = []
        for seq, draft in enumerate(drafts, first):
            body = draft.body(seq)
            crc = zlib.crc32(body)
            rows.append(
                (
                    *(seq, draft.event_id.bytes, draft.priority, draft.kind, draft.mono_ns, draft.wall_ms),
                    *(body, crc, None),
                )
            )
        with translated(self.path), transaction(self._db):
            self._insert(rows)
            for row, draft in zip(rows, drafts, strict=True):
                if draft.alarm is not None:
                    alarm_id, active = draft.alarm
                    self._db.execute(
                        "INSERT OR REPLACE INTO alarm (id, seq, body) VALUES (?, ?, ?)",
                        (alarm_id, row[0], row[6] if active else None),
                    )
            for seq, loss in enumerate(losses, first):
                self._db.execute("UPDATE loss SET gap_seq = ? WHERE id = ?", (seq, loss))
        self.next_seq = first + len(drafts)
        return list(range(first, self.next_seq))

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

    def receipt(self, consumer: str, event_ids: Sequence[bytes], *, required: frozenset[str]) -> list[int]:
        """Note that `consumer` has these events; delete and return those that all of `required` have."""
        marks = ",".join("?" * len(event_ids))
        with translated(self.path), transaction(self._db):
            known = self._db.execute(f"SELECT seq FROM outbox WHERE event_id IN ({marks})", tuple(event_ids))  # noqa: S608 - only question marks
            seqs = [row[0] for row in known]
            others = required - {consumer}
            if consumer not in required:
                return []
            if others:
                self._db.executemany(
                    "INSERT OR IGNORE INTO receipt (seq, consumer) VALUES (?, ?)",
                    [(s, consumer) for s in seqs],
                )
                seqs = [seq for seq in seqs if others <= self._receipted(seq)]
            self._delete(seqs)
            if others:
                self._db.executemany("DELETE FROM receipt WHERE seq = ?", [(seq,) for seq in seqs])
        return seqs

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

    def evict_older(self, cutoff_ms: int) -> int:
        """Give up rows from before `cutoff_ms` (wall time); return how many. Rows without a time stay."""
        with translated(self.path):
            old = self._db.execute(
                "SELECT seq, kind FROM outbox WHERE seq < (SELECT coalesce(min(seq), 9223372036854775807)"
                " FROM (SELECT seq FROM outbox WHERE wall_ms >= ? OR wall_ms IS NULL ORDER BY seq LIMIT 1))"
                " ORDER BY seq LIMIT ?",
                (cutoff_ms, _EVICT_AT_ONCE),
            ).fetchall()
        if old:
            self._lose(old, "too_old")
        return len(old)

    def purge(self) -> int:
        """Give up all rows, into the loss ledger; return how many there were."""
        total = 0
        while evicted := self._evict("purged"):
            total += evicted
        return total

    def _bound_rows(self, coming: int) -> None:
        total = sum(n for n, _ in self.tally().values())
        while total + coming > self._options.max_rows and total > 0:
            total -= self._evict("too_many_rows")

    def _watch_disk(self) -> None:
        """Let the file grow only while the disk has room for it, its log and the ballast.

        A file that has stopped growing can always be written back to and evicted from; one that has
        grown until the disk was full cannot.
        """
        frozen = not has_room(self.path.parent)
        if frozen != self._frozen:
            pages = self._pragma("page_count") if frozen else max_pages(self._options.max_mb)
            self._pragma(f"max_page_count={pages}")
            self._frozen = frozen
            if not frozen:
                self._ballast.restore()

    def _make_room(self, *, first: bool) -> bool:
        """Make room because the file may not, or cannot, grow; return whether anything could be done.

        If it is the disk that is full, the log cannot grow either, so nothing can be deleted until the
        log was written back into the file: that `first`, with the ballast's room, and then eviction.
        """
        bounded = self._pragma("page_count") >= self._pragma("max_page_count") - _SLACK_PAGES
        dropped = not bounded and self._ballast.drop()
        if first and not bounded and self._write_back():
            return True
        try:
            evicted = self._evict("full")
        except OutboxFull:
            return dropped
        self._write_back()
        return evicted > 0

    def _pragma(self, name: str) -> int:
        with translated(self.path):
            return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _write_back(self) -> bool:
        """Write the log back into the file, so that it starts anew; return whether all of it could be.

        RESTART, not TRUNCATE: on a full disk the log must not give its own room away.
        """
        try:
            busy, frames, written = self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except sqlite3.OperationalError:
            return False
        return not busy and frames == written

    def _evict(self, reason: str) -> int:
        """Give up the least important and oldest rows; return how many."""
        for priority in (3, 2, 1, 0):
            for parked in ("parked IS NULL", "parked IS NOT NULL"):
                with translated(self.path):
                    chosen = self._db.execute(
                        f"SELECT seq, kind FROM outbox WHERE priority = ? AND {parked} ORDER BY seq LIMIT ?",  # noqa: S608 - constant
                        (priority, _EVICT_AT_ONCE),
                    ).fetchall()
                if chosen:
                    self._lose(chosen, reason)
                    return len(chosen)
        return 0

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

    # -- damage --------------------------------------------------------------------------------------

    def recover(self) -> int:
        """Set the damaged file aside and take over what can be read; return how many rows that were."""
        with suppress(sqlite3.Error, AttributeError):
            self._db.close()
        wreck_path = quarantine(self.path)
        self._db = open_database(self.path, max_mb=self._options.max_mb)
        wreck = Wreck(wreck_path)
        try:
            before = wreck.ask("SELECT sum(n) FROM tally")
            kept = self._take_over(wreck)
            first, last = self._salvaged_span(wreck)
        finally:
            wreck.close()
        had = before[0][0] if before and isinstance(before[0][0], int) else None
        lost = None if had is None or had < kept else had - kept
        with translated(self.path), transaction(self._db):
            if lost != 0:
                self._ledger(first, last, lost, "corrupt_file", {})
        self.next_seq = self._first_free(fresh=True)
        return kept

    def _take_over(self, wreck: Wreck) -> int:
        kept = 0
        batch: list[SavedRow] = []
        for row in wreck.rows(ceiling=self._ceiling.value):
            batch.append(row)
            if len(batch) >= _EVICT_AT_ONCE:
                kept += self._adopt(batch)
                batch = []
        kept += self._adopt(batch)
        with translated(self.path), transaction(self._db):
            for table, columns in (("alarm", 3), ("command_seen", 2), ("meta", 2), ("boot", 3)):
                marks = ",".join("?" * columns)
                self._adopt_notes(table, marks, wreck.ask(f"SELECT * FROM {table}"))  # noqa: S608 - constant
        return kept

    def _adopt(self, rows: Sequence[SavedRow]) -> int:
        with translated(self.path), transaction(self._db):
            self._insert(rows)
        return len(rows)

    def _adopt_notes(self, table: str, marks: str, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in rows:
            with suppress(sqlite3.IntegrityError, sqlite3.ProgrammingError):
                self._db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 - constant

    def _salvaged_span(self, wreck: Wreck) -> tuple[int, int]:
        low = wreck.ask("SELECT seq FROM outbox ORDER BY seq LIMIT 1")
        high = wreck.ask("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
        return (low[0][0] if low else 1), (high[0][0] if high else max(1, self._ceiling.value))

    def _first_free(self, *, fresh: bool) -> int:
        """Return the first number that no event ever had; above the reservation if the file is new."""
        with translated(self.path):
            row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        last = 0 if row is None else int(row[0])
        return max(last, self._ceiling.value if fresh else 0) + 1
