"""Real faces with what is known about them: the public photos, and the research data where it is."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_app.faces.detect import CenterFace, YuNet
from edge_app.records import Box

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.faces.detect import Detector
    from edge_app.records import Face


@dataclass(frozen=True)
class KnownFace:
    """A photo with one known face; `box` None where only the number of faces is known, yaw in degrees."""

    name: str
    pixels: npt.NDArray[np.uint8]
    box: Box | None
    yaw: float
    yaw_tolerance: float


def read(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode a picture as BGR."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


@pytest.fixture(scope="session")
def known_faces(demo_photos: Mapping[str, Path], data_dir: Path | None) -> list[KnownFace]:
    """Return the public portraits (seen from the front), and the development people of the MF photos."""
    faces = [KnownFace(name, read(path.read_bytes()), None, 0.0, 25.0) for name, path in demo_photos.items()]
    if data_dir is None:
        return faces
    people = set(json.loads((data_dir.parent / "splits.json").read_text())["mf_development"])
    with tarfile.open(data_dir / "mf_photos.tar") as archive:
        members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
        prefix = next(name for name in members if name.endswith("manifest.json")).removesuffix(
            "manifest.json"
        )
        manifest = archive.extractfile(members[f"{prefix}manifest.json"])
        assert manifest is not None
        for row in json.load(io.TextIOWrapper(manifest)):
            if row["person"] in people:
                file = archive.extractfile(members[prefix + row["file"]])
                assert file is not None
                faces.append(KnownFace(row["file"], read(file.read()), Box(*row["box"]), row["yaw"], 16.0))
    return faces


@pytest.fixture(scope="session")
def portrait(demo_photos: Mapping[str, Path]) -> npt.NDArray[np.uint8]:
    """Return the astronaut's portrait, (512, 512, 3) BGR: one sharp face of about 100 pixels."""
    return read(demo_photos["astronaut"].read_bytes())


@pytest.fixture(scope="session")
def detector(centerface: Path) -> CenterFace:
    """Return the real CenterFace."""
    return CenterFace.open(centerface)


@pytest.fixture(scope="session")
def found(
    known_faces: list[KnownFace], detectors: list[Detector]
) -> list[tuple[str, list[tuple[KnownFace, tuple[Face, ...]]]]]:
    """Return what each detector finds in each known photo, looked for once."""
    return [
        (type(detector).__name__, [(known, detector.detect(known.pixels)) for known in known_faces])
        for detector in detectors
    ]


@pytest.fixture(scope="session")
def detectors(detector: CenterFace, data_dir: Path | None) -> list[Detector]:
    """Return every detector that there is a file for: CenterFace, and YuNet from the research data."""
    yunet = data_dir / "models" / "face_detection_yunet_2023mar.onnx" if data_dir else None
    return [detector, YuNet(yunet)] if yunet is not None and yunet.is_file() else [detector]


def walking(portrait: npt.NDArray[np.uint8], *, frames: int) -> list[npt.NDArray[np.uint8]]:
    """Return a 640x360 walk: two copies of the portrait's face move towards each other's side and on."""
    face = cv2.resize(portrait[20:276, 130:320], (143, 192), interpolation=cv2.INTER_AREA)
    result = []
    for index in range(frames):
        frame = np.full((360, 640, 3), 60, np.uint8)
        for left, top in ((20 + 5 * index, 20), (470 - 5 * index, 150)):
            frame[top : top + 192, left : left + 143] = face
        result.append(frame)
    return result


@pytest.fixture(scope="session")
def clips(
    portrait: npt.NDArray[np.uint8], data_dir: Path | None
) -> list[tuple[str, list[npt.NDArray[np.uint8]], int]]:
    """Return name, frames and number of faces of real clips, or of one made from the portrait."""
    if data_dir is None:
        return [("portraits", walking(portrait, frames=20), 2)]
    expected = {
        "face-demographics-walking-and-pause": 3,
        "head-pose-face-detection-female-and-male": 2,
        "head-pose-face-detection-female": 1,
        "head-pose-face-detection-male": 1,
    }
    result = []
    for name, count in expected.items():
        video = cv2.VideoCapture(str(data_dir / "clips" / f"{name}.gif"))
        frames = []
        while (got := video.read())[0]:
            frames.append(np.asarray(got[1], dtype=np.uint8))
        result.append((name, frames, count))
    return result
