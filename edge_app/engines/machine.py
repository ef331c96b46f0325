"""What an engine is bound to: the GPU, its compute capability, the driver, the board's L4T release.

Asked of the CUDA driver itself (``libcuda.so.1``), so that neither TensorRT nor pycuda is needed to say
that there is no GPU here, or that a plan was built for another one. What cannot be found is None.

The driver calls have not run on a device yet; what is said without a GPU has.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_RELEASE: Final = Path("/etc/nv_tegra_release")
_L4T: Final = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NAME_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU: its name, compute capability (``8.7``) and the driver's CUDA version (``12.6``)."""

    name: str
    compute_capability: str
    cuda: str


def find_gpu() -> Gpu | None:
    """Return the first GPU that the CUDA driver knows, None where there is no driver or no GPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count, version = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    failed = (
        driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, _NAME_BYTES, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
        or driver.cuDriverGetVersion(ctypes.byref(version))
    )
    if failed:
        return None
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(name=name.value.decode(), compute_capability=f"{major.value}.{minor.value}", cuda=cuda)


def find_l4t(path: Path = _RELEASE) -> str | None:
    """Return the Jetson's L4T release (``36.4.3``), None on other machines."""
    try:
        match = _L4T.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return f"{match[1]}.{match[2]}" if match else None


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the instruction sets of the first core as Linux names them; empty where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(match[1].split()) if match else frozenset()
