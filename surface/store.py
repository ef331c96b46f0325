"""The surface's store: every event once, committed before it is receipted; and what is known of each box.

Beside the events stands what is read out of them as they come: offsets that date a boot, reported
losses, departures. All of it may come late and twice, so each keeps the newest by the box's own numbers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from surface.arrive import said_at
from surface.database import SurfaceError
from surface.holes import Baseline, Missing, told_apart
from surface.records import BoxEvents, BoxSeen, Departure, Said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from surface.database import Database
    from surface.holes import Range

__all__ = [
    "Arrived",
    "Baseline",
    "Missing",
    "Store",
    "SurfaceError",
    "open_store",
]

_MUSTER: Final = (
    "INSERT INTO node (site, node, muster, muster_ms, muster_boot, muster_mono_ns)"
    " VALUES (:site, :node, :text, :at_ms, :boot, :mono_ns) ON CONFLICT (site, node) DO UPDATE SET"
    " muster = excluded.muster, muster_ms = excluded.muster_ms, muster_boot = excluded.muster_boot,"
    " muster_mono_ns = excluded.muster_mono_ns WHERE node.muster_boot IS NULL"
    " OR node.muster_boot <> excluded.muster_boot OR node.muster_mono_ns < excluded.muster_mono_ns"
)
_STATE: Final = (
    "INSERT INTO node (site, node, state, state_ms) VALUES (:site, :node, :text, :at_ms)"
    " ON CONFLICT (site, node) DO UPDATE SET state = excluded.state, state_ms = excluded.state_ms"
    " WHERE node.state IS NULL OR node.state <> excluded.state"
)
_HEARD: Final = (
    "INSERT INTO node (site, node, event_ms) VALUES (:site, :node, :at_ms)"
    " ON CONFLICT (site, node) DO UPDATE SET event_ms = excluded.event_ms"
    " WHERE node.event_ms IS NULL OR node.event_ms < excluded.event_ms OR node.event_ms > :now_ms"
)
#: A box that sends a backlog is not written down as heard with every commit of it.
_HEARD_EVERY_MS: Final = 1000
_BOOT: Final = (
    "INSERT INTO boot (site, node, boot, offset_ms, seq) VALUES (:site, :node, :boot, :offset_ms, :seq)"
    " ON CONFLICT (site, node, boot) DO UPDATE SET offset_ms = excluded.offset_ms, seq = excluded.seq"
    " WHERE excluded.seq >= boot.seq"
)
_GAP: Final = (
    "INSERT INTO gap (id, site, node, from_seq, to_seq, lost, reason)"
    " VALUES (:id, :site, :node, :from_seq, :to_seq, :lost, :reason) ON CONFLICT (id) DO NOTHING"
)
_LEFT: Final = (
    "INSERT INTO departure (person_ref, site, node, seq, boot, mono_ns, wall_ms)"
    " VALUES (:person_ref, :site, :node, :seq, :boot, :mono_ns, :wall_ms)"
    " ON CONFLICT (person_ref, site, node) DO UPDATE SET seq = excluded.seq, boot = excluded.boot,"
    " mono_ns = excluded.mono_ns, wall_ms = excluded.wall_ms WHERE excluded.seq >= departure.seq"
)
_DEPARTURES: Final = (
    "SELECT person_ref, site, node, coalesce(mono_ns / 1000000 + offset_ms, wall_ms), boot, mono_ns"
    " FROM departure LEFT JOIN boot USING (site, node, boot) ORDER BY person_ref, site, node"
)
_HOLES: Final = (
    "SELECT site, node, before + 1, seq - 1 FROM (SELECT site, node, seq, lag(seq, 1, 0)"
    " OVER (PARTITION BY site, node ORDER BY seq) AS before FROM event) AS numbered"
    " WHERE seq > before + 1 ORDER BY site, node, seq"
)
_BASELINE: Final = (
    "INSERT INTO baseline (site, node, from_seq, set_ms) VALUES (:site, :node, :from_seq, :set_ms)"
    " ON CONFLICT (site, node) DO UPDATE SET from_seq = excluded.from_seq, set_ms = excluded.set_ms"
)
_BOXES: Final = (
    "SELECT site, node, count(*), min(seq), max(seq), max(arrived_ms), max(arrived_ms - at_ms),"
    " count(seq) FILTER (WHERE seq >= coalesce(from_seq, 1))"
    " - count(DISTINCT seq) FILTER (WHERE seq >= coalesce(from_seq, 1))"
    " FROM dated LEFT JOIN baseline USING (site, node) GROUP BY site, node"
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event as it came: its fields, and the very bytes."""

    site: str
    node: str
    fields: Mapping[str, Any]
    body: bytes
    arrived_ms: int


