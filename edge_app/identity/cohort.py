"""Strangers as embeddings: what the acceptance threshold is calibrated against.

Made by the operator from photos of people who are not registered: one person a photo, or one a folder. A
stranger is what the box compares, a passage: the pooled views of one photo (`passage`), or of a person's
photos. The file has embeddings and hashes only, and no names; it is biometric data
all the same, and is written for its owner alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_app.errors import GalleryError, PhotoError
from edge_app.faces.preprocess import PREPROCESS_SHA256, align
from edge_app.identity.passage import pooled, views_of_photo
from edge_app.identity.photos import read_photo

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.faces.detect import Detector
    from edge_app.identity.enrol import Embedder

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
#: Photos of one person that are pooled at most, as the box pools views.
_MOST: Final = 12
#: What a file of this kind is; an older one held single photos, which are compared otherwise.
_KIND: Final = "passages-v1"
_LEAST_PX: Final = 40.0


@dataclass(frozen=True, slots=True)
class Cohort:
    """(M, D) float32 embeddings of unit length by one model, one a person: the pooled views of a passage."""

    vectors: npt.NDArray[np.float32]
    model_sha256: str
    preprocess_sha256: str
    #: Whether most have several photos; views simulated from one are less like everybody than real ones.
    by_person: bool = False


def build(
    folder: Path, *, detector: Detector, recogniser: Embedder, by_person: bool = False
) -> tuple[Cohort, int]:
    """Embed the largest face of every photo in `folder` (and below); return them, and how many had none.

    Args:
        folder: the photos; of each person one, or with `by_person` all that lie in one folder.
        detector: finds the faces.
        recogniser: the model in use.
        by_person: photos in one folder are of one person.

    Raises:
        GalleryError: no photo in the folder has a usable face.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    people: dict[Path, list[Path]] = {}
    for path in paths:
        people.setdefault(path.parent if by_person else path, []).append(path)
    without = several = 0
    vectors: list[npt.NDArray[np.float32]] = []
    for number, own in enumerate(people.values()):
        crops = [crop for crop in (_crop(path, detector) for path in own[:_MOST]) if crop is not None]
        without += len(own[:_MOST]) - len(crops)
        several += len(crops) > 1
        if crops:
            views = views_of_photo(crops[0], seed=number) if len(crops) == 1 else np.stack(crops)
            vectors.append(pooled([embedding.vector for embedding in recogniser.embed(views)]))
    if not vectors:
        raise GalleryError(
            f"none of {len(paths)} photos in {folder} has a usable face", fix="give a folder of photos"
        )
    most = 2 * several > len(vectors)
    return Cohort(np.stack(vectors), recogniser.model_sha256, PREPROCESS_SHA256, most), without


def save(path: Path, cohort: Cohort) -> None:
    """Write the cohort, mode 0600.

    Raises:
        GalleryError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            np.savez(
                file,
                vectors=cohort.vectors,
                model=np.array(cohort.model_sha256),
                preprocess=np.array(cohort.preprocess_sha256),
                kind=np.array(_KIND),
                by_person=np.array(cohort.by_person),
            )
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise GalleryError(f"{path} cannot be written: {error.strerror}", fix="give another --out") from error


def load(path: Path, *, model_sha256: str) -> Cohort:
    """Read a cohort made by the model in use.

    Raises:
        GalleryError: no such file, not a cohort, damaged, or of another model or preprocessing.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            kind = str(file["kind"])
            found = Cohort(
                np.asarray(file["vectors"], np.float32),
                str(file["model"]),
                str(file["preprocess"]),
                bool(file["by_person"]),
            )
    except Exception as error:  # a damaged archive fails in a dozen ways
        raise GalleryError(
            f"{path} is not a cohort that can be read: {error}", fix="make it with `dsr-edge people cohort`"
        ) from error
    if kind != _KIND:
        raise GalleryError(
            f"{path} is a cohort of another kind: {kind:.40}",
            fix="make it again with `dsr-edge people cohort`",
        )
    if (found.model_sha256, found.preprocess_sha256) != (model_sha256, PREPROCESS_SHA256):
        raise GalleryError(
            f"{path} was made with model {found.model_sha256[:12]}, in use is {model_sha256[:12]}",
            fix="make it again with `dsr-edge people cohort`",
        )
    norms = np.linalg.norm(found.vectors, axis=-1)
    if found.vectors.ndim != 2 or not np.all(np.abs(norms - 1.0) < 1e-3):  # noqa: PLR2004
        raise GalleryError(
            f"{path} has no embeddings of length 1", fix="make it again with `dsr-edge people cohort`"
        )
    return found


def _crop(path: Path, detector: Detector) -> npt.NDArray[np.uint8] | None:
    try:
        photo = read_photo(path)
    except PhotoError:
        return None
    faces = [face for face in detector.detect(photo.pixels) if face.box.width >= _LEAST_PX]
    if not faces:
        return None
    try:
        return align(photo.pixels, max(faces, key=lambda face: face.box.area).landmarks)
    except ValueError:
        return None
