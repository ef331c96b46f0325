"""The Python and the packages that run here, and whether OpenCV can do what the cameras need."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Final

from edge_app.health.doctor import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_app.config import Config
    from edge_app.health.doctor import Finding

NAME: Final = "software"
#: What the box imports, and the distribution that brings it.
_NEEDED: Final = {
    "numpy": "numpy",
    "paho.mqtt": "paho-mqtt",
    "pydantic": "pydantic",
    "structlog": "structlog",
    "yaml": "PyYAML",
}
_RUNTIMES: Final = ("tensorrt", "openvino", "onnxruntime")


def check_software(config: Config) -> Iterator[Finding]:
    """Look at Python, the packages, OpenCV and the inference runtimes."""
    found = [f"Python {sys.version.split()[0]}"]
    for module, distribution in _NEEDED.items():
        version, problem = _version(module, distribution)
        if problem:
            yield fail(NAME, f"{distribution} cannot be used: {problem}", fix=f"pip install {distribution}")
        else:
            found.append(f"{distribution} {version}")
    yield ok(NAME, ", ".join(found))
    yield from _opencv(config)
    yield from _runtimes()


def _opencv(config: Config) -> Iterator[Finding]:
    try:
        import cv2
    except ImportError as error:
        yield fail(
            NAME,
            f"OpenCV cannot be imported: {error}",
            fix="without JetPack: pip install opencv-python-headless\n"
            "with JetPack: its OpenCV 4.8 needs numpy<2, and an environment with --system-site-packages "
            "(systemd/install.sh makes one from locks/jetson.txt)",
        )
        return
    gstreamer = _built_with("GStreamer", cv2.getBuildInformation())
    yield ok(NAME, f"OpenCV {cv2.__version__}, {'with' if gstreamer else 'without'} GStreamer")
    needing = [camera.name for camera in config.cameras if camera.source.kind == "gstreamer"]
    if needing and not gstreamer:
        yield fail(
            NAME,
            f"camera {', '.join(needing)} has a GStreamer source, but this OpenCV has no GStreamer",
            fix="use JetPack's or the distribution's OpenCV (python3-opencv), or a source of another kind",
        )


def _built_with(feature: str, build: str) -> bool:
    """Return whether OpenCV's build information says YES to `feature`."""
    lines = [line for line in build.splitlines() if line.strip().startswith(f"{feature}:")]
    return any("YES" in line for line in lines)


def _version(module: str, distribution: str) -> tuple[str, str]:
    """Import `module`; return its version, and why it cannot be used (empty if it can)."""
    try:
        imported = importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library that is not there
        return "", str(error)
    try:
        return metadata.version(distribution), ""
    except metadata.PackageNotFoundError:  # JetPack's modules have no metadata
        return str(getattr(imported, "__version__", "of unknown version")), ""


def _runtimes() -> Iterator[Finding]:
    tried = [(name, *_version(name, name)) for name in _RUNTIMES]
    found = [f"{name} {version}" for name, version, problem in tried if not problem]
    if found:
        yield ok(NAME, f"inference with {', '.join(found)}")
    else:
        yield warn(
            NAME,
            f"no inference runtime here (looked for {', '.join(_RUNTIMES)})",
            fix='without JetPack: pip install "dsr-edge[cpu]"; with JetPack: --system-site-packages',
        )
