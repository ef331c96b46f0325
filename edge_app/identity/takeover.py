"""Taking people over from another box: from a bundle, all of them or none.

What is read twice is never believed twice: the first reading finds out whether the file is whole, of
this mine, and usable by this box's model (who has no embedding by it is embedded again from the crop);
the second, within one transaction, puts everybody in. A person who was registered here is replaced by
what the bundle says of them. Each person who changes is a line in the register's list of changes.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_app.errors import GalleryError
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.identity import store
from edge_app.identity.bundle import read_records
from edge_app.identity.export import PNG, VERSION, sha256_of
from edge_app.identity.gallery import Gallery
from edge_app.identity.match import templates_of
from edge_app.identity.rows import (
    insert_embedding,
    insert_photo,
    note_change,
    quality_from,
    read_snapshot,
    state_of,
)
from edge_app.records import Embedding

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    import numpy.typing as npt

    from edge_app.identity.crops import Crop
    from edge_app.identity.enrol import Embedder

_BATCH: Final = 8
_NEWER: Final = "update this box's software"


@dataclass(frozen=True, slots=True)
class Imported:
    """What taking a bundle over changed; `version` is the register's after it, `embedded` again here."""

    added: int
    replaced: int
    removed: int
    unchanged: int
    embedded: int
    previous_version: int
    version: int
    sha256: str


@dataclass(slots=True)
class _Found:
    """What the first reading of a bundle finds."""

    names: dict[str, str] = field(default_factory=dict)
    photos: dict[str, str] = field(default_factory=dict)
    vectors: dict[str, Embedding] = field(default_factory=dict)
    embedded: int = 0


def import_people(
    *,
    gallery: Gallery,
    path: Path,
    key: bytes,
    site: str,
    recogniser: Embedder,
    threshold: float,
    sha256: str | None = None,
    replace: bool = False,
    keep_crops: bool = True,
    allow_lookalike: bool = False,
) -> Imported:
    """Take over everybody in a bundle, wholly or not at all.

    Args:
        gallery: the register; made if there is none.
        path: the bundle.
        key: the operator's key for bundles.
        site: this box's mine; a bundle of another is refused.
        recogniser: this box's model; who lacks an embedding by it gets one.
        threshold: similarity from which the box takes two faces for one person.
        sha256: refuse the file unless this is its SHA-256.
        replace: remove whoever is not in the bundle.
        keep_crops: keep the crops, so that a new model can embed everybody again.
        allow_lookalike: take over even somebody whom the box takes for another registered person.

    Raises:
        GalleryError: for whatever reason, nothing was changed.
        ModelError: the recogniser failed; nothing was changed.
    """
    gallery.create()
    try:
        with path.open("rb") as file:
            found_sha256 = sha256_of(file)
            if sha256 is not None and found_sha256 != sha256.lower():
                raise GalleryError(
                    f"{path.name} is not the file that was named: its SHA-256 is {found_sha256}",
                    fix="copy the right file, or name this one",
                )
            version = gallery.version
            found = _first_reading(file, key, path.name, site, recogniser)
            _check_lookalikes(gallery, found, recogniser, threshold, replace=replace, allow=allow_lookalike)
            counts = _second_reading(
                _photos(file, key, path.name, site),
                gallery,
                found,
                model=(recogniser.model_sha256, PREPROCESS_SHA256),
                version=version,
                replace=replace,
                keep_crops=keep_crops,
            )
    except OSError as error:
        raise GalleryError(f"{path} cannot be read: {error.strerror}", fix="copy it there first") from error
    return Imported(*counts, found.embedded, version, gallery.version, found_sha256)


