"""What an engine depends on: all of it, in one record, so that it is rebuilt when and only when it must.

An engine that outlives a JetPack upgrade, or was copied from another board, loads with luck and answers
wrongly without. The record holds the network, its scales, the preprocessing, the type, the builder, the
GPU and the board's release; its hash names the engine, and where two records differ, the difference is
the reason that is printed.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from edge_app.engines.machine import find_gpu, find_l4t

if TYPE_CHECKING:
    from collections.abc import Mapping

    from build_engine.trt_api import BuildRequest, Toolkit

#: Counted up when the same inputs shall give another engine.
FORMAT: Final = 2
_WORDS: Final = {
    "model_sha256": "the network",
    "scales_sha256": "the scales",
    "calibration_manifest_sha256": "the calibration pictures",
    "preprocess_sha256": "the preprocessing",
    "embeds_as": "the model that it stands for",
    "precision": "the precision",
    "max_batch": "the largest batch",
    "dla_core": "the DLA core",
    "size": "the picture's size",
    "builder": "the builder",
    "builder_version": "the builder's version",
    "gpu": "the GPU",
    "compute_capability": "the compute capability",
    "cuda": "the CUDA driver",
    "l4t": "the board's L4T release",
    "format": "the engine's format",
}
_SHOWN: Final = 16


def fingerprint_of(
    source: Mapping[str, Any], *, embeds_as: str, request: BuildRequest, toolkit: Toolkit
) -> dict[str, Any]:
    """Return the record of an engine that is to be built.

    Args:
        source: the manifest of the ONNX file that is built.
        embeds_as: SHA-256 of the FP32 model that the engine stands for.
        request: what to build; its workspace and caches do not matter.
        toolkit: who builds.
    """
    gpu = None if request.target else find_gpu()
    major_minor = f"{request.target[2:-1]}.{request.target[-1]}" if request.target else None
    record = {
        "format": FORMAT,
        "model_sha256": source["sha256"],
        "scales_sha256": source.get("scales_sha256"),
        "calibration_manifest_sha256": source.get("calibration_manifest_sha256"),
        "preprocess_sha256": (source.get("preprocess") or {}).get("sha256"),
        "embeds_as": embeds_as,
        "precision": request.precision,
        "max_batch": request.max_batch,
        "dla_core": request.dla_core,
        "builder": toolkit.name,
        "builder_version": toolkit.version,
        "gpu": gpu.name if gpu else None,
        "compute_capability": gpu.compute_capability if gpu else major_minor,
        "cuda": gpu.cuda if gpu else None,
        "l4t": find_l4t(),
    }
    return record if request.size is None else record | {"size": list(request.size)}


def fingerprint_hash(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return in words what changed from one record to another; empty when nothing did."""
    keys = [key for key in new if old.get(key) != new[key]]
    return tuple(f"{_WORDS.get(key, key)}: {_shown(old.get(key))} -> {_shown(new[key])}" for key in keys)


def _shown(value: object) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:_SHOWN]}..." if len(text) > 2 * _SHOWN else text
