"""An independent subscriber: shows, as a live table, what a box sends, and writes it down.

It is a process of its own and shares no code with the box: it knows the topics and JSON, as any
consumer in the mine would. Names come from the roster that the operator exported; on the wire there
are references only. It ends when the box says goodbye, or on SIGTERM.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Body = Mapping[str, Any]

#: Columns besides `what`, which takes what is left of the terminal.
_OTHERS: Final = 42
_WHAT: Final = range(24, 61)
_COLOURS: Final = {"named": "32", "unknown": "33", "undecided": "90"}


def who(body: Body, roster: Mapping[str, str]) -> str:
    """Return the person of an event in words: a name with its reference, or that nobody knows them."""
    ref = body.get("person_ref")
    if ref is None:
        return "unknown person"
    return f"{roster[ref]} ({ref})" if ref in roster else str(ref)


def what(body: Body, roster: Mapping[str, str]) -> str:
    """Return what an event says, in words."""
    kind = body["kind"]
    if kind == "sighting":
        said = who(body, roster) if body["decision"] == "named" else str(body["decision"])
        reason = str(body.get("reason", "")).replace("_", " ")
        ended = " [track ended]" if body["final"] else ""
        return said + (f": {reason}" if reason and body["decision"] != "named" else "") + ended
    if kind == "presence":
        return f"{who(body, roster)} {body['change']}, count {body['headcount']}"
    if kind == "muster":
        inside = [who(person, roster) for person in body["people"]]
        return f"count {body['headcount']}: {', '.join(inside) or 'nobody known'}"
    reason = body.get("reason") or body.get("note") or body.get("version") or ""
    return str(reason).replace("_", " ")


def row(body: Body, roster: Mapping[str, str], *, start_ns: int, colour: bool, columns: int = 80) -> str:
    """Return an event as a line of the table, `columns` wide; times count from `start_ns`."""
    seconds = max(0.0, (body["mono_ns"] - start_ns) / 1e9)
    score, needed = (
        f"{body[key]:.2f}" if body["kind"] == "sighting" and key in body else ""
        for key in ("score", "threshold")
    )
    face = f"{body['face_px']:.0f} px" if "face_px" in body else ""
    track = str(body.get("track", "")).replace("t", "").lstrip("0")
    cells = (f"{seconds:.1f}", body["kind"], track, what(body, roster), score, needed, face)
    line = _line(cells, columns)
    code = _COLOURS.get(str(body.get("decision")))
    return f"\x1b[{code}m{line}\x1b[0m" if colour and code else line


def header(columns: int = 80) -> str:
    """Return the table's first line, `columns` wide."""
    return _line(("sec", "event", "track", "what", "score", "needed", "face"), columns)


def _line(cells: Sequence[str], columns: int) -> str:
    time, kind, track, said, score, needed, face = cells
    width = min(max(columns - _OTHERS, _WHAT[0]), _WHAT[-1])
    if len(said) > width:
        said = f"{said[: width - 3]}..."
    return f"{time:>5} {kind:<9.9} {track:<5.5} {said:<{width}} {score:>5} {needed:>6} {face:>6}".rstrip()


class Watcher:
    """Takes messages, prints each event once, writes it to `out`, and knows when the box has gone."""

    def __init__(self, *, roster: Mapping[str, str], out: IO[str], colour: bool) -> None:
        self._roster, self._out, self._colour = roster, out, colour
        self._columns = shutil.get_terminal_size().columns
        self._seen: set[str] = set()
        self._start_ns: int | None = None
        self._was_online = False
        self.gone = threading.Event()

    def message(self, topic: str, payload: bytes) -> None:
        """Take one message; what is no JSON object is shown and passed over."""
        try:
            body = json.loads(payload)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            print(f"  not an event: {topic} {payload[:40]!r}", flush=True)
        elif topic.endswith("/state"):
            self._state(online=bool(body.get("online")))
        elif "/evt/" in topic:
            self._event(body)

    def _state(self, *, online: bool) -> None:
        if online:
            self._was_online = True
        elif self._was_online:
            self.gone.set()

    def _event(self, body: dict[str, Any]) -> None:
        if body["id"] in self._seen:
            return
        self._seen.add(body["id"])
        if self._start_ns is None:
            self._start_ns = int(body["mono_ns"])
            print(header(self._columns), flush=True)
        line = row(body, self._roster, start_ns=self._start_ns, colour=self._colour, columns=self._columns)
        print(line, flush=True)
        self._out.write(json.dumps(body) + "\n")
        self._out.flush()


def read_roster(path: Path) -> dict[str, str]:
    """Return names by reference from ``dsr-edge people roster --out FILE.csv``."""
    with path.open(encoding="utf-8", newline="") as table:
        return {line["reference"]: line["name"] for line in csv.DictReader(table)}


def main(argv: Sequence[str] | None = None) -> int:
    """Subscribe, show and write until the box says goodbye; return an exit status."""
    parser = argparse.ArgumentParser(description="Shows what a box sends, as a table.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--topic", default="mine/#")
    parser.add_argument("--roster", type=Path, help="from: dsr-edge people roster --out FILE.csv")
    parser.add_argument("--out", type=Path, required=True, help="events, one JSON object a line")
    parser.add_argument("--ready", type=Path, help="made as soon as it is subscribed")
    args = parser.parse_args(argv)
    roster = read_roster(args.roster) if args.roster else {}
    with args.out.open("w", encoding="utf-8") as out:
        watcher = Watcher(roster=roster, out=out, colour=sys.stdout.isatty())
        signal.signal(signal.SIGTERM, lambda *_: watcher.gone.set())
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="watch", protocol=mqtt.MQTTv5)
        client.on_connect = lambda who, *_: who.subscribe(args.topic, qos=1)
        client.on_message = lambda _client, _data, message: watcher.message(
            message.topic, bytes(message.payload)
        )
        if args.ready:
            client.on_subscribe = lambda *_: args.ready.touch()
        client.connect(args.host, args.port, keepalive=15)
        client.loop_start()
        try:
            while not watcher.gone.wait(0.2):
                pass
        except KeyboardInterrupt:
            return 130
        finally:
            client.disconnect()
            client.loop_stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
