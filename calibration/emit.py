"""The scales as TensorRT's calibration cache, for builders that calibrate implicitly (up to 10.x) and DLA.

The text is one line ``TRT-<version>-EntropyCalibration2`` and then ``tensor: hex`` for each tensor, hex
being the big-endian float32 bits of ``amax / 127``. TensorRT reads a cache without asking which weights
it was made for; therefore a sidecar ``.json`` holds the hashes, and `calibration.calibrator` refuses a
cache whose sidecar names another network.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any, Final

from calibration.manifest import replace_file
from edge_app.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALGORITHM: Final = "EntropyCalibration2"
_MAKE: Final = "make it again: dsr-engine quantize"


def cache_text(scales: Mapping[str, float], *, version: str) -> str:
    """Return the cache of `scales` (tensor -> amax / 127) for TensorRT `version`, e.g. ``100300``.

    Raises:
        ModelError: `version` is no number, or a tensor's name cannot stand in the cache.
    """
    if not version.isdigit():
        raise ModelError(
            f"the cache's TensorRT version must be digits; received {version!r}",
            fix="8.6.2: 8602, 10.3: 100300",
        )
    lines = [f"TRT-{version}-{ALGORITHM}"]
    for name, scale in scales.items():
        if "\n" in name or not name:
            raise ModelError(f"the tensor {name!r} cannot stand in a calibration cache")
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return "\n".join(lines) + "\n"


def parse_cache(text: str) -> tuple[str, dict[str, float]]:
    """Return the version and the scales of a cache's text.

    Raises:
        ModelError: it is not a cache of this algorithm.
    """
    head, *lines = text.splitlines() or [""]
    parts = head.split("-", 2)
    if len(parts) != 3 or parts[0] != "TRT" or parts[2] != ALGORITHM:  # noqa: PLR2004 -- TRT-version-algorithm
        raise ModelError(
            f"this is no calibration cache of {ALGORITHM}: it starts with {head!r:.60}", fix=_MAKE
        )
    scales: dict[str, float] = {}
    for number, line in enumerate(lines, start=2):
        name, colon, value = line.rpartition(": ")
        try:
            (scales[name],) = struct.unpack(">f", bytes.fromhex(value))
        except (ValueError, struct.error) as error:
            raise ModelError(
                f"line {number} of the calibration cache cannot be read: {line!r:.60}", fix=_MAKE
            ) from error
        if not colon:
            raise ModelError(
                f"line {number} of the calibration cache names no tensor: {line!r:.60}", fix=_MAKE
            )
    return parts[1], scales


def write_cache(path: Path, scales: Mapping[str, float], *, hashes: Mapping[str, str], version: str) -> Path:
    """Write the cache to `path`, its sidecar ``path.json`` last; return the sidecar's path.

    `hashes` stand in the sidecar; ``model_sha256`` must be that of the file that is built with the cache:
    the equalised network, not the plain one.
    """
    text = cache_text(scales, version=version).encode()
    replace_file(path, text)
    sidecar = path.with_name(f"{path.name}.json")
    record = {
        "file": path.name,
        "sha256": hashlib.sha256(text).hexdigest(),
        **hashes,
        "tensorrt": version,
        "run_on_device": False,
    }
    replace_file(sidecar, (json.dumps(record, indent=1) + "\n").encode())
    return sidecar


def read_cache(path: Path, *, model_sha256: str) -> bytes:
    """Return the bytes of the cache at `path` if it belongs to the network with `model_sha256`.

    Raises:
        ModelError: missing, altered, or made for other weights.
    """
    sidecar = path.with_name(f"{path.name}.json")
    try:
        content, record = path.read_bytes(), _record(sidecar)
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be read: {error.strerror}", fix=_MAKE) from error
    if record.get("model_sha256") != model_sha256:
        raise ModelError(
            f"the calibration cache {path} was made for other weights: "
            f"{record.get('model_sha256')!s:.16}, this network is {model_sha256:.16}",
            fix=_MAKE,
        )
    found = hashlib.sha256(content).hexdigest()
    if record.get("sha256") != found:
        raise ModelError(f"the calibration cache {path} was altered after it was written", fix=_MAKE)
    parse_cache(content.decode())
    return content


def _record(sidecar: Path) -> dict[str, Any]:
    try:
        record = json.loads(sidecar.read_bytes())
    except ValueError as error:
        raise ModelError(f"{sidecar} is not JSON: {error}", fix=_MAKE) from error
    return record if isinstance(record, dict) else {}
