"""``dsr-edge look CAMERA``: one frame with boxes, and what to change so that faces are recognised.

For the engineer on the ladder: point the camera, look, move the lamp, look again. The picture stays
on the box.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_app.cli.parsers import add_config_option
from edge_app.errors import ConfigError
from edge_app.records import Rejection

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from edge_app.cli.parsers import SubParsers
    from edge_app.config import Config
    from edge_app.config.schema import CameraConfig
    from edge_app.records import FrameFaces, TrackedFace

ADVICE: Final = {
    Rejection.TOO_SMALL: "bring the camera nearer, zoom in, or raise detector.long_side",
    Rejection.BLURRED: "focus the lens, wipe it, or shorten the exposure with more light",
    Rejection.TOO_DARK: "add light on the faces, not on the wall behind them",
    Rejection.TOO_BRIGHT: "turn the lamp away or lower the exposure",
    Rejection.LOW_CONTRAST: "wipe the lens; dust or steam is between the camera and the face",
    Rejection.TURNED_AWAY: "mount the camera where people walk towards it, at eye height",
    Rejection.IMPLAUSIBLE_LANDMARKS: "probably not a face; if it is one, give it more light",
    Rejection.AT_THE_EDGE: "aim so that faces pass through the middle of the picture",
}
_DARK: Final = 12.0
_BRIGHT: Final = 230.0


def add_parser(subparsers: SubParsers) -> None:
    """Add ``look``."""
    parser = subparsers.add_parser("look", help="show one frame of a camera with boxes and advice")
    parser.add_argument("camera", help="the camera's name in the configuration")
    parser.add_argument(
        "--out", type=Path, default=Path("look.jpg"), help="picture to write (default: look.jpg)"
    )
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look once; returns 0 when at least one face can be recognised, 1 when none can."""
    from edge_app.annotate import annotated
    from edge_app.faces.stage import FaceStage
    from edge_app.faces.track import Tracker
    from edge_app.wiring import build_detector, first_frame, load_config, quality_limits

    config = load_config(args.config)
    frame = first_frame(_camera(config, args.camera))
    detector = build_detector(config)
    stage = FaceStage(detector=detector, tracker=Tracker(), limits=quality_limits(config))
    faces = stage.process(frame)
    detector.close()
    _write(args.out, annotated(faces, {}))
    for line in report(faces):
        print(line)
    print(f"picture: {args.out}")
    return 0 if any(face.quality.rejection is None for face in faces.faces) else 1


def report(faces: FrameFaces) -> list[str]:
    """Return what a person should read about one frame, a line each."""
    brightness = float(faces.frame.pixels.mean())
    lines = [f"frame {faces.frame.width}x{faces.frame.height}, brightness {brightness:.0f} of 255"]
    if brightness < _DARK:
        lines.append("  advice: almost black: is the lamp on, the lens covered?")
    elif brightness > _BRIGHT:
        lines.append("  advice: almost white: a lamp shines into the lens, or the exposure is too long")
    if not faces.faces:
        lines.append("no face found. Stand where people will walk, facing the camera, and look again.")
    return lines + [line for number, face in enumerate(faces.faces, 1) for line in _face_lines(number, face)]


def _face_lines(number: int, face: TrackedFace) -> Sequence[str]:
    quality = face.quality
    measured = (
        f"face {number}: {quality.face_px:.0f} px, brightness {quality.brightness:.0f}, "
        f"sharpness {quality.sharpness:.1f}, yaw {quality.yaw:+.0f}, weight {quality.score:.2f}"
    )
    if quality.rejection is None:
        return [f"{measured}: good"]
    advice = ADVICE.get(quality.rejection, "")
    return [f"{measured}: {quality.rejection.value}", f"  advice: {advice}"]


def _camera(config: Config, name: str) -> CameraConfig:
    cameras = {camera.name: camera for camera in config.cameras}
    if name not in cameras:
        raise ConfigError(f"no camera {name!r}", fix=f"the configuration has: {', '.join(cameras)}")
    return cameras[name]


def _write(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    import cv2

    try:
        written = cv2.imwrite(str(path), picture)
    except cv2.error:  # an ending that OpenCV does not know
        written = False
    if not written:
        raise ConfigError(f"cannot write {path}", fix="give --out a .jpg or .png in a folder you may write")
