"""``dsr-edge people add``: register somebody from photos, or guided before a camera."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.people_text import report_json, report_text
from edge_app.errors import ConfigError, PhotoError, SourceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from edge_app.config import Config
    from edge_app.config.schema import CameraConfig
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.faces.detect import Detector
    from edge_app.identity.gallery import Gallery
    from edge_app.identity.photos import PhotoFile


def add_action(actions: Any) -> None:
    """Add ``add`` to the actions of ``people``."""
    add = actions.add_parser("add", help="register somebody from photos, or add photos to them")
    add.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="each shows one person")
    add.add_argument("--ref", required=True, metavar="CARD", help="the reference that goes on the wire")
    add.add_argument("--name", required=True, help="stays on this box")
    add.add_argument("--guided", metavar="CAMERA", help="take the seven views from this camera instead")
    add.add_argument("--timeout", type=float, default=180.0, help="of --guided, seconds (180)")
    add.add_argument("--each-view-once", action="store_true", help="refuse a second photo of one view")
    add.add_argument(
        "--allow-lookalike", action="store_true", help="even if the box takes them for somebody registered"
    )
    add.add_argument(
        "--allow-unlike", action="store_true", help="even photos that do not fit the person's others"
    )
    add.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Register; returns the exit status.

    Raises:
        PhotoError: no photo could be used.
        ConfigError: neither or both of photos and camera, or no such camera.
        SourceError: the camera cannot be opened.
    """
    from edge_app.identity.enrol import EnrolOptions, enrol
    from edge_app.identity.gallery import Gallery
    from edge_app.wiring import build_detector, build_recogniser, load_config

    if bool(args.photos) == bool(args.guided):
        raise ConfigError("nothing to register from", fix="give photos, or --guided CAMERA, and not both")
    config = load_config(args.config)
    gallery = Gallery(path=config.gallery.path)
    with (
        contextlib.closing(build_detector(config)) as detector,
        contextlib.closing(build_recogniser(config)) as recogniser,
    ):
        photos = args.photos
        if args.guided:
            photos = _taken(config, args, gallery, detector)
        options = EnrolOptions(
            threshold=_threshold(config, recogniser),
            keep_crops=config.gallery.keep_crops,
            allow_lookalike=args.allow_lookalike,
            allow_unlike=args.allow_unlike,
            each_view_once=args.each_view_once,
        )
        report = enrol(
            gallery=gallery,
            detector=detector,
            recogniser=recogniser,
            ref=args.ref,
            name=args.name,
            paths=photos,
            options=options,
        )
    print(json.dumps(report_json(report), indent=2) if args.json else report_text(report))
    if report.version is None:
        raise PhotoError(
            f"none of {len(report.photos)} photo(s) could be used for {args.ref}; nothing was changed",
            fix="see the reason of each photo",
        )
    return 0


def _threshold(config: Config, recogniser: Recogniser) -> float:
    """Return from which similarity on the daemon takes two faces for one person: calibrated, if it was."""
    from edge_app.faces.preprocess import PREPROCESS_SHA256
    from edge_app.identity import calibration

    if config.recogniser.threshold is not None:
        return config.recogniser.threshold
    found = calibration.load(calibration.path_beside(config.gallery.path))
    made_by = (recogniser.model_sha256, PREPROCESS_SHA256)
    if found is None or (found.model_sha256, found.preprocess_sha256) != made_by:
        return recogniser.threshold
    return found.threshold


def _taken(
    config: Config, args: argparse.Namespace, gallery: Gallery, detector: Detector
) -> tuple[PhotoFile, ...]:
    """Return the views that the person showed to the camera.

    Raises:
        PhotoError: not one was shown in time.
    """
    from edge_app.identity.enrol import PHOTO_LIMITS
    from edge_app.identity.guide import Guide, take_views
    from edge_app.identity.views import Coverage, front_pitch

    camera = next((one for one in config.cameras if one.name == args.guided), None)
    if camera is None:
        names = ", ".join(one.name for one in config.cameras)
        raise ConfigError(f"there is no camera {args.guided!r:.40}", fix=f"one of: {names}")
    known = []
    if gallery.path.exists():
        people = {person.ref: person for person in gallery.people()}
        known = [photo.quality for photo in people[args.ref].photos] if args.ref in people else []
    guide = Guide(
        detector=detector,
        limits=PHOTO_LIMITS,
        have=Coverage.of(known).have,
        front_pitch=front_pitch(known),
        name=camera.name,
    )
    deadline = time.monotonic() + args.timeout
    photos = take_views(
        guide,
        _frames(camera),
        tell=lambda text: print(text, file=sys.stderr, flush=True),
        over=lambda: time.monotonic() > deadline,
    )
    if not photos:
        wanted = ", ".join(view.value for view in guide.missing)
        raise PhotoError(f"no view was taken from {camera.name}; wanted: {wanted}", fix="see what it said")
    return photos


def _frames(camera: CameraConfig) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the camera's frames until it gives no more.

    Raises:
        SourceError: it cannot be opened; a camera that the daemon reads may be busy.
    """
    from edge_app.capture.sources import open_source
    from edge_app.wiring import source_spec

    try:
        source = open_source(source_spec(camera))
    except SourceError as error:
        raise SourceError(error.what, fix=f"{error.fix}; stop the daemon if it reads this camera") from error
    try:
        while (pixels := source.read()) is not None:
            yield pixels
    finally:
        source.close()
