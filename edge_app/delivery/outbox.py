"""The store of events: what is committed survives power cuts until it is delivered, or its loss is told.

One SQLite database (`schema_v1.sql`), owned by one process and used by one thread. Rows are numbered by
`seq`; a row leaves when it is delivered, or when room is needed: then the least important and oldest go
first, into the loss ledger, from which the owner makes ``gap`` events. A damaged file is set aside and
its readable rows are taken over (`salvage.py`).

Nothing here knows about MQTT.
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from edge_app.delivery.database import (
    max_pages,
    open_database,
    refuse_others,
    take_room,
    transaction,
    translated,
)
from edge_app.delivery.files import Ballast, SequenceCeiling, file_id, has_room
from edge_app.delivery.lock import OutboxLock
from edge_app.delivery.rescue import Rescue
from edge_app.delivery.salvage import Wreck, complete, new_file, settle
from edge_app.durable import sync_folder
from edge_app.errors import OutboxCorrupt, OutboxError, OutboxFull

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_app.delivery.event import Draft
    from edge_app.delivery.options import OutboxOptions
    from edge_app.delivery.salvage import SavedRow

_LOG = structlog.get_logger(__name__)
_EVICT_LEAST, _EVICT_AT_ONCE = 16, 512
_TRIES: Final = 6
_SLACK_PAGES: Final = 16


class Outbox(Rescue):
    """The outbox at `options.path`, locked for this process until `close`.

    `alive` is called now and then while a damaged file is salvaged, which may take a minute. For another
    process that has it the wait is `patience_s` seconds.

    Raises:
        OutboxLocked: another process owns it.
        OutboxError: the folder cannot be made or written, or the file never was an outbox.
    """

    def __init__(
        self, *, options: OutboxOptions, alive: Callable[[], None] = lambda: None, patience_s: float = 0.0
    ) -> None:
        self._options = options
        self._alive = alive
        self.path = options.path
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OutboxError(
                f"the outbox's folder {self.path.parent} cannot be made: {error.strerror}",
                fix="make it by hand, writable for the user that runs the daemon, or change delivery.outbox",
            ) from error
        self._lock = OutboxLock(self.path, patience_s=patience_s)
        self._ceiling = SequenceCeiling(self.path)
        self._ballast = Ballast(self.path)
        self._unreserved = False
        self._frozen = False
        try:
            settle(self.path)
            fresh = not self.path.exists()
            if self._ceiling.value == 0:
                refuse_others(self.path)
            try:
                self._open()
                self.next_seq = self._first_free(fresh=fresh)
                if fresh and self._ceiling.value > 0:
                    self._tell_missing()
            except OutboxCorrupt:
                self.recover()
            sync_folder(self.path.parent)
        except BaseException:
            self._lock.release()
            raise
        self._ballast.restore()

    def _open(self) -> None:
        try:
            self._db = open_database(self.path, max_mb=self._options.max_mb)
        except OutboxFull:  # the log has no room to begin in
            if not self._ballast.drop():
                raise
            self._db = open_database(self.path, max_mb=self._options.max_mb)
        with translated(self.path):
            take_room(self._db, self.path)
        self._frozen = False
        self._file_id = file_id(self.path)

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
                if tries == _TRIES or not self._make_room(len(drafts), first=tries == 1):
                    raise

    def _reserve(self, up_to: int) -> None:
        """Note outside of the database how far numbers may have been given, for the day its file is lost."""
        try:
            self._ceiling.reserve(up_to)
            self._unreserved = False
        except OSError as error:  # the event matters more than the note about its number
            if not self._unreserved:
                _LOG.warning("sequence_not_reserved", reason=error.strerror, fix="free space on the disk")
            self._unreserved = True

    def _append(self, drafts: Sequence[Draft], losses: Sequence[int]) -> list[int]:
        first = self.next_seq
        self._reserve(first + len(drafts))
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

    # -- bounds -----------------------------------------------------------------------------------

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
        grown until the disk was full cannot. It grows again at twice that room: not into the ballast.
        """
        frozen = not has_room(self.path.parent, ballasts=2 if self._frozen else 1)
        if frozen != self._frozen:
            pages = self._pragma("page_count") if frozen else max_pages(self._options.max_mb)
            self._pragma(f"max_page_count={pages}")
            self._frozen = frozen
        if not frozen:
            self._ballast.restore()

    def _make_room(self, coming: int, *, first: bool) -> bool:
        """Make room because the file may not, or cannot, grow for `coming` rows; return whether any was made.

        If it is the disk that is full, nothing can be deleted until the log was written back into the file:
        that `first`, with the ballast's room if it must be, and then eviction.
        """
        pages, most = self._pragma("page_count"), self._pragma("max_page_count")
        bounded = not self._frozen and pages >= most - _SLACK_PAGES
        if first and not bounded and (self._write_back() or (self._ballast.drop() and self._write_back())):
            return True
        try:
            evicted = self._evict("full", coming)
        except OutboxFull:
            return not bounded and self._ballast.drop()
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

    def _evict(self, reason: str, coming: int = _EVICT_AT_ONCE) -> int:
        """Give up the least important and oldest rows, an eighth or twice the `coming`; return how many."""
        tally = self.tally()
        for priority in (3, 2, 1, 0):
            many = min(max(_EVICT_LEAST, 2 * coming, tally[priority][0] // 8), _EVICT_AT_ONCE)
            for parked in ("parked IS NULL", "parked IS NOT NULL"):
                with translated(self.path):
                    chosen = self._db.execute(
                        f"SELECT seq, kind FROM outbox WHERE priority = ? AND {parked} ORDER BY seq LIMIT ?",  # noqa: S608 - constant
                        (priority, many),
                    ).fetchall()
                if chosen:
                    self._lose(chosen, reason)
                    return len(chosen)
        return 0

    # -- damage --------------------------------------------------------------------------------------

    def _tell_missing(self) -> None:
        """Enter into the ledger what a file that is gone may have held: nobody can know what waited in it."""
        _LOG.error(
            "outbox_missing",
            path=str(self.path),
            fix="find out who removed it; what waited in it is lost, and a `gap` event says so",
        )
        with translated(self.path), transaction(self._db):
            self._ledger(1, self._ceiling.value, None, "missing_file", {})
            self._never_again_below(self._ceiling.value)

    def taken_away(self) -> bool:
        """Return whether the file at the path, its lock or its sequence ceiling is gone or another."""
        try:
            return self._lock.lost() or self._ceiling.lost() or file_id(self.path) != self._file_id
        except OSError:  # cannot be known: not to be acted upon
            return False

    def put_back(self) -> None:
        """Lock again, and write all that waits to the path again, where somebody deleted or replaced a file.

        The open file still holds every row, but vanishes with this process. Another file at the path is set
        aside like a damaged one. If the power goes meanwhile, the next start finds the complete copy or none.

        Raises:
            OutboxLocked: another process has taken the path meanwhile; the open file is still in use.
            OutboxError: the folder or a file cannot be written; the open one is still in use.
            OutboxFull: there is no room for it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.retake()
            self._ceiling.restore()
            self._ballast.restore()
            if file_id(self.path) == self._file_id:
                return
            copy = self._new_database()
            try:
                with translated(self.path):
                    self._db.backup(copy, pages=_EVICT_AT_ONCE, progress=lambda *_: self._alive(), sleep=0)
            except OutboxError:
                copy.close()
                new_file(self.path)  # what there is of it has the room that the open file needs
                raise
            copy.close()
            complete(self.path)
        except OSError as error:
            raise OutboxError(
                f"{self.path} is gone and cannot be written again: {error.strerror}",
                fix="make its folder writable for the daemon's user; stop the daemon only after that",
            ) from error
        self._db.close()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        settle(self.path)
        self._open()

    def recover(self) -> int:
        """Set the damaged file aside and take over what can be read; return how many rows that were.

        If the power goes meanwhile, the next start finds the damaged file, or the complete new one.
        """
        with suppress(sqlite3.Error, AttributeError):
            self._db.close()
        self._db = self._new_database()
        wreck = Wreck(self.path)
        try:
            before = wreck.ask("SELECT sum(n) FROM tally")
            kept = self._take_over(wreck, ceiling=self._ceiling.value, alive=self._alive)
            first, last = self._salvaged_span(wreck, ceiling=self._ceiling.value)
        finally:
            wreck.close()
        had = before[0][0] if before and isinstance(before[0][0], int) else None
        lost = None if had is None or had < kept else had - kept
        used = max(self._first_free(fresh=False) - 1, self._ceiling.value)
        with translated(self.path), transaction(self._db):
            # Up to `used`: a consumer must not wait for numbers that are only left out.
            if lost != 0:
                self._ledger(first, max(last, used), lost, "corrupt_file", {})
            elif used > last:
                self._ledger(last + 1, used, 0, "corrupt_file", {})
            self._never_again_below(used)
        self._db.close()
        complete(self.path)
        settle(self.path)
        self._open()
        self.next_seq = self._first_free(fresh=True)
        return kept

    def _new_database(self) -> sqlite3.Connection:
        """Return a database beside the path, whose file `complete` synchronises as a whole."""
        database = open_database(new_file(self.path), max_mb=self._options.max_mb)
        database.execute("PRAGMA synchronous=OFF")
        return database

    def _never_again_below(self, seq: int) -> None:
        """Let numbers go on above `seq`, also if the rows that had the last ones are lost."""
        self._db.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
        self._db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (seq,))

    def _first_free(self, *, fresh: bool) -> int:
        """Return the first number that no event ever had; above the reservation if the file is new."""
        with translated(self.path):
            row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        last = 0 if row is None else int(row[0])
        return max(last, self._ceiling.value if fresh else 0) + 1
