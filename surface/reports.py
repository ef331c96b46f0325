"""What ``dsr-surface`` shows of the store: the muster, the boxes, the gaps, the roster."""

from __future__ import annotations

import csv
import io
import json
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_app.errors import ConfigError
from surface.muster import SILENT_AFTER_S, document, is_silent, mine_muster, name_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from surface.holes import Missing
    from surface.muster import Whereabouts
    from surface.store import Store

_MAX_ROSTER: Final = 8 << 20
_MAX_NAME: Final = 200
_TWICE: Final = "NUMBERS USED TWICE: its outbox was made anew, and what is missing may be hidden"
_YOUNGER: Final = (
    "where numbers are missing from 1 on: if another store has them, `dsr-surface copy` takes them over; if\n"
    "nobody shall have them (the box had no consumer yet), `dsr-surface baseline` says where to begin"
)


def add_parsers(verbs: Any) -> None:
    """Add the commands that only read the store, and ``roster``, which also takes names over."""
    muster = verbs.add_parser("muster", help="who was last seen where, over all boxes")
    muster.add_argument(
        "--exit",
        action="append",
        default=[],
        metavar="BOX",
        help="a box at the way out: who leaves its zones has left the mine; repeat",
    )
    boxes = verbs.add_parser("boxes", help="every box: there or silent since, what came, what is late")
    for parser in (muster, boxes):
        parser.add_argument(
            "--silent-after",
            type=float,
            default=SILENT_AFTER_S,
            metavar="S",
            help=f"seconds without a word (default: {SILENT_AFTER_S:.0f})",
        )
    gaps = verbs.add_parser("gaps", help="numbers that never came, and whether their loss was reported")
    roster = verbs.add_parser("roster", help="the names of references; they stay in the store")
    roster.add_argument(
        "--import", dest="file", type=Path, metavar="FILE", help=".csv or .json of `dsr-edge people roster`"
    )
    roster.add_argument("--replace", action="store_true", help="forget whoever is not in FILE")
    works: dict[Any, Callable[[argparse.Namespace], int]]
    works = {muster: show_muster, boxes: show_boxes, gaps: show_gaps, roster: show_roster}
    for parser, work in works.items():
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(work=work)


def store_of(args: argparse.Namespace, *, make: bool = False) -> Store:
    """Return the store that the command line names; whoever fills it may `make` it.

    Raises:
        ConfigError: its URL or password file cannot be used.
        SurfaceError: it cannot be opened, or is not there.
    """
    return store_at(args.db, args.db_password_file, make=make)


def store_at(where: str, password_file: Path | None, *, make: bool = False) -> Store:
    """Return the store at a path or URL.

    Raises:
        ConfigError: the URL or the password file cannot be used.
        SurfaceError: it cannot be opened, or is not there.
    """
    from edge_app.secret_files import read_secret
    from surface.store import open_store

    password = None
    if password_file is not None:
        password = read_secret(password_file, what="the database's password file").decode("utf-8")
    return open_store(where, password=password, make=make)


def show_muster(args: argparse.Namespace) -> int:
    """Print who was last seen where."""
    with closing(store_of(args)) as store:
        found = mine_muster(store, now_ms=_now_ms(), silent_after_s=args.silent_after, exits=args.exit)
        heard = {name for box in store.boxes() for name in (box.node, f"{box.site}/{box.node}")}
    if args.json:
        print(json.dumps({"headcount": found.headcount, "zones": found.zones, **asdict(found)}))
        return 0
    if not found.boxes:
        print("no box was heard: nobody knows who is in the mine")
        return 0
    perhaps = sum(one.perhaps_left_s is not None for one in (*found.people, *found.strangers))
    but = f"; {perhaps} of them have perhaps left" if perhaps else ""
    print(f"headcount {found.headcount}: {len(found.people)} registered, {len(found.strangers)} unknown{but}")
    for zone, count in found.zones.items():
        print(f"  {count:4} in {zone}")
    for one in (*found.people, *found.strangers):
        print(_line(one))
    if found.out:
        print(f"  out of the mine: {', '.join(found.out)}")
    for box in found.silent_boxes:
        print(f"  box {box} is not there: its people may be elsewhere")
    for box in found.no_muster:
        print(f"  box {box} sent no muster: whom it sees is not known, and not counted")
    for camera in found.blind_cameras:
        print(f"  camera {camera} is blind")
    for box in sorted(set(args.exit) - heard):
        print(f"  --exit {box} is no box that was heard: nobody goes out there")
    return 0


