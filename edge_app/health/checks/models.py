"""Detector and recogniser: the files are the ones their manifests describe, and they run here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.health.doctor import ok, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_app.config import Config
    from edge_app.embedding.recogniser import Recogniser
    from edge_app.faces.detect import Detector
    from edge_app.health.doctor import Finding

DETECTOR: Final = "detector"
RECOGNISER: Final = "recogniser"
_FRAME: Final = (360, 640, 3)
_CROP: Final = (1, 224, 224, 3)
_RUNS: Final = 3


def check_detector(config: Config, open_detector: Callable[[], Detector]) -> Iterator[Finding]:
    """Open the detector as the daemon does (which checks size and hash); let it look at an empty frame.

    Raises:
        ModelError: it is missing, altered, or does not run.
    """
    detector = open_detector()
    try:
        grey = np.full(_FRAME, 90, dtype=np.uint8)
        took_ms = _best_ms(lambda: detector.detect(grey))
        files = " + ".join(path.name for path in (config.detector.model, config.detector.beside) if path)
        yield ok(DETECTOR, f"{files}: {detector.backend}, {took_ms:.0f} ms at 640x360")
        if faces := detector.detect(grey):
            yield warn(
                DETECTOR,
                f"sees {len(faces)} face(s) in an evenly grey picture",
                fix="raise detector.score, or restore the model from its release",
            )
    finally:
        detector.close()


def check_recogniser(config: Config, open_recogniser: Callable[[], Recogniser]) -> Iterator[Finding]:
    """Open the recogniser (which checks size, hash and preprocessing) and embed one crop.

    Raises:
        ModelError: it is missing, altered, made with another preprocessing, or does not run.
    """
    recogniser = open_recogniser()
    try:
        crop = np.random.default_rng(1).integers(0, 255, _CROP, dtype=np.uint8)
        took_ms = _best_ms(lambda: recogniser.embed(crop))
        manifest = recogniser.manifest
        yield ok(
            RECOGNISER,
            f"{manifest.name} ({manifest.sha256[:12]}): {recogniser.backend}, {took_ms:.0f} ms a face, "
            f"preprocessing {manifest.preprocess_id}",
        )
        yield from _threshold(config, recogniser)
    finally:
        recogniser.close()


def _threshold(config: Config, recogniser: Recogniser) -> Iterator[Finding]:
    measured, own = recogniser.threshold, config.recogniser.threshold
    if own is None or own == measured:
        yield ok(RECOGNISER, f"named from similarity {measured:.3f} on, as measured for this model")
    elif own < measured:
        yield warn(
            RECOGNISER,
            f"recogniser.threshold is {own:.3f}, below the {measured:.3f} measured for this model: "
            "strangers will be named more often than its card says",
            fix="set recogniser.threshold to null, unless you measured the lower one on your own strangers",
        )
    else:
        yield ok(RECOGNISER, f"named from {own:.3f} on (configured; the model's own is {measured:.3f})")


def _best_ms(run: Callable[[], object]) -> float:
    """Return the shortest of a few runs in milliseconds; the first one also warms up."""
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) * 1000
