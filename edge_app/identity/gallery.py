"""The register of people: who may be recognised, from which photos, in one file on the box.

A person is the operator's reference, a name that stays on the box, and photos. Of a photo the
register keeps the aligned crop (can be switched off), its quality, where it came from, and one
embedding for each model that has seen it, keyed by the model's and the preprocessing's SHA-256: a
new model re-embeds everybody beside the old one before it is used. Every change adds one to the
register's version, in the same transaction, and leaves a line without names in its list of changes.

Each method opens the file, does one thing wholly or not at all, and closes it (`store` says how it
survives power cuts), so any thread and any process may use it at any time.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_app.clock import SystemClock
from edge_app.errors import GalleryError
from edge_app.identity import store
from edge_app.identity.crops import PngCrops
from edge_app.identity.people import Person, StoredCrop
from edge_app.identity.rows import (
    damaged,
    insert_embedding,
    insert_photo,
    note_change,
    photos_by_person,
    read_snapshot,
    state_of,
)
from edge_app.records import PERSON_REF

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_app.clock import Clock
    from edge_app.identity.crops import CropCodec
    from edge_app.identity.people import NewPhoto
    from edge_app.identity.snapshot import GallerySnapshot
    from edge_app.records import Embedding

_MAX_NAME = 200


class Gallery:
    """The register in the file at `path`.

    Args:
        path: the file; `create` makes it.
        codec: how crops are written (see `crops`).
        clock: what stamps changes.
    """

    def __init__(self, *, path: Path, codec: CropCodec | None = None, clock: Clock | None = None) -> None:
        self.path = path
        self.codec: CropCodec = codec or PngCrops()
        self.clock = clock or SystemClock()

    def create(self) -> None:
        """Make an empty register unless the file is there.

        Raises:
            GalleryError: the folder cannot be written.
        """
        store.create(self.path)

    def state(self) -> tuple[str, int]:
        """Return the register's id and version.

        Raises:
            GalleryError: the file cannot be read.
        """
        with store.reading(self.path) as db:
            return state_of(db)

    @property
    def version(self) -> int:
        """How often the register has changed."""
        return self.state()[1]

    def people(self) -> tuple[Person, ...]:
        """Return everybody, by reference.

        Raises:
            GalleryError: the file cannot be read.
        """
        with store.reading(self.path) as db:
            photos = photos_by_person(db)
            rows = db.execute("SELECT ref, name, added_ms FROM person ORDER BY ref").fetchall()
        return tuple(Person(ref, name, added, tuple(photos.get(ref, ()))) for ref, name, added in rows)

    def person(self, ref: str) -> Person:
        """Return one person.

        Raises:
            GalleryError: nobody has this reference, or the file cannot be read.
        """
        people = self.people()
        for person in people:
            if person.ref == ref:
                return person
        raise _nobody(ref, len(people))

    def roster(self) -> tuple[tuple[str, str], ...]:
        """Return (reference, name) of everybody, by reference."""
        return tuple((person.ref, person.name) for person in self.people())

    def add(
        self, *, ref: str, name: str, photos: Sequence[NewPhoto], expected_version: int | None = None
    ) -> int:
        """Register `photos` for a new or known person and return the new version.

        Args:
            ref: ``[A-Za-z0-9_-]{1,32}``.
            name: stays on the box; for a known person the name that is registered.
            photos: at least one.
            expected_version: refuse if the register is no longer at this version (its checks are stale).

        Raises:
            GalleryError: bad reference or name, another name, photo known, changed meanwhile, cannot write.
        """
        _check_person(ref, name)
        if not photos:
            raise GalleryError(f"no photo given for {ref}", fix="give at least one photo")
        with store.changing(self.path) as db:
            if expected_version is not None and state_of(db)[1] != expected_version:
                raise GalleryError("the register was changed by another command meanwhile", fix="try again")
            now_ms = self.clock.wall().ms
            self._insert_person(db, ref, name, now_ms)
            for photo in photos:
                self._insert_photo(db, ref, photo, now_ms)
            return self._changed(db, "add", ref)

    def remove(self, ref: str) -> int:
        """Remove a person with all photos and embeddings and return the new version.

        Raises:
            GalleryError: nobody has this reference, or the file cannot be written.
        """
        with store.changing(self.path) as db:
            if db.execute("DELETE FROM person WHERE ref = ?", (ref,)).rowcount == 0:
                raise _nobody(ref, db.execute("SELECT count(*) FROM person").fetchone()[0])
            return self._changed(db, "remove", ref)

    def snapshot(self, *, model_sha256: str, preprocess_sha256: str) -> GallerySnapshot:
        """Return all embeddings made by one model, ready for matching.

        Raises:
            GalleryError: somebody has no embedding by this model, a vector is damaged, or the file
                cannot be read.
        """
        with store.reading(self.path) as db:
            return read_snapshot(db, self.path, (model_sha256, preprocess_sha256))

    def crops(self) -> Iterator[StoredCrop]:
        """Yield every photo's crop, by reference, None where it was not kept.

        Raises:
            GalleryError: a crop was written by another codec or is damaged, or the file cannot be read.
        """
        with store.reading(self.path) as db:
            rows = db.execute("SELECT id, ref, aligned_by, crop_codec, crop FROM photo ORDER BY ref, id")
            for photo, ref, aligned_by, codec, blob in rows:
                if codec not in (None, self.codec.name):
                    raise GalleryError(
                        f"crops of {ref} were written as {codec!r}, not {self.codec.name!r}",
                        fix="use the key or program version that wrote them",
                    )
                crop = None if codec is None else self.codec.decode(blob)
                yield StoredCrop(photo, ref, aligned_by, crop)

    def store_embeddings(self, embeddings: Mapping[int, Embedding], *, expected_version: int) -> int:
        """Store a further model's embedding of every photo (by its id) and return the new version.

        Embeddings of other models stay, so that going back needs no second run.

        Raises:
            GalleryError: the register changed since `expected_version`, a photo is missing, cannot write.
        """
        with store.changing(self.path) as db:
            photos = {row[0] for row in db.execute("SELECT id FROM photo")}
            if state_of(db)[1] != expected_version or photos != set(embeddings):
                raise GalleryError("the register was changed by another command meanwhile", fix="try again")
            for photo, embedding in embeddings.items():
                insert_embedding(db, photo, embedding)
            return self._changed(db, "reembed", None)

    def changes(self) -> tuple[tuple[int, str, str | None, int | None], ...]:
        """Return what was done: (version, ``add`` ``import`` ``remove`` ``reembed``, reference, ms)."""
        with store.reading(self.path) as db:
            return tuple(db.execute("SELECT version, what, ref, wall_ms FROM change ORDER BY version"))

    def check(self) -> None:
        """Read the whole file and check its structure; takes a while on a large register.

        Raises:
            GalleryError: it is damaged.
        """
        with store.reading(self.path) as db:
            verdict = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            orphans = db.execute("PRAGMA foreign_key_check").fetchall()
        if verdict != "ok" or orphans:
            raise damaged(self.path, f"{len(orphans)} rows without owner" if verdict == "ok" else verdict)

    @staticmethod
    def check_person(ref: str, name: str, people: Sequence[Person]) -> None:
        """Check reference and name before any work is done for them.

        Raises:
            GalleryError: not a reference, not a name, or registered under another name.
        """
        _check_person(ref, name)
        if any(person.ref == ref and person.name != name for person in people):
            raise _other_name(ref)

    def _insert_person(self, db: sqlite3.Connection, ref: str, name: str, now_ms: int | None) -> None:
        known = db.execute("SELECT name FROM person WHERE ref = ?", (ref,)).fetchone()
        if known is None:
            db.execute("INSERT INTO person VALUES (?, ?, ?)", (ref, name, now_ms))
        elif known[0] != name:
            raise _other_name(ref)

    def _insert_photo(self, db: sqlite3.Connection, ref: str, photo: NewPhoto, now_ms: int | None) -> None:
        number = insert_photo(
            db,
            self.codec,
            ref=ref,
            source=(photo.source_name, photo.source_sha256),
            quality=json.dumps(asdict(photo.quality), default=float),
            aligned_by=photo.embedding.preprocess_sha256,
            crop=photo.crop,
            now_ms=now_ms,
        )
        insert_embedding(db, number, photo.embedding)

    def _changed(self, db: sqlite3.Connection, what: str, ref: str | None) -> int:
        return note_change(db, what, ref, self.clock.wall().ms)


def _check_person(ref: str, name: str) -> None:
    if PERSON_REF.fullmatch(ref) is None:
        raise GalleryError(
            f"not a reference: {ref!r}", fix="use 1 to 32 of A-Z a-z 0-9 _ - (a card number, for example)"
        )
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise GalleryError(f"not a name: {name!r}", fix=f"use 1 to {_MAX_NAME} printable characters")


def _nobody(ref: str, people: int) -> GalleryError:
    return GalleryError(
        f"nobody is registered as {ref!r} (registered: {people})", fix="see `dsr-edge people list`"
    )


def _other_name(ref: str) -> GalleryError:
    return GalleryError(
        f"{ref} is already registered under another name",
        fix="give the registered name, another reference, or remove the person first",
    )
