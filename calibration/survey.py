"""From a folder of MF pictures to a calibration manifest, or to a refusal that says why.

A balanced choice of pictures is made first (every person, pose and ash level in turn), then faces are
looked for as the box does, crops are cut through the one preprocessing path, and the checks run on
what came out. Under simulated ash that hides the face, the clean picture's landmarks are used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from calibration.checks import Finding, Sample, check_set, duplicates, light_of
from calibration.manifest import CalibrationManifest, Entry
from calibration.pictures import LEVELS, Picture, PictureFolder
from edge_app.errors import PhotoError
from edge_app.faces.preprocess import align
from edge_app.records import Box

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from edge_app.faces.detect import Detector

#: Pictures that are chosen unless the caller says otherwise.
COUNT: Final = 96
SAME_FACE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a folder: the manifest, made even where `findings` refuse it."""

    manifest: CalibrationManifest
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """Whether the set must not be used."""
        return any(finding.refuses for finding in self.findings)


def choose(pictures: Sequence[Picture], count: int, *, seed: int = 0) -> list[Picture]:
    """Return at most `count` pictures: people, poses and levels are drawn in turn, the rarest first."""
    rng = np.random.default_rng(seed)
    waiting = [pictures[i] for i in rng.permutation(len(pictures))]
    times: dict[tuple[str, str], int] = {}
    chosen: list[Picture] = []
    while waiting and len(chosen) < count:
        cost = [
            sum(times.get((kind, getattr(p, kind)), 0) * weight for kind, weight in _WEIGHT.items())
            for p in waiting
        ]
        picture = waiting.pop(int(np.argmin(cost)))
        chosen.append(picture)
        for kind in _WEIGHT:
            label = (kind, getattr(picture, kind))
            times[label] = times.get(label, 0) + 1
    return sorted(chosen, key=lambda p: p.key)


#: A level has many pictures, a person few: one more of the same person costs more.
_WEIGHT: Final = {"level": 3.0, "pose": 7.0, "person": 10.0}


def survey(
    folder: PictureFolder,
    detector: Detector,
    *,
    consent: Mapping[str, Any] | None,
    held_out: Collection[str] | None,
    people: Collection[str] | None = None,
    count: int = COUNT,
    seed: int = 0,
) -> Survey:
    """Choose, cut and check pictures of `folder`.

    Args:
        folder: the pictures.
        detector: finds the faces, as on the box.
        consent: the consent note (`read_consent`), None where there is none.
        held_out: people on whom engines are judged; None where nobody said.
        people: take only these people's pictures.
        count: take at most so many pictures.
        seed: of the choice.

    Raises:
        PhotoError: the folder holds no picture of `people`, or a picture cannot be read.
    """
    everything = folder.pictures()
    pictures = [p for p in everything if people is None or p.person in people]
    if not pictures:
        raise PhotoError(f"{folder.path} has no picture of the people asked for", fix="check --people")
    entries, samples, dropped = _cut(folder, choose(pictures, count, seed=seed), detector)
    dropped += [
        f"{name}: neither PERSON/LEVEL/POSE with LEVEL one of {', '.join(LEVELS)} nor in manifest.json"
        for name in folder.misplaced(everything)
    ]
    repeated = {later: earlier for earlier, later in duplicates(samples)}
    for later, earlier in repeated.items():
        dropped.append(f"{entries[later].picture.key}: the same picture as {entries[earlier].picture.key}")
    kept = [i for i in range(len(samples)) if i not in repeated]
    samples = [samples[i] for i in kept]
    findings = check_set(samples, held_out=held_out, consented=_consented(consent))
    manifest = CalibrationManifest(
        entries=tuple(entries[i] for i in kept),
        consent=consent or {},
        held_out=None if held_out is None else len(held_out),
        warnings=tuple(f.text for f in findings if not f.refuses),
        dropped=tuple(dropped),
    )
    return Survey(manifest, tuple(findings))


def _cut(
    folder: PictureFolder, chosen: Sequence[Picture], detector: Detector
) -> tuple[list[Entry], list[Sample], list[str]]:
    entries: list[Entry] = []
    samples: list[Sample] = []
    dropped: list[str] = []
    for picture in chosen:
        marks = find_landmarks(folder, picture, detector)
        if marks is None:
            dropped.append(f"{picture.key}: no face found")
            continue
        marks = np.round(marks.astype(np.float64), 2).astype(np.float32)
        crop = align(folder.read(picture), marks)
        luminance, spread, thumbnail = light_of(crop)
        digest = hashlib.sha256(folder.read_bytes(picture.file)).hexdigest()
        red, green, blue = (round(float(value), 2) for value in crop.mean(axis=(0, 1)))
        points = tuple((round(float(x), 2), round(float(y), 2)) for x, y in marks)
        entries.append(Entry(picture, digest, points, (red, green, blue), round(luminance, 2)))
        samples.append(
            Sample(
                person=picture.person,
                level=picture.level,
                pose=picture.pose,
                file_sha256=digest,
                simulated=picture.simulated,
                luminance=luminance,
                spread=spread,
                mean=(red, green, blue),
                thumbnail=thumbnail,
            )
        )
    return entries, samples, dropped


def find_landmarks(
    folder: PictureFolder, picture: Picture, detector: Detector
) -> npt.NDArray[np.float32] | None:
    """Return the landmarks (5, 2) of the picture's face, None where none is found.

    The face is the one that overlaps the known box most, else the largest.
    """
    tried = [picture]
    if picture.simulated:
        tried.append(replace(picture, level=LEVELS[0], simulated=False))
    for one in tried:
        faces = detector.detect(folder.read(one))
        if picture.box is not None:
            wanted = Box(*picture.box)
            near = [face for face in faces if face.box.iou(wanted) >= SAME_FACE]
            best = max(near, key=lambda face: face.box.iou(wanted), default=None)
        else:
            best = max(faces, key=lambda face: face.box.width * face.box.height, default=None)
        if best is not None:
            return np.asarray(best.landmarks, np.float32)
    return None


def read_consent(folder: PictureFolder, given: Path | None) -> Mapping[str, Any] | None:
    """Return the consent note: `given`, or ``consent.json`` in the folder, or None.

    It says ``statement``, ``by``, ``date`` and ``people``: a list of names, or ``"*"`` for all of them.

    Raises:
        PhotoError: there is a note that does not say these four things.
    """
    if given is None and "consent.json" not in folder.names:
        return None
    where = str(given or f"{folder.path}/consent.json")
    try:
        note = json.loads(given.read_bytes() if given else folder.read_bytes("consent.json"))
        missing = [key for key in ("statement", "by", "date", "people") if not note[key]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PhotoError(f"the consent note {where} cannot be used: {error!r}", fix=_CONSENT_FIX) from error
    if missing or not isinstance(note["people"], (list, str)):
        raise PhotoError(
            f"the consent note {where} does not say {missing or 'which people'}", fix=_CONSENT_FIX
        )
    result: dict[str, Any] = dict(note)
    return result


_CONSENT_FIX: Final = (
    'write {"statement": "what they agreed to", "by": "who collected it", "date": "2026-11-01", '
    '"people": ["..."]}; "*" stands for everybody in the folder'
)


def _consented(note: Mapping[str, Any] | None) -> Collection[str] | None:
    if note is None:
        return None
    people = note["people"]
    return ["*"] if people == "*" else list(people)
