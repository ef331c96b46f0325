"""The one way from a picture and five landmarks to what the recogniser eats.

Training, calibration, the engine's acceptance test and the daemon all call these functions, so a
picture is never prepared in two ways. The parameters have an id and a hash; the hash stands in
every artefact (model manifest, gallery, calibration manifest, engine), and a mismatch is an error
when the artefact is loaded.

The five landmarks (the person's right eye, left eye, nose tip, right and left mouth corner, as they
appear from left to right in the picture) are moved by a least-squares similarity transform
(Umeyama 1991) onto the 112x112 ArcFace template times two. Pixels are sampled bilinearly over a
constant black border and scaled to ``(x - 127.5) / 127.5`` in RGB.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

CROP_SIZE: Final = 224

#: The ArcFace template for a 112x112 crop (insightface ``arcface_dst``): eyes, nose, mouth corners.
ARCFACE_TEMPLATE_112: Final[npt.NDArray[np.float32]] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)

_PARAMETERS: Final = {
    "template": "arcface-112-x2",
    "points": [[round(float(x), 4), round(float(y), 4)] for x, y in ARCFACE_TEMPLATE_112],
    "size": CROP_SIZE,
    "transform": "similarity-umeyama",
    "sampling": "bilinear",
    "border": "constant-0",
    "channels": "RGB",
    "dtype": "float32",
    "scale": "(x-127.5)/127.5",
}

#: Human-readable name of this preprocessing.
PREPROCESS_ID: Final = "arcface-x2-224-rgb-v1"

#: SHA-256 over the canonical JSON of the parameters; what artefacts carry.
PREPROCESS_SHA256: Final[str] = hashlib.sha256(
    json.dumps(_PARAMETERS, sort_keys=True, separators=(",", ":")).encode()
).hexdigest()


def similarity_transform(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Return the 2x3 similarity transform that moves `source` onto `target` with least squares.

    Both are (N, 2), N >= 2, in pixels. Umeyama, *Least-squares estimation of transformation
    parameters between two point patterns* (1991), eq. 40-43, without reflection.

    Raises:
        ValueError: the shapes differ, or all source points coincide.
    """
    src = np.asarray(source, dtype=np.float64)
    dst = np.asarray(target, dtype=np.float64)
    if src.shape != dst.shape or src.ndim != 2 or src.shape[1] != 2 or len(src) < 2:  # noqa: PLR2004
        msg = f"need two (N, 2) arrays with N >= 2; received {src.shape} and {dst.shape}"
        raise ValueError(msg)
    src_mean, dst_mean = src.mean(axis=0), dst.mean(axis=0)
    src_c, dst_c = src - src_mean, dst - dst_mean
    variance = (src_c**2).sum() / len(src)
    if not np.isfinite(variance) or variance < 1e-12:  # noqa: PLR2004 - pixels squared: one point
        msg = f"landmarks coincide or are not finite; received {src.tolist()}"
        raise ValueError(msg)
    u, s, vt = np.linalg.svd(dst_c.T @ src_c / len(src))
    d = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = u @ np.diag(d) @ vt
    scale = (s * d).sum() / variance
    matrix = np.empty((2, 3))
    matrix[:, :2] = scale * rotation
    matrix[:, 2] = dst_mean - matrix[:, :2] @ src_mean
    return matrix


def align(image: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return the aligned face crop, (224, 224, 3) uint8 **RGB**.

    Args:
        image: (H, W, 3) uint8 BGR, as OpenCV reads it.
        landmarks: (5, 2) in pixels of `image`: eyes, nose, mouth corners, left to right in the picture.

    Raises:
        ValueError: wrong shape or dtype, or landmarks that coincide.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:  # noqa: PLR2004
        msg = f"image must be (H, W, 3) uint8 BGR; received {image.shape} {image.dtype}"
        raise ValueError(msg)
    matrix = similarity_transform(landmarks, ARCFACE_TEMPLATE_112 * 2)
    crop = cv2.warpAffine(image, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderValue=0)
    return np.ascontiguousarray(crop[:, :, ::-1])


def normalise(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return `crops`, (..., H, W, 3) uint8 RGB, as float32 in -1..1: ``(x - 127.5) / 127.5``."""
    result = crops.astype(np.float32)
    result -= 127.5
    result /= 127.5
    return result


def landmarks_of_aligned(size: int = 128) -> npt.NDArray[np.float32]:
    """Return where the five landmarks are, (5, 2), in a `size`-pixel photo of the aligned sets.

    CelebA, LFW and the strangers come aligned on ``q = (p - 56) * 128/136 + 64`` (128 pixels), so
    the template is mapped the same way; `align` then takes such a photo like any other.
    """
    return ((ARCFACE_TEMPLATE_112 - 56.0) * (128.0 / 136.0) + 64.0) * np.float32(size / 128.0)
