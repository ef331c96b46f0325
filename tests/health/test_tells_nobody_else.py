"""The box tells the mine and nobody else: the inference runtime's telemetry stays off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from pathlib import Path
from edge_app.engines.onnx_engine import OnnxEngine
import numpy as np
engine = OnnxEngine(Path(sys.argv[1]))
engine.run(np.zeros((1, 3, 224, 224), np.float32))
"""


def test_onnx_runtime_makes_neither_device_id_nor_upload_cache(tiny_recogniser: Path, tmp_path: Path) -> None:
    """It makes both before it sends anything; CI's own variables, which also silence it, are taken away."""
    home = tmp_path / "home"
    home.mkdir()
    kept = ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environ = {key: os.environ[key] for key in kept if key in os.environ}
    environ |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONPATH": str(ROOT)}
    network = tiny_recogniser.with_suffix(".onnx")
    subprocess.run([sys.executable, "-c", RUN, str(network)], env=environ, check=True, cwd=ROOT)
    assert [] == list(home.rglob("*"))