def _line(one: Whereabouts) -> str:
    who = one.person_ref or "(unknown)"
    who = f"{who} {one.name}" if one.name else who
    age = f"{'>=' if one.silent else ''}{one.age_s:.0f} s ago"
    notes = "  BOX SILENT" if one.silent else ""
    notes += f"  left {', '.join(one.left)} since" if one.left else ""
    notes += "" if one.perhaps_left_s is None else f"  perhaps left {one.perhaps_left_s:.0f} s ago"
    return f"  {who:32} {one.zone:20} {age:>14}  {one.site}/{one.node}{notes}"


def show_boxes(args: argparse.Namespace) -> int:
    """Print every box: whether it is there, what came of it, what is missing or came late."""
    with closing(store_of(args)) as store:
        events, missing, told = store.events_by_box(), store.missing(), store.lost()
        said = {(box.site, box.node): box for box in store.boxes()}
    now_ms = _now_ms()
    rows: list[dict[str, Any]] = []
    for key in sorted({*said, *events}):
        box, came = said.get(key), events.get(key)
        state = document(box.state) if box is not None else {}
        heard_ms = None if box is None else box.heard_ms(now_ms)
        silent = box is None or is_silent(box, now_ms=now_ms, after_s=args.silent_after)
        holes = [hole for hole in missing if (hole.site, hole.node) == key]
        rows.append(
            {
                "box": "/".join(key),
                "silent": silent,
                "reason": state.get("reason") if isinstance(state.get("reason"), str) else None,
                "heard_s": None if heard_ms is None else (now_ms - heard_ms) / 1000,
                "stored": came.stored if came else 0,
                "lowest_seq": came.lowest_seq if came else 0,
                "highest_seq": came.highest_seq if came else 0,
                "lost_and_reported": told.get(key, 0),
                "missing": sum(h.count for h in holes if not h.excused),
                "before_baseline": sum(h.count for h in holes if h.before),
                "waiting": total(state.get("backlog")),
                "without_receipts_of": sorted(
                    filter(None, map(name_of, _keys(state.get("silent_consumers"))))
                ),
                "late": came.late if came else 0,
                "numbers_twice": came.twice if came else 0,
                "longest_delay_s": None
                if came is None or came.longest_ms is None
                else came.longest_ms / 1000,
            }
        )
    print(json.dumps(rows)) if args.json else print("\n".join(map(_box_line, rows)) or "no box was heard")
    return 0


def _box_line(row: dict[str, Any]) -> str:
    heard = "never heard" if row["heard_s"] is None else f"heard {row['heard_s']:.0f} s ago"
    there = f"SILENT ({row['reason'] or 'no word'})" if row["silent"] else "there"
    delay = (
        ""
        if row["longest_delay_s"] is None
        else f", at most {row['longest_delay_s']:.0f} s after it happened"
    )
    lost = "an unknown number" if row["lost_and_reported"] is None else row["lost_and_reported"]
    before = f" ({row['before_baseline']} before its baseline not counted)" if row["before_baseline"] else ""
    waiting = f"; {row['waiting']} wait on the box" if row["waiting"] else ""
    if row["without_receipts_of"]:
        waiting += f", which gets no receipts from {', '.join(row['without_receipts_of'])}"
    if row["numbers_twice"]:
        waiting += f"; {row['numbers_twice']} {_TWICE}"
    came = f"{row['stored']} events from number {row['lowest_seq']} to {row['highest_seq']}{delay}"
    return (
        f"{row['box']}: {there}, {heard}; {came if row['stored'] else 'no event'};"
        f" {row['missing']} missing{before}, {lost} lost and reported, {row['late']} out of order{waiting}"
    )


