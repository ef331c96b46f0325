"""The faces stage: a frame in, its faces out, each with its track, its quality and its crop.

One stage for one camera, because the tracker remembers; the detector may be shared by several
cameras as long as one frame at a time goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_app.faces.preprocess import align
from edge_app.faces.quality import QualityLimits, assess
from edge_app.records import FrameFaces, TrackedFace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edge_app.faces.detect import Detector
    from edge_app.faces.track import Tracker
    from edge_app.records import Face, Frame


class FaceStage:
    """Detects, follows and judges the faces of one camera.

    Args:
        detector: finds faces; may be shared, one frame at a time.
        tracker: this camera's own.
        limits: from where on a face is not used.
    """

    def __init__(self, *, detector: Detector, tracker: Tracker, limits: QualityLimits | None = None) -> None:
        self._detector = detector
        self._tracker = tracker
        self._limits = limits or QualityLimits()

    def use_limits(self, limits: QualityLimits) -> None:
        """Judge faces by other limits, from the next frame on; any thread."""
        self._limits = limits

    def process(self, frame: Frame) -> FrameFaces:
        """Return the faces of `frame` that belong to a track, and the tracks that ended by now.

        Raises:
            ModelError: the detector failed.
        """
        found = self._detector.detect(frame.pixels)
        tracked = self._tracker.update(found, frame.mono_ns)
        faces = tuple(
            self._judge(track, face, frame.pixels)
            for track, face in zip(tracked.ids, found, strict=True)
            if track is not None
        )
        return FrameFaces(frame=frame, faces=faces, ended=tracked.ended, crossed=tracked.crossed)

    def finish(self) -> tuple[str, ...]:
        """End all tracks and return their names: the camera has ended."""
        return self._tracker.finish()

    def _judge(self, track: str, face: Face, pixels: npt.NDArray[np.uint8]) -> TrackedFace:
        crop = align_or_none(pixels, face)
        quality = assess(pixels, face, crop, limits=self._limits)
        return TrackedFace(
            track=track, face=face, quality=quality, crop=crop if quality.rejection is None else None
        )


def align_or_none(pixels: npt.NDArray[np.uint8], face: Face) -> npt.NDArray[np.uint8] | None:
    """Return the aligned (224, 224, 3) uint8 RGB crop of `face`, None where its landmarks coincide."""
    try:
        return align(pixels, face.landmarks)
    except ValueError:
        return None
