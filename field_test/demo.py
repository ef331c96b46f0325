"""The demo: from nothing to names on a broker, with nothing pretended.

Two people are registered with the box's own command from public photos. A clip is made in which one
of them, on another photo, and a stranger walk through a tunnel. The real daemon watches it in real
time and tells a broker; a subscriber of its own shows what arrives. At the end what the box said is
held against what is true. `python3 run.py demo` runs it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from field_test import assets, tunnel
from field_test.broker import BrokerError, demo_broker
from field_test.sheet import contact_sheet
from field_test.verdict import Check, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STEPS: Final = 6
#: The daemon gets so long beyond the clip's length to load its models and to stop.
_SPARE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Registered:
    """Somebody to register: who in the ground truth, the reference, the name, the photos."""

    who: str
    ref: str
    name: str
    photos: tuple[str, ...]


#: None of these photos is in the clip.
PEOPLE: Final = (
    Registered("obama", "C-1001", "Barack Obama", ("obama.jpg", "obama2.jpg")),
    Registered("astronaut", "C-1002", "Eileen Collins", ("astronaut.png",)),
)


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 only if every question has the right answer."""
    parser = argparse.ArgumentParser(description="Watch the box recognise people in a tunnel clip.")
    parser.add_argument("--out", type=Path, default=assets.ROOT / "out" / "demo", help="everything it makes")
    args = parser.parse_args(argv)
    started = time.monotonic()
    try:
        checks, sheet = _demo(args.out.resolve())
    except (DemoError, BrokerError, assets.AssetError, OSError, ValueError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    print("\nwhat the box said, held against what is true:")
    for check in checks:
        print(f"  {'yes' if check.passed else 'NO '}  {check.question}\n         {check.because}")
    print(f"\ncontact sheet: {sheet}\nannotated clip: {sheet.with_name('show.mp4')}")
    good = all(check.passed for check in checks)
    verdict = "as it should be" if good else "NOT as it should be"
    print(f"demo: {verdict}, after {time.monotonic() - started:.0f} s")
    return 0 if good else 1


def _demo(folder: Path) -> tuple[list[Check], Path]:
    _fresh(folder)
    _step(1, "the detector and the public photos")
    photos = assets.ensure_assets()
    detector = assets.ensure_detector()
    _step(2, "the tunnel clip: 20 s, darkness, an LED cone, dust, two people")
    clip, truth_path = tunnel.make_clip(photos, assets.CACHE / "clips", progress=_percent)
    truth = tunnel.read_truth(truth_path)
    with demo_broker(folder) as (broker, port):
        config = write_config(folder, clip=clip, detector=detector, port=port)
        _step(3, "register two people from photos that are not in the clip")
        for person in PEOPLE:
            _register(config, person, photos)
        _step(4, f"a broker ({broker}, for the demo only) on port {port}, and a subscriber")
        with _subscriber(folder, port) as watching:
            _step(5, "the daemon watches the clip in real time; what arrives at the subscriber:")
            _run_daemon(folder, config, seconds=truth.frames / truth.fps)
            with contextlib.suppress(subprocess.TimeoutExpired):
                watching.wait(timeout=10)
    _step(6, "the verdict")
    checks = judge(read_events(folder / "events.jsonl"), truth, {one.who: one.ref for one in PEOPLE})
    legend = ", ".join(f"{one.ref} is {one.name}" for one in PEOPLE)
    sheet = contact_sheet(folder / "show.mp4", truth, checks, folder / "contact-sheet.png", legend=legend)
    return checks, sheet


def write_config(folder: Path, *, clip: Path, detector: Path, port: int) -> Path:
    """Write the box's configuration for the demo and return its path; the threshold is the model's own."""
    document = {
        "box": {"site": "demo", "node": "box-01"},
        "cameras": [
            {
                "name": "tunnel",
                "zone": "main-drift",
                "source": {"kind": "file", "path": str(clip), "pace": "realtime"},
            }
        ],
        "detector": assets.detector_section(detector),
        "recogniser": {"model": str(assets.ROOT / "models" / "dsr_inception.json")},
        "gallery": {"path": "state/people.db"},
        "presence": {"muster_every_s": 10.0},
        "delivery": {"outbox": "state/outbox.db", "brokers": [{"host": "127.0.0.1", "port": port}]},
    }
    path = folder / "box.yaml"
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")  # JSON is YAML
    return path


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return the events that the subscriber wrote down."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _fresh(folder: Path) -> None:
    """Make the folder anew; only what an earlier demo made is removed."""
    mark = folder / ".made-by-the-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        msg = f"{folder} has files in it that the demo did not make\n  fix: give another folder with --out"
        raise DemoError(msg)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "state").mkdir(parents=True)
    mark.touch()


def _step(number: int, text: str) -> None:
    print(f"\n[{number}/{_STEPS}] {text}", flush=True)


def _percent(share: float) -> None:
    if sys.stdout.isatty():
        print(f"\r  {share:4.0%}", end="" if share < 1 else "\n", flush=True)
    elif share == 1:
        print("  made", flush=True)


def _edge(*arguments: str) -> list[str]:
    """Return the command line of the installed ``dsr-edge``."""
    return [str(Path(sys.executable).parent / "dsr-edge"), *arguments]


def _register(config: Path, person: Registered, photos: dict[str, Path]) -> None:
    command = _edge("people", "add", "--config", str(config), "--ref", person.ref, "--name", person.name)
    print(f"  $ dsr-edge people add --ref {person.ref} --name '{person.name}' {' '.join(person.photos)}")
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, *(str(photos[name]) for name in person.photos)],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    print("".join(f"    {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
    if done.returncode:
        msg = f"{person.name} was not registered (exit status {done.returncode}):\n{done.stderr.strip()}"
        raise DemoError(msg)


@contextlib.contextmanager
def _subscriber(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    roster, ready = folder / "roster.csv", folder / "subscribed"
    export = _edge("people", "roster", "--config", str(folder / "box.yaml"), "--out", str(roster))
    subprocess.run(export, check=True, capture_output=True, env=_environment())  # noqa: S603 - ours
    command = [sys.executable, "-m", "field_test.watch", "--port", str(port), "--roster", str(roster)]
    command += ["--out", str(folder / "events.jsonl"), "--ready", str(ready)]
    with subprocess.Popen(command, cwd=assets.ROOT) as process:  # noqa: S603 - our own module
        try:
            deadline = time.monotonic() + 15
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DemoError("the subscriber did not reach the broker\n  fix: run the demo again")
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()


def _run_daemon(folder: Path, config: Path, *, seconds: float) -> None:
    command = _edge("run", "--config", str(config), "--show", str(folder / "show.mp4"), "--log-json")
    log = folder / "daemon.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=_environment())  # noqa: S603 - ours
        try:
            status = process.wait(timeout=seconds + _SPARE_S)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=20)
    if status != 0:
        last = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-8:])
        ended = "did not end" if status is None else f"ended with status {status}"
        msg = f"the daemon {ended}; the end of {log}:\n{last}"
        raise DemoError(msg)


def _environment() -> dict[str, str]:
    """Return the environment of the box's commands: as here, and no service manager to talk to."""
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}


if __name__ == "__main__":
    sys.exit(main())
