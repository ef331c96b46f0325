"""The alarm about a disk that is nearly full, on a disk that is: a tmpfs of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.delivery.small_disk import inside_of

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = """
import json, sys
from pathlib import Path
from uuid import uuid4
disk = Path(sys.argv[1])
def fill(free):
    import os
    room = os.statvfs(disk)
    with (disk / "ballast").open("ab") as file:
        os.posix_fallocate(file.fileno(), file.tell(), room.f_bavail * room.f_frsize - (free << 20))
"""


def check(expected: Any, tmp_path: Path, script: str) -> None:
    """Expect `script`, run where `disk` is a disk of 40 MB, to print this as JSON."""
    if (inside := inside_of(disk := tmp_path / "disk")) is None:
        return
    words = [*inside, sys.executable, "-c", _HEAD + script, str(disk)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    assert expected == json.loads(done.stdout.splitlines()[-1])


def test_alarm_is_raised_once_and_cleared_when_there_is_room_again(tmp_path: Path) -> None:
    """At 17 MB free and at 34: what lies between changes nothing."""
    script = """
from edge_app.delivery.room import RoomAlarm
room, told = RoomAlarm(disk, stands=False), []
for now, free in enumerate((None, 10, 1, 25, 39)):
    (disk / "ballast").unlink(missing_ok=True)
    free is None or fill(free)
    event = room.check(now)
    told.append(None if event is None else [event.data["alarm"]["state"], event.data["alarm"]["since_ns"]])
print(json.dumps(told))
"""
    check([None, ["active", 1], None, None, ["cleared", 1]], tmp_path, script)


def test_alarm_of_an_earlier_run_is_cleared_by_the_next(tmp_path: Path) -> None:
    """Somebody made room while the box was off."""
    script = """
from edge_app.delivery.room import RoomAlarm
print(json.dumps(RoomAlarm(disk, stands=True).check(7).data["alarm"]["state"]))
"""
    check("cleared", tmp_path, script)


def test_box_on_a_disk_that_fills_up_commits_the_alarm_and_says_what_is_in_memory_only(
    tmp_path: Path,
) -> None:
    """The alarm stands in the outbox, and is cleared there once somebody has made room."""
    script = """
import time
from edge_app.clock import SystemClock, boot_id
from edge_app.delivery.database import open_for_reading
from edge_app.delivery.event import EnvelopeContext
from edge_app.delivery.options import BrokerOptions, DeliveryOptions, OutboxOptions
from edge_app.delivery.service import Delivery
options = DeliveryOptions(
    site="north", node="box-1", outbox=OutboxOptions(path=disk / "outbox.db"),
    brokers=(BrokerOptions(host="127.0.0.1", port=1),),
)
delivery = Delivery(
    options=options, context=EnvelopeContext(site="north", node="box-1", boot=boot_id()), clock=SystemClock()
)
def stands():
    asked = open_for_reading(disk / "outbox.db")
    found = [name for (name,) in asked.execute("SELECT id FROM alarm WHERE body IS NOT NULL")]
    asked.close()
    return found
def after(wanted):
    until = time.monotonic() + 5
    while stands() != wanted and time.monotonic() < until:
        time.sleep(0.05)
    return stands()
delivery.start()
fill(8)
full = after(["disk_full"])
(disk / "ballast").unlink()
print(json.dumps([full, after([]), delivery.status().uncommitted]))
delivery.stop()
"""
    check([["disk_full"], [], 0], tmp_path, script)


def test_what_does_not_fit_whole_is_not_handed_over_in_part(tmp_path: Path) -> None:
    """The system takes the first kilobytes without a word; what was there before stays."""
    script = """
from edge_app.delivery.files import write_durably
path = disk / "counters.json"
write_durably(path, b"before")
fill(0)
(disk / "small").touch()
with (disk / "ballast").open("r+b") as file:
    file.truncate((disk / "ballast").stat().st_size - 8192)
try:
    write_durably(path, b"x" * 100_000)
except OSError as error:
    print(json.dumps([error.strerror, path.read_text(), sorted(one.name for one in disk.iterdir())]))
"""
    check(
        [
            "No space left on device",
            "before",
            ["ballast", "counters.json", "small"],
        ],
        tmp_path,
        script,
    )


def test_whoever_hands_over_an_event_is_told_to_free_space(tmp_path: Path) -> None:
    """Not to become another user: that was said before, and helps nobody."""
    script = """
from edge_app.delivery.spool import put
from edge_app.errors import OutboxError
from edge_app.records import Event
fill(0)
try:
    put(disk / "outbox.db", Event(kind="test", mono_ns=1, data={"note": "n"}), event_id=uuid4())
except OutboxError as error:
    print(json.dumps([error.what[-23:], error.fix]))
"""
    check(["No space left on device", "free space on its disk"], tmp_path, script)