def _photos(file: BinaryIO, key: bytes, name: str, site: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the photos of a bundle that is whole and of this mine; the counts are checked at the end."""
    file.seek(0)
    records = read_records(file, key=key, name=name)
    head, _ = next(records)
    if head.get("v") != VERSION:
        raise GalleryError(f"{name} is of another version", fix=_NEWER)
    if head.get("site") != site:
        raise GalleryError(
            f"{name} is of another mine: {head.get('site')!r:.40}, not {site!r}", fix="take this mine's"
        )
    photos, people = 0, set()
    for fields, blob in records:
        photos += 1
        people.add(fields.get("ref"))
        yield fields, blob
    if (photos, len(people)) != (head.get("photos"), head.get("people")):
        raise GalleryError(f"{name} does not hold what it says", fix="make it again: dsr-edge people export")


def _first_reading(file: BinaryIO, key: bytes, name: str, site: str, recogniser: Embedder) -> _Found:
    found = _Found()
    batch: list[tuple[str, Crop]] = []
    try:
        for fields, blob in _photos(file, key, name, site):
            sha256, ref = str(fields["source_sha256"]), fields["ref"]
            Gallery.check_person(ref, fields["name"], ())
            quality_from(json.dumps(fields["quality"]))
            if found.names.setdefault(ref, fields["name"]) != fields["name"] or sha256 in found.photos:
                raise GalleryError(f"{name} contradicts itself about {ref}", fix="make it again")
            found.photos[sha256] = ref
            known = _embedding_by(fields["embeddings"], recogniser)
            if known is not None:
                found.vectors[sha256] = known
            elif blob and fields["aligned_by"] == PREPROCESS_SHA256:
                batch.append((sha256, PNG.decode(blob)))
            else:
                raise GalleryError(
                    f"{ref} cannot be taken over: no embedding by this box's model and no usable crop",
                    fix="register them here from photos, or export from a box that keeps crops",
                )
            if len(batch) == _BATCH:
                _embed(batch, recogniser, found)
        _embed(batch, recogniser, found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GalleryError(f"{name} is of another version ({error!r:.80})", fix=_NEWER) from error
    return found


def _embedding_by(embeddings: Sequence[Any], recogniser: Embedder) -> Embedding | None:
    for model, preprocess, vector in embeddings:
        if (model, preprocess) == (recogniser.model_sha256, PREPROCESS_SHA256):
            values = np.frombuffer(base64.b64decode(vector, validate=True), dtype="<f4").astype(np.float32)
            return Embedding(vector=values, model_sha256=model, preprocess_sha256=preprocess)
    return None


def _embed(batch: list[tuple[str, Crop]], recogniser: Embedder, found: _Found) -> None:
    if batch:
        made = recogniser.embed(np.stack([crop for _, crop in batch]))
        found.vectors.update(zip([sha256 for sha256, _ in batch], made, strict=True))
        found.embedded += len(batch)
        batch.clear()


def _check_lookalikes(
    gallery: Gallery, found: _Found, recogniser: Embedder, threshold: float, *, replace: bool, allow: bool
) -> None:
    """Refuse somebody whom the box would take for another person who stays registered."""
    snapshot = gallery.snapshot(model_sha256=recogniser.model_sha256, preprocess_sha256=PREPROCESS_SHA256)
    staying = [n for n, ref in enumerate(snapshot.refs) if ref not in found.names]
    if replace or allow or not staying or not found.vectors:
        return
    known = templates_of(snapshot)[staying]
    for ref in found.names:
        mine = [found.vectors[sha256].vector for sha256, owner in found.photos.items() if owner == ref]
        mean = np.sum(mine, axis=0)
        scores: npt.NDArray[np.float32] = known @ (mean / max(float(np.linalg.norm(mean)), 1e-6))
        best = int(scores.argmax())
        if scores[best] >= threshold:
            raise GalleryError(
                f"{ref} is taken for {snapshot.refs[staying[best]]} ({scores[best]:.2f}): nothing changed",
                fix="one person with two references? remove one; if they are two, allow the look-alike",
            )


def _second_reading(
    photos: Iterator[tuple[dict[str, Any], bytes]],
    gallery: Gallery,
    found: _Found,
    *,
    model: tuple[str, str],
    version: int,
    replace: bool,
    keep_crops: bool,
) -> tuple[int, int, int, int]:
    """Put everybody in; return how many were added, replaced, removed and left as they were."""
    with store.changing(gallery.path) as db:
        if state_of(db)[1] != version:
            raise GalleryError("the register was changed by another command meanwhile", fix="try again")
        before = dict(db.execute("SELECT ref, name FROM person").fetchall())
        same = {ref for ref in found.names if _is_same(db, ref, found)}
        gone = sorted(set(before) - set(found.names)) if replace else []
        changed = [ref for ref in found.names if ref not in same]
        for ref in (*gone, *(ref for ref in changed if ref in before)):
            db.execute("DELETE FROM person WHERE ref = ?", (ref,))
        now_ms = gallery.clock.wall().ms
        for ref in changed:
            db.execute("INSERT INTO person VALUES (?, ?, ?)", (ref, found.names[ref], now_ms))
        _insert_photos(db, photos, gallery, found, same=same, keep_crops=keep_crops)
        for what, refs in (("remove", gone), ("import", changed)):
            for ref in refs:
                note_change(db, what, ref, now_ms)
        read_snapshot(db, gallery.path, model)  # everybody can be matched, or nothing is committed
    replaced = sum(ref in before for ref in changed)
    return len(changed) - replaced, replaced, len(gone), len(same)


def _insert_photos(
    db: sqlite3.Connection,
    photos: Iterator[tuple[dict[str, Any], bytes]],
    gallery: Gallery,
    found: _Found,
    *,
    same: set[str],
    keep_crops: bool,
) -> None:
    for fields, blob in photos:
        sha256 = str(fields["source_sha256"])
        if found.photos.get(sha256) != fields["ref"]:
            raise GalleryError("the bundle was changed while it was read", fix="try again")
        if fields["ref"] in same:
            continue
        number = insert_photo(
            db,
            gallery.codec,
            ref=fields["ref"],
            source=(str(fields["source_name"])[:200], sha256),
            quality=json.dumps(fields["quality"]),
            aligned_by=str(fields["aligned_by"]),
            crop=PNG.decode(blob) if blob and keep_crops else None,
            now_ms=gallery.clock.wall().ms,
        )
        insert_embedding(db, number, found.vectors[sha256])


def _is_same(db: sqlite3.Connection, ref: str, found: _Found) -> bool:
    """Return whether a person is registered as the bundle says; a missing embedding is put in on the way."""
    rows = db.execute(
        "SELECT photo.id, source_sha256 FROM photo JOIN person USING (ref) WHERE ref = ? AND name = ?",
        (ref, found.names[ref]),
    ).fetchall()
    if {sha256 for _, sha256 in rows} != {sha256 for sha256, owner in found.photos.items() if owner == ref}:
        return False
    for photo, sha256 in rows:
        insert_embedding(db, photo, found.vectors[sha256])
    return True
