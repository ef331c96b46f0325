"""``dsr-field score``, its first half: the real box runs over every shot, and what it said is kept.

People are registered once, with the box's own command. Each shot then gets a box of its own (a copy of the
register, an empty outbox, an empty ledger), a broker, and an independent subscriber that writes down the
events as they arrive. A shot whose run stands is not run again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from edge_app.errors import ConfigError, DsrError
from edge_app.identity.calibration import path_beside
from field_test import assets, standing
from field_test.broker import demo_broker
from field_test.score import read_rows
from field_test.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from field_test.truth import Clip, Truth

#: The box may take so many seconds for each second of the clips, and so many more.
_SLOWEST, _SPARE_S = 60.0, 120.0


class RunFailed(DsrError):
    """The box did not come to the end of a shot."""

    code = "DSR-900"


def run_all(
    folder: Path,
    out: Path,
    *,
    settings: Mapping[str, Any],
    only: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Run the box over every shot in `folder`; return the shots' folders.

    Args:
        folder: of ``dsr-field make``, or real clips with a truth: one folder a shot.
        out: where each run is kept, one folder a shot.
        settings: sections of the box's configuration that differ from the defaults.
        only: these shots; all if none is named.
        say: told what goes on.

    Raises:
        ConfigError: there is no shot, or `out` holds runs of another configuration.
        RunFailed: a registration or the daemon failed; the message holds the end of its log.
        BrokerError: there is no broker to be had.
    """
    shots = sorted(path.parent for path in folder.glob("*/truth.jsonl"))
    if unknown := set(only) - {shot.name for shot in shots}:
        raise ConfigError(f"{folder} has no shot {', '.join(sorted(unknown))}", fix="look into the folder")
    shots = [shot for shot in shots if not only or shot.name in only]
    if not shots:
        raise ConfigError(
            f"{folder} holds no shot", fix="make some with `dsr-field make`, or see docs/field-test.md"
        )
    out.mkdir(parents=True, exist_ok=True)
    register, photos = out / "people.db", folder / "registration"
    made = {shot.name: _made_with(shot, settings, photos, register) for shot in shots}
    found = {shot.name: standing.stands(out / shot.name, made[shot.name]) for shot in shots}
    if not all(ready for ready, _ in found.values()):
        _register_all(photos, out, settings, say)
    for shot in shots:
        ready, word = found[shot.name]
        if word:
            say(f"{shot.name}: {word}")
        if ready:
            continue
        begun = time.monotonic()
        frames = run_shot(shot, out / shot.name, register=register, settings=settings)
        (out / shot.name / standing.DONE).write_text(json.dumps(made[shot.name]), encoding="utf-8")
        spent = time.monotonic() - begun
        say(f"{shot.name}: {frames} frames in {spent:.0f} s ({frames / spent:.1f} a second)")
    return shots


def _made_with(shot: Path, settings: Mapping[str, Any], photos: Path, register: Path) -> dict[str, Any]:
    truth = read_truth(shot / "truth.jsonl")
    document = _configuration(shot, truth, port=0, settings=settings)
    calibration = path_beside(register)
    return standing.made_with(document, shot, truth, photos=photos, calibration=calibration)


def run_shot(shot: Path, out: Path, *, register: Path, settings: Mapping[str, Any]) -> int:
    """Run the box over one shot and keep its events, trace and log in `out`; returns the number of frames."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "state").mkdir(parents=True)
    if register.exists():
        shutil.copy(register, out / "state" / "people.db")
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(path_beside(register), path_beside(out / "state" / "people.db"))
    truth = read_truth(shot / "truth.jsonl")
    with demo_broker(out) as (_, port):
        config = write_config(out, shot, truth, port=port, settings=settings)
        with _subscriber(out, port) as watching:
            _run_box(out, shot, config, truth)
            with contextlib.suppress(subprocess.TimeoutExpired):
                watching.wait(timeout=20)
    return len(read_rows(out / "trace.jsonl")) - 1


def write_config(out: Path, shot: Path, truth: Truth, *, port: int, settings: Mapping[str, Any]) -> Path:
    """Write the configuration of a shot's box and return its path; `settings` win over the defaults."""
    path = out / "box.yaml"
    document = _configuration(shot, truth, port=port, settings=settings)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")  # JSON is YAML
    return path


