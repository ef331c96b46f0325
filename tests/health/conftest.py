"""A box on paper for the doctor: a configuration, a small but real recogniser, a service of sockets."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from edge_app.config import Config, load_config
from edge_app.faces.preprocess import PREPROCESS_ID, PREPROCESS_SHA256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
