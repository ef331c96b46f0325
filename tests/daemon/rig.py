"""A whole box in a folder: its configuration, its daemon as a process, and somebody who listens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.rig import Watcher, wait_until
from field_test import assets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "dsr_inception.json"


class Listener(Watcher):
    """An independent subscriber to everything of the mine."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind that came."""
        return [event for event in self.events() if event["kind"] == kind]

    def states(self) -> list[dict[str, Any]]:
        """Return what came under the box's retained state."""
        return [arrival.event for arrival in self.arrivals if arrival.topic.endswith("/state")]

    def wait_for(self, what: Callable[[], object], *, timeout: float = 20.0) -> None:
        """Wait until `what` holds."""
        wait_until(lambda: bool(what()), timeout=timeout, what="what the test waits for")


class BoxRig:
    """One box in `folder`, on the broker at `port`."""

    def __init__(self, folder: Path, *, detector: Path, port: int) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {
            "box": {"site": "m1", "node": "b1"},
            "cameras": [{"name": "cam", "zone": "z1", "source": {"kind": "v4l2"}}],
            "detector": assets.detector_section(detector),
            "recogniser": {"model": str(MODEL)},
            "delivery": {"brokers": [{"host": "127.0.0.1", "port": port}]},
        }
        self._started: list[subprocess.Popen[str]] = []

    def watch(self, source: Path, **options: object) -> None:
        """Give the box one camera that plays `source`."""
        kind = "folder" if source.is_dir() else "file"
        spec = {"kind": kind, "path": str(source), **options}
        self.config["cameras"] = [{"name": "cam", "zone": "z1", "source": spec}]

    def command(self, *args: str) -> list[str]:
        """Return a command line of dsr-edge for this box."""
        (self.folder / "box.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        return [sys.executable, "-m", "edge_app.cli.main", *args, "--config", str(self.folder / "box.yaml")]

    def cli(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*args), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
        )

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the daemon."""
        with (self.folder / "box.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                self.command("run", *args), cwd=ROOT, stdout=log, stderr=log, text=True,
                env={**os.environ, **(env or {})},
            )  # fmt: skip
        self._started.append(process)
        return process

    def log(self) -> str:
        """Return what the daemon has logged so far."""
        return (self.folder / "box.log").read_text(encoding="utf-8")

    def register(self, ref: str, photos: Sequence[Path]) -> None:
        """Register somebody with the box's own command."""
        done = self.cli("people", "add", "--ref", ref, "--name", f"Name of {ref}", *map(str, photos))
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """End what still runs."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(10)