def _keys(found: object) -> list[Any]:
    return list(found) if isinstance(found, dict) else []


def total(backlog: object) -> int | None:
    """Return how many events a box says that it still has, None where it says nothing of the kind."""
    counts = list(backlog.values()) if isinstance(backlog, dict) else []
    return sum(counts) if counts and all(type(one) is int and one >= 0 for one in counts) else None


def show_gaps(args: argparse.Namespace) -> int:
    """Print the numbers that never came; status 1 if a loss was not reported, or may be hidden."""
    with closing(store_of(args)) as store:
        found = store.missing()
        twice = {box: came.twice for box, came in sorted(store.events_by_box().items()) if came.twice}
    if args.json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        for one in found:
            print(f"{one.site}/{one.node}: {one.from_seq}..{one.to_seq}  {_why(one)}")
        for (site, node), number in twice.items():
            print(f"{site}/{node}: {number} {_TWICE}")
        if any(one.from_seq == 1 and not one.excused for one in found):
            print(_YOUNGER)
        if not found and not twice:
            print("nothing is missing")
    return 0 if all(one.excused for one in found) and not twice else 1


def _why(one: Missing) -> str:
    if one.reported:
        return "reported by the box (lost, or left out)"
    if one.before:
        return "before the box's baseline: not expected here"
    return "NOT REPORTED (or still on its way)"


def show_roster(args: argparse.Namespace) -> int:
    """Print the names of references; with a file, take its names over first."""
    people = {} if args.file is None else read_roster(args.file)
    with closing(store_of(args, make=args.file is not None)) as store:
        changed = store.import_roster(people, replace=args.replace) if args.file is not None else []
        names = store.roster()
    if args.json:
        print(
            json.dumps([{"reference": ref, "name": names[ref]} for ref in sorted(names)], ensure_ascii=False)
        )
    elif args.file is None:
        print("\n".join(f"{ref:32} {names[ref]}" for ref in sorted(names)) or "the roster is empty")
    else:
        print(f"{len(people)} names taken over; the roster has {len(names)}")
        for ref, old, new in changed:
            print(f"  {ref} was {old}, is now {new}")
    return 0


def read_roster(path: Path) -> dict[str, str]:
    """Return the names by reference in a file that ``dsr-edge people roster`` wrote: .csv, or .json.

    Raises:
        ConfigError: it cannot be read, is of another form, or names one reference twice.
    """
    try:
        if path.stat().st_size > _MAX_ROSTER:
            raise ConfigError(f"{path} is larger than any roster", fix="give the file of `people roster`")
        text = path.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if path.suffix.lower() == ".json" else _csv_rows(text)
        people = [(str(row["reference"]), str(row["name"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise ConfigError(
            f"{path} is no roster: {type(error).__name__}: {error}",
            fix="dsr-edge people roster --out roster.csv",
        ) from error
    return _checked(path, people)


def _csv_rows(text: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text))
    if not {"reference", "name"} <= set(reader.fieldnames or ()):
        raise ValueError("its first line must name the columns reference and name")
    return list(reader)


def _checked(path: Path, people: list[tuple[str, str]]) -> dict[str, str]:
    from surface.arrive import NAME

    found: dict[str, str] = {}
    for ref, name in people:
        if not NAME.fullmatch(ref) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            raise ConfigError(
                f"{path}: {ref!r:.40} {name!r:.40} is no reference with a name", fix="correct it"
            )
        if found.setdefault(ref, name) != name:
            raise ConfigError(f"{path} names {ref} twice, differently", fix="keep the right one")
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
