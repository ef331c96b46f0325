"""A box on paper for the doctor: a configuration, a small but real recogniser, a service of sockets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edge_app.config import Config, load_config
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
DIM = 16


def write_recogniser(folder: Path) -> Path:
    """Write a network that averages each channel and mixes the three into 16 numbers; return its manifest."""
    folder.mkdir(exist_ok=True)
    mix = np.random.default_rng(7).normal(size=(3, DIM)).astype(np.float32)
    offset = np.linspace(-1, 1, DIM, dtype=np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["faces"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "mix", "offset"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIM])],
        [numpy_helper.from_array(mix, "mix"), numpy_helper.from_array(offset, "offset")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "tiny.onnx"
    onnx.save(model, str(path))
    content = path.read_bytes()
    manifest: dict[str, Any] = {
        "name": "tiny",
        "kind": "recogniser",
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "input": {"name": "faces", "shape": [None, 3, 224, 224], "dtype": "float32"},
        "output": {"name": "embedding", "dim": DIM},
        "preprocess": {"id": PREPROCESS_ID, "sha256": PREPROCESS_SHA256},
        "threshold": 0.4,
        "threshold_source": "a test",
    }
    (folder / "tiny.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder / "tiny.json"


@pytest.fixture
def tiny_recogniser(tmp_path: Path) -> Path:
    """Return the manifest of a small but real recogniser, where `box` expects it."""
    return write_recogniser(tmp_path / "models")


@pytest.fixture
def box(tmp_path: Path) -> Callable[..., tuple[Path, Config]]:
    """Return a maker of configurations: sections given replace the usual ones; returns file and values."""

    def make(**sections: Any) -> tuple[Path, Config]:
        tree: dict[str, Any] = {
            "box": {"site": "mine-1", "node": "box-01"},
            "cameras": [
                {"name": "in", "zone": "portal", "source": {"kind": "v4l2", "device": "/dev/video0"}},
            ],
            "recogniser": {"model": "models/tiny.json"},
            "delivery": {"brokers": [{"host": "127.0.0.1", "port": 1}]},
            **sections,
        }
        path = tmp_path / "box.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return path, load_config(path)

    return make


class ServiceManager:
    """Listens as systemd does, and starts the service with the variables that systemd sets."""

    process: subprocess.Popen[str]

    def __init__(self, folder: Path, *, watchdog_s: float) -> None:
        self._path = folder / "notify.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._log = (folder / "service.log").open("w+", encoding="utf-8")
        self._watchdog_us = int(watchdog_s * 1e6)
        self.heard: list[str] = []

    def start(self, *command: str) -> None:
        """Start `command` as the service; what it writes to standard error is its log."""
        environ = dict(os.environ, NOTIFY_SOCKET=str(self._path), WATCHDOG_USEC=str(self._watchdog_us))
        environ.pop("WATCHDOG_PID", None)
        environ["PYTHONPATH"] = str(ROOT)
        self.process = subprocess.Popen(command, env=environ, text=True, stderr=self._log)

    def listen(self, seconds: float, *, until: str | None = None) -> list[str]:
        """Return the lines heard within `seconds`, or as soon as a line starts with `until`."""
        lines: list[str] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                lines += self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                break
            if until is not None and any(line.startswith(until) for line in lines):
                break
        self.heard += lines
        return lines

    def log(self) -> str:
        """Return what the service has written to its log."""
        return Path(self._log.name).read_text(encoding="utf-8")

    def close(self) -> None:
        """Kill what is left."""
        self._socket.close()
        self._log.close()
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()


@pytest.fixture
def service_manager(tmp_path: Path) -> Iterator[Callable[..., ServiceManager]]:
    """Return a maker of the service manager: ``service_manager(watchdog_s=...)``."""
    made: list[ServiceManager] = []

    def make(*, watchdog_s: float) -> ServiceManager:
        made.append(ServiceManager(tmp_path, watchdog_s=watchdog_s))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a finder of ports that nobody listens on."""

    def find() -> int:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return int(sock.getsockname()[1])

    return find


@pytest.fixture
def mosquitto_in(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., int]]:
    """Return a starter of real brokers: ``mosquitto_in(*lines_of_its_configuration)`` gives the port."""
    running: list[subprocess.Popen[bytes]] = []
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"

    def start(*lines: str) -> int:
        port = free_port()
        conf = tmp_path / f"mosquitto-{port}.conf"
        conf.write_text("\n".join([f"listener {port} 127.0.0.1", *lines, ""]), encoding="utf-8")
        quiet = subprocess.DEVNULL
        running.append(subprocess.Popen([program, "-c", str(conf)], stdout=quiet, stderr=quiet))
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return port
            time.sleep(0.02)
        pytest.fail("mosquitto did not start")

    yield start
    for process in running:
        process.terminate()
        process.wait()