def open_store(where: str, *, password: str | None = None, make: bool = True) -> Store:
    """Return the store at `where`: a ``postgresql://`` URL, or the path of an SQLite file.

    Without `make` it must be there: whoever reads a new one would be told that nobody is in the mine.

    Raises:
        ConfigError: the URL cannot be used, or its driver is not installed.
        SurfaceError: the store cannot be opened, is of a newer version, or is not there.
    """
    scheme, separator, _ = where.partition("://")
    if separator:
        from surface.postgres import SCHEMES, PostgresDatabase, address_of

        if scheme in SCHEMES:
            return Store(PostgresDatabase(address_of(where), password=password, make=make))
        raise SurfaceError(f"no store is known as {scheme}://", fix="a path, or postgresql://...")
    from surface.sqlite import SqliteDatabase

    return Store(SqliteDatabase(Path(where), make=make))


class Store:
    """The store in `database`; one thread uses it, and readers open their own."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._heard: dict[tuple[str, str], int] = {}

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    def add(self, arrived: Sequence[Arrived], *, live: bool = False) -> int:
        """Commit events that are new and return how many were; those that are known are left as they are.

        `live` are those that the boxes themselves sent now: a word of them.

        Raises:
            SurfaceError: they could not be committed; none was, and none may be receipted.
        """
        words = {
            box: at_ms
            for box, at_ms in (_heard(arrived) if live else {}).items()
            if abs(at_ms - self._heard.get(box, 0)) >= _HEARD_EVERY_MS
        }
        with self._db.transaction():
            new = self._db.insert_events([_row(one) for one in arrived])
            for one in arrived:
                self._note(one)
            for (site, node), at_ms in sorted(words.items()):
                now_ms = max(one.arrived_ms for one in arrived)
                self._db.run(_HEARD, site=site, node=node, at_ms=at_ms, now_ms=now_ms)
        self._heard.update(words)
        return new

    def _note(self, one: Arrived) -> None:
        """Note what an event changes beside itself; a commissioning test changes nothing."""
        fields = one.fields
        if fields.get("test"):
            return
        of_box: dict[str, Any] = {"site": one.site, "node": one.node}
        kind = fields["kind"]
        if kind == "time_fix" and _is_whole(fields.get("offset_ms")):
            moment = {name: fields[name] for name in ("boot", "offset_ms", "seq")}
            self._db.run(_BOOT, **of_box, **moment)
        elif kind == "gap" and _is_whole(fields.get("from_seq")) and _is_whole(fields.get("to_seq")):
            lost = fields.get("lost")
            span = {name: fields[name] for name in ("id", "from_seq", "to_seq")}
            reason = str(fields.get("reason")).encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
            self._db.run(_GAP, **of_box, **span, lost=lost if _is_whole(lost) else None, reason=reason[:200])
        elif kind == "presence" and fields.get("change") == "left" and "person_ref" in fields:
            moment = {name: fields.get(name) for name in ("person_ref", "boot", "mono_ns", "seq")}
            wall_ms = _int(fields.get("wall_ms"))  # that of a clock that is ahead is not later than now
            at_ms = None if wall_ms is None else min(wall_ms, one.arrived_ms)
            self._db.run(_LEFT, **of_box, **moment, wall_ms=at_ms)

    def say(self, said: Iterable[Said]) -> None:
        """Keep what boxes say about themselves, in one commit.

        An older muster changes nothing; the very same state is what the broker has kept, not a word of now.
        """
        with self._db.transaction():
            for one in sorted(said, key=lambda one: (one.site, one.node)):  # as in `add`: no deadlock
                of_box = {"site": one.site, "node": one.node, "text": one.text, "at_ms": one.at_ms}
                if one.boot is None:
                    self._db.run(_STATE, **of_box)
                else:
                    self._db.run(_MUSTER, **of_box, boot=one.boot, mono_ns=one.mono_ns)

    def boxes(self) -> list[BoxSeen]:
        """Return what every box says about itself."""
        rows = self._db.run(
            "SELECT site, node, state, state_ms, muster, muster_ms, event_ms, muster_boot, muster_mono_ns"
            " FROM node ORDER BY site, node"
        )
        return [BoxSeen(*row) for row in rows]

    def forget(self, site: str, node: str) -> None:
        """Forget what a box said of itself; its events stay, and it is known again when it says something."""
        with self._db.transaction():
            self._db.run("DELETE FROM node WHERE site = :site AND node = :node", site=site, node=node)

    def said(self) -> list[Said]:
        """Return what every box says about itself, as `say` takes it."""
        rows = self._db.run(
            "SELECT site, node, state, state_ms, muster, muster_ms, muster_boot, muster_mono_ns FROM node"
        )
        states = [Said(site, node, text, at) for site, node, text, at, *_ in rows if text is not None]
        return states + [Said(row[0], row[1], *row[4:]) for row in rows if row[4] is not None]

    def events_by_box(self) -> dict[tuple[str, str], BoxEvents]:
        """Return what came from each box, by site and node; reads all events."""
        late = {
            (site, node): int(count)
            for site, node, count in self._db.run("SELECT site, node, count(*) FROM late GROUP BY site, node")
        }
        return {
            (site, node): BoxEvents(
                int(stored),
                int(lowest),
                int(highest),
                int(at),
                _int(longest),
                late.get((site, node), 0),
                int(twice),
            )
            for site, node, stored, lowest, highest, at, longest, twice in self._db.run(_BOXES)
        }

    def arrivals(self, *, after: int, most: int) -> list[tuple[int, Arrived]]:
        """Return at most so many events with their places in the order of storing, those `after` a place."""
        rows = self._db.run(
            "SELECT arrival, site, node, body, arrived_ms FROM event WHERE arrival > :after"
            " ORDER BY arrival LIMIT :most",
            after=after,
            most=most,
        )
        return [
            (int(place), Arrived(site, node, json.loads(bytes(body)), bytes(body), int(at)))
            for place, site, node, body, at in rows
        ]

    def departures(self) -> list[Departure]:
        """Return who left which box last when."""
        rows = self._db.run(_DEPARTURES)
        return [Departure(ref, s, n, _int(at), boot, int(mono)) for ref, s, n, at, boot, mono in rows]

    def counts(self) -> dict[str, int]:
        """Return the number of events by kind."""
        return dict(map(tuple, self._db.run("SELECT kind, count(*) FROM event GROUP BY kind ORDER BY 1")))

    def missing(self) -> list[Missing]:
        """Return the numbers that never came, of every box, below the highest that came; in ranges."""
        reports = self._db.run("SELECT site, node, from_seq, to_seq FROM gap")
        return told_apart(map(_range, self._db.run(_HOLES)), map(_range, reports), self.baselines())

    def baselines(self) -> dict[tuple[str, str], Baseline]:
        """Return from which number on events are expected here, of the boxes of which that was said."""
        rows = self._db.run("SELECT site, node, from_seq, set_ms FROM baseline")
        return {(site, node): Baseline(site, node, int(seq), int(at)) for site, node, seq, at in rows}

    def set_baselines(self, baselines: Iterable[Baseline]) -> None:
        """Keep from which number on events of boxes are expected here, instead of what was said before."""
        with self._db.transaction():
            for one in baselines:
                self._db.run(_BASELINE, **asdict(one))

    def lost(self) -> dict[tuple[str, str], int | None]:
        """Return how many events each box reported lost; None where it cannot know."""
        return {
            (site, node): int(lost) if known else None
            for site, node, lost, known in self._db.run(
                "SELECT site, node, coalesce(sum(lost), 0), count(*) = count(lost) FROM gap"
                " GROUP BY site, node"
            )
        }

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return what a query of the reader's own finds; see the schema's files for the tables."""
        return self._db.run(sql)

    def roster(self) -> dict[str, str]:
        """Return the names of people by their references."""
        return dict(map(tuple, self._db.run("SELECT person_ref, name FROM roster")))

    def import_roster(self, people: Mapping[str, str], *, replace: bool) -> list[tuple[str, str, str]]:
        """Take over names by reference; return (reference, old name, new name) where they differ.

        With `replace` whoever is not among `people` is forgotten.
        """
        with self._db.transaction():
            known = self.roster()
            if replace:
                self._db.run("DELETE FROM roster")
            for ref, name in people.items():
                self._db.run(
                    "INSERT INTO roster (person_ref, name) VALUES (:ref, :name)"
                    " ON CONFLICT (person_ref) DO UPDATE SET name = excluded.name",
                    ref=ref,
                    name=name,
                )
        return [(ref, known[ref], name) for ref, name in people.items() if known.get(ref, name) != name]


def _heard(arrived: Iterable[Arrived]) -> dict[tuple[str, str], int]:
    """Return when boxes last said something (ms since 1970): what a broker kept is older than its arrival."""
    heard: dict[tuple[str, str], int] = {}
    for one in arrived:
        box = (one.site, one.node)
        heard[box] = max(heard.get(box, 0), said_at(one.fields, one.arrived_ms))
    return heard


def _row(one: Arrived) -> dict[str, Any]:
    f = one.fields
    row: dict[str, Any] = {name: f[name] for name in ("id", "seq", "priority", "kind", "boot", "mono_ns")}
    row.update({name: f.get(name) for name in ("wall_ms", "zone", "camera", "person_ref")})
    row.update(site=one.site, node=one.node, arrived_ms=one.arrived_ms, body=one.body)
    row.update(test=bool(f.get("test")), id_ms=int(f["id"][:8] + f["id"][9:13], 16))
    return row


def _range(row: Sequence[Any]) -> Range:
    site, node, first, last = row
    return site, node, int(first), int(last)


def _is_whole(value: object) -> bool:
    return type(value) is int


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
