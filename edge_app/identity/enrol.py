"""Registering somebody from photos, by the operator's command and never by walking past.

A bad photo in the register costs more than a bad frame in the tunnel: it is wrong every day. So each
photo must show exactly one usable face, be no copy of a registered one, fit the person's other
photos, and not be more like somebody else who is registered. Good photos are registered even if
others of the same command are refused; every photo is reported with its quality, the nearest other
person, and the reason if it was refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from edge_app.errors import GalleryError, PhotoError
from edge_app.faces.preprocess import PREPROCESS_SHA256, align
from edge_app.faces.quality import QualityLimits, assess
from edge_app.identity.checks import Checks, Finding, Neighbours
from edge_app.identity.people import NewPhoto
from edge_app.identity.photos import PhotoFile, read_photo
from edge_app.identity.views import Coverage, View, views_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.faces.detect import Detector
    from edge_app.identity.crops import Crop
    from edge_app.identity.gallery import Gallery
    from edge_app.identity.people import StoredCrop
    from edge_app.records import Box, Embedding, Face, Quality

#: Half way between what the tunnel accepts and what is perfect: weights of .7 and more (`quality`).
PHOTO_LIMITS: Final = QualityLimits(
    min_face_px=48.0, min_sharpness=2.2, min_brightness=18.0, max_brightness=215.0, min_contrast=9.0
)
#: A face less than this share as wide as the largest stands far behind it: a passer-by, left out.
BACKGROUND_SHARE: Final = 1 / 3
_BATCH: Final = 8


class Embedder(Protocol):
    """What registering needs of `edge_app.embedding.recogniser.Recogniser`."""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model file."""
        ...

    def embed(self, crops: npt.NDArray[np.uint8]) -> list[Embedding]:
        """Return one embedding for each of (N, 224, 224, 3) uint8 RGB crops."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolOptions:
    """What a photo must be.

    Attributes:
        threshold: similarity from which the box takes two faces for one person.
        limits: the quality a face must have; higher than in the tunnel, because photos can be chosen.
        keep_crops: keep the aligned crop, so that a new model can embed it again.
        allow_lookalike: register even somebody who is taken for another registered person.
        allow_unlike: register even a photo that does not fit the person's others.
        each_view_once: refuse a photo that shows a side from which the person is registered already.
    """

    threshold: float
    limits: QualityLimits = field(default_factory=lambda: PHOTO_LIMITS)
    keep_crops: bool = True
    allow_lookalike: bool = False
    allow_unlike: bool = False
    each_view_once: bool = False


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """What became of one photo; `refused` is None if it was registered.

    Similarities are cosines: `nearest_score` to `nearest_ref`, the nearest other registered person,
    `own_score` to the most similar other photo of the person; None where there is none.
    """

    path: Path
    refused: PhotoError | None
    quality: Quality | None
    nearest_ref: str | None = None
    nearest_score: float | None = None
    own_score: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnrolReport:
    """What became of a command; `version` is the register's, None if no photo was good.

    `views` are the sides from which the person is registered now.
    """

    ref: str
    name: str
    photos: tuple[PhotoReport, ...]
    version: int | None
    views: Coverage = field(default_factory=Coverage)

    @property
    def added(self) -> int:
        """How many photos were registered."""
        return sum(photo.refused is None for photo in self.photos)


@dataclass(frozen=True, slots=True)
class _Candidate:
    path: Path
    sha256: str
    quality: Quality
    crop: Crop
    behind: int


def enrol(
    *,
    gallery: Gallery,
    detector: Detector,
    recogniser: Embedder,
    ref: str,
    name: str,
    paths: Sequence[Path | PhotoFile],
    options: EnrolOptions,
) -> EnrolReport:
    """Register the good ones among the photos in `paths` (files, or already read) for one person.

    Raises:
        GalleryError: bad reference or name, people of another model, or the register cannot be changed.
        ModelError: detector or recogniser failed.
    """
    gallery.create()
    people = gallery.people()
    snapshot = gallery.snapshot(model_sha256=recogniser.model_sha256, preprocess_sha256=PREPROCESS_SHA256)
    gallery.check_person(ref, name, people)
    known = {photo.source_sha256: person.ref for person in people for photo in person.photos}
    own = [photo.quality for person in people if person.ref == ref for photo in person.photos]
    candidates, refused = _read_all(paths, known, ref, detector, options.limits)
    if options.each_view_once:
        candidates, again = _each_view_once(candidates, own)
        refused += again
    embeddings = _embed([candidate.crop for candidate in candidates], recogniser)
    checks = Checks(
        neighbours=Neighbours(ref=ref, snapshot=snapshot, batch=embeddings),
        threshold=options.threshold,
        allow_lookalike=options.allow_lookalike,
        allow_unlike=options.allow_unlike,
    )
    reports = {report.path: report for report in refused}
    good: list[NewPhoto] = []
    for index, (candidate, embedding) in enumerate(zip(candidates, embeddings, strict=True)):
        found = checks.photo(index, candidate.path.name)
        reports[candidate.path] = _report(candidate, found)
        if found.refused is None:
            crop = candidate.crop if options.keep_crops else None
            good.append(NewPhoto(candidate.path.name, candidate.sha256, candidate.quality, embedding, crop))
    version = None
    if good:
        version = gallery.add(ref=ref, name=name, photos=good, expected_version=snapshot.version)
    views = Coverage.of([*own, *(photo.quality for photo in good)])
    order = dict.fromkeys(map(_path_of, paths))
    return EnrolReport(ref, name, tuple(reports[path] for path in order), version, views)


def reembed(*, gallery: Gallery, recogniser: Embedder) -> tuple[int, int]:
    """Embed every registered photo with `recogniser`; returns (photos, new version).

    Raises:
        GalleryError: a crop was not kept or was aligned otherwise, or the register cannot be changed.
        ModelError: the recogniser failed.
    """
    version = gallery.version
    embeddings: dict[int, Embedding] = {}
    unusable: dict[str, str] = {}
    batch: list[tuple[int, Crop]] = []
    for stored in gallery.crops():
        reason = _why_not(stored)
        if stored.crop is None or reason is not None:
            unusable[stored.ref] = reason or ""
        if stored.crop is None or unusable:
            continue
        batch.append((stored.photo, stored.crop))
        if len(batch) == _BATCH:
            embeddings.update(_embed_photos(batch, recogniser))
            batch.clear()
    embeddings.update(_embed_photos(batch, recogniser))
    if unusable:
        shown = ", ".join(f"{ref} ({reason})" for ref, reason in sorted(unusable.items())[:5])
        raise GalleryError(
            f"{len(unusable)} people cannot be embedded again: {shown}; nothing was changed",
            fix="remove them and register them again from their photos",
        )
    if not embeddings:
        return 0, version
    return len(embeddings), gallery.store_embeddings(embeddings, expected_version=version)


def the_one_face(path: Path, pixels: npt.NDArray[np.uint8], detector: Detector) -> tuple[Face, int]:
    """Return the only face in a photo, and how many far smaller ones behind it were left out.

    Raises:
        PhotoError: there is none, or more than one (their boxes are named).
        ModelError: the detector failed.
    """
    faces = sorted(detector.detect(pixels), key=lambda face: face.box.area, reverse=True)
    if not faces:
        raise PhotoError(
            f"{path.name} shows no face",
            fix="use a photo of head and shoulders, from the front, in even light",
        )
    smallest = BACKGROUND_SHARE * min(faces[0].box.width, faces[0].box.height)
    rivals = [face for face in faces if min(face.box.width, face.box.height) >= smallest]
    if len(rivals) > 1:
        boxes = ", ".join(_box_text(face.box) for face in rivals)
        raise PhotoError(
            f"{path.name} shows {len(rivals)} faces: {boxes}", fix="cut the photo so that it shows one person"
        )
    return faces[0], len(faces) - 1


def _box_text(box: Box) -> str:
    return f"{box.width:.0f}x{box.height:.0f} at ({box.x:.0f}, {box.y:.0f})"


class UnusableFace(PhotoError):
    """The one face of a photo is not good enough; `quality` says why."""

    def __init__(self, what: str, *, fix: str, quality: Quality) -> None:
        super().__init__(what, fix=fix)
        self.quality = quality


def _path_of(photo: Path | PhotoFile) -> Path:
    return photo.path if isinstance(photo, PhotoFile) else photo


def _each_view_once(
    candidates: list[_Candidate], own: list[Quality]
) -> tuple[list[_Candidate], list[PhotoReport]]:
    """Return the photos that show a side that nothing else shows, and the reports of the others."""
    views = views_of([*own, *(candidate.quality for candidate in candidates)])
    seen = dict.fromkeys(views[: len(own)], "a registered photo")
    kept: list[_Candidate] = []
    refused: list[PhotoReport] = []
    for candidate, view in zip(candidates, views[len(own) :], strict=True):
        name = candidate.path.name
        if view not in seen:
            kept.append(candidate)
            seen[view] = name
            continue
        what = (
            f"{name} shows no view clearly" if view is None else f"{name} shows the same view as {seen[view]}"
        )
        error = PhotoError(
            f"{what} (turned {candidate.quality.yaw:+.0f}, nodded {candidate.quality.pitch:+.0f} degrees)",
            fix=f"take one photo each of {', '.join(view.value for view in View)}",
        )
        refused.append(PhotoReport(candidate.path, error, candidate.quality))
    return kept, refused


def _candidate(
    given: Path | PhotoFile, known: dict[str, str], detector: Detector, limits: QualityLimits
) -> _Candidate:
    photo = given if isinstance(given, PhotoFile) else read_photo(given)
    path = photo.path
    owner = known.get(photo.sha256)
    if owner is not None:
        raise PhotoError(f"{path.name} is the same file as one of {owner}'s", fix="leave it out")
    face, behind = the_one_face(path, photo.pixels, detector)
    try:
        crop = align(photo.pixels, face.landmarks)
    except ValueError:
        crop = None
    quality = assess(photo.pixels, face, crop, limits=limits)
    if crop is None or quality.rejection is not None:
        reason = "implausible_landmarks" if quality.rejection is None else quality.rejection.value
        raise UnusableFace(
            f"the face in {path.name} cannot be used: {reason}",
            fix=_ADVICE.get(reason, "use another photo"),
            quality=quality,
        )
    return _Candidate(path=path, sha256=photo.sha256, quality=quality, crop=crop, behind=behind)


_ADVICE = {
    "too_small": "use a photo that was taken nearer, or has more pixels",
    "blurred": "use a sharp photo",
    "too_dark": "use a photo with light on the face",
    "too_bright": "use a photo that is not overexposed",
    "low_contrast": "use a photo in better light",
    "turned_away": "use a photo from the front, or turned by at most 45 degrees",
    "at_the_edge": "use a photo that shows the whole face",
}


def _read_all(
    paths: Sequence[Path | PhotoFile],
    known: dict[str, str],
    ref: str,
    detector: Detector,
    limits: QualityLimits,
) -> tuple[list[_Candidate], list[PhotoReport]]:
    """Return the usable photos, and the reports of the others."""
    candidates: list[_Candidate] = []
    refused: list[PhotoReport] = []
    for path in {_path_of(one): one for one in paths}.values():
        try:
            candidate = _candidate(path, known, detector, limits)
        except PhotoError as error:  # noqa: PERF203 - one bad photo is no reason to lose the others
            quality = error.quality if isinstance(error, UnusableFace) else None
            refused.append(PhotoReport(_path_of(path), error, quality))
        else:
            candidates.append(candidate)
            known[candidate.sha256] = ref
    return candidates, refused


def _report(candidate: _Candidate, found: Finding) -> PhotoReport:
    behind = (f"{candidate.behind} small face(s) in the background left out",) if candidate.behind else ()
    return PhotoReport(
        path=candidate.path,
        refused=found.refused,
        quality=candidate.quality,
        nearest_ref=found.nearest_ref,
        nearest_score=found.nearest_score,
        own_score=found.own_score,
        warnings=behind + found.warnings,
    )


def _embed(crops: list[Crop], recogniser: Embedder) -> list[Embedding]:
    return recogniser.embed(np.stack(crops)) if crops else []


def _embed_photos(batch: list[tuple[int, Crop]], recogniser: Embedder) -> dict[int, Embedding]:
    embeddings = _embed([crop for _, crop in batch], recogniser)
    return {photo: embedding for (photo, _), embedding in zip(batch, embeddings, strict=True)}


def _why_not(stored: StoredCrop) -> str | None:
    if stored.crop is None:
        return "crops were not kept"
    return None if stored.aligned_by == PREPROCESS_SHA256 else "aligned by another preprocessing"