def _configuration(shot: Path, truth: Truth, *, port: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "box": {"site": "field", "node": "box-01"},
        "cameras": [_camera(clip, shot) for clip in truth.clips],
        "detector": assets.detector_section(),
        "recogniser": {"model": str(assets.ROOT / "models" / "dsr_inception.json")},
        "gallery": {"path": "state/people.db"},
        "presence": {"muster_every_s": 5.0},
        "delivery": {"outbox": "state/outbox.db", "brokers": [{"host": "127.0.0.1", "port": port}]},
    }
    for section, values in settings.items():
        document[section] = {**document.get(section, {}), **values}
    return document


def _camera(clip: Clip, shot: Path) -> dict[str, Any]:
    path = (shot / clip.file).resolve()
    kind = "folder" if path.is_dir() else "file"
    camera: dict[str, Any] = {
        "name": clip.camera,
        "zone": clip.zone,
        "source": {"kind": kind, "path": str(path), "pace": "every_frame"},
    }
    if clip.portal:
        camera["portals"] = [{"name": "way", "line": [[0.5, 0.0], [0.5, 1.0]], "inside": [0.9, 0.5]}]
    return camera


def _edge(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edge_app.cli.main", *arguments]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}


def _register_all(photos: Path, out: Path, settings: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Register everybody who has photos, into ``people.db`` in `out`, unless they stand there."""
    work = out / "register"
    document = {
        "box": {"site": "field", "node": "box-01"},
        "cameras": [{"name": "none", "zone": "none", "source": {"kind": "v4l2"}}],
        "detector": assets.detector_section(),
        "recogniser": {"model": str(assets.ROOT / "models" / "dsr_inception.json")},
        "delivery": {"brokers": [{"host": "127.0.0.1"}]},
    }
    for section in ("detector", "recogniser"):
        document[section] = {**document[section], **settings.get(section, {})}  # type: ignore[dict-item]
    made = {"photos": standing.digest(sorted(photos.rglob("*")), photos), "box": standing.plain(document)}
    note = out / standing.REGISTERED
    if (out / "people.db").exists() and not note.exists():
        return  # of an older version, or put there by hand
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) == made:
        return
    shutil.rmtree(work, ignore_errors=True)
    (work / "state").mkdir(parents=True)
    config = work / "box.yaml"
    config.write_text(json.dumps(document), encoding="utf-8")
    people = sorted(path for path in photos.glob("*") if path.is_dir()) if photos.is_dir() else []
    for person in people:
        files = [str(file) for file in sorted(person.iterdir())]
        command = _edge("people", "add", "--config", str(config), "--ref", person.name, "--name", person.name)
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, *files],
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            cwd=assets.ROOT,
        )
        if done.returncode:
            raise RunFailed(
                f"{person.name} was not registered (status {done.returncode}): {done.stderr.strip()[-800:]}",
                fix="look at the photos under registration/",
            )
    if people:
        shutil.copy(work / "state" / "people.db", out / "people.db")
    note.write_text(json.dumps(made), encoding="utf-8")
    say(f"registered: {len(people)}")


@contextlib.contextmanager
def _subscriber(out: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    ready = out / "subscribed"
    command = [
        sys.executable,
        "-m",
        "field_test.watch",
        "--port",
        str(port),
        "--out",
        str(out / "events.jsonl"),
    ]
    command += ["--ready", str(ready)]
    with (
        (out / "seen.log").open("wb") as seen,
        subprocess.Popen(command, cwd=assets.ROOT, stdout=seen) as process,  # noqa: S603 - our own
    ):
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RunFailed(
                        "the subscriber did not reach the broker", fix="run the same command again"
                    )
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()


def _run_box(out: Path, shot: Path, config: Path, truth: Truth) -> None:
    command = [sys.executable, "-m", "field_test.box", "--config", str(config), "--shot", str(shot)]
    command += ["--trace", str(out / "trace.jsonl")]
    if (asked := shot / "shot.json").exists():
        jump = json.loads(asked.read_text(encoding="utf-8")).get("clock_jump")
        command += [] if jump is None else ["--clock-jump", str(jump["at_s"]), str(jump["by_s"])]
    seconds = max((frame.t for frame in truth.frames.values()), default=0.0)
    path = out / "daemon.log"
    with path.open("wb") as log:
        try:
            status = subprocess.run(  # noqa: S603 - our own module
                command, stdout=log, stderr=log, env=_environment(), cwd=assets.ROOT, check=False,
                timeout=seconds * _SLOWEST + _SPARE_S,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            status = None
    if status != 0:
        last = "\n".join(f"    {line}" for line in path.read_text(errors="replace").splitlines()[-8:])
        ended = "did not end" if status is None else f"ended with status {status}"
        raise RunFailed(f"the box {ended}; the end of {path}:\n{last}", fix="see the whole log")
