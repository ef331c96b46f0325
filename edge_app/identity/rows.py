"""Rows of the register's tables, and the values that they stand for."""

from __future__ import annotations

import json
import zlib
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from edge_app.errors import GalleryError
from edge_app.identity.people import PhotoInfo
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.records import Quality

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from edge_app.identity.crops import Crop, CropCodec
    from edge_app.records import Embedding


def state_of(db: sqlite3.Connection) -> tuple[str, int]:
    """Return the register's id and version."""
    row = db.execute("SELECT id, version FROM gallery").fetchone()
    return str(row[0]), int(row[1])


def photos_by_person(db: sqlite3.Connection) -> dict[str, list[PhotoInfo]]:
    """Return what is known about each person's photos, in the order of registration."""
    models: dict[int, list[str]] = {}
    for photo, model in db.execute("SELECT photo, model_sha256 FROM embedding ORDER BY model_sha256"):
        models.setdefault(photo, []).append(model)
    result: dict[str, list[PhotoInfo]] = {}
    for photo, ref, source, sha256, quality, has_crop, added in db.execute(
        "SELECT id, ref, source_name, source_sha256, quality, crop IS NOT NULL, added_ms"
        " FROM photo ORDER BY id"
    ):
        info = PhotoInfo(
            photo, source, sha256, quality_from(quality), bool(has_crop), tuple(models.get(photo, ())), added
        )
        result.setdefault(ref, []).append(info)
    return result


def quality_from(text: str) -> Quality:
    """Read a quality; numbers that this version does not know are left out."""
    known = {field.name for field in fields(Quality)} - {"rejection"}
    return Quality(**{key: value for key, value in json.loads(text).items() if key in known})


def insert_embedding(db: sqlite3.Connection, photo: int, embedding: Embedding) -> None:
    """Store one model's embedding of one photo, in place of what it was."""
    blob = embedding.vector.astype("<f4").tobytes()
    db.execute(
        "INSERT OR REPLACE INTO embedding VALUES (?, ?, ?, ?, ?)",
        (photo, embedding.model_sha256, embedding.preprocess_sha256, blob, zlib.crc32(blob)),
    )


def insert_photo(
    db: sqlite3.Connection,
    codec: CropCodec,
    *,
    ref: str,
    source: tuple[str, str],
    quality: str,
    aligned_by: str,
    crop: Crop | None,
    now_ms: int | None,
) -> int:
    """Store a photo of somebody who is registered; return its id.

    Args:
        db: within a transaction.
        codec: how the crop is written.
        ref: whose it is.
        source: file name and SHA-256 of the photo.
        quality: as JSON.
        aligned_by: SHA-256 of the preprocessing that made the crop.
        crop: None where crops are not kept.
        now_ms: wall time, None where there is none.

    Raises:
        GalleryError: the photo is registered already.
    """
    owner = db.execute("SELECT ref FROM photo WHERE source_sha256 = ?", (source[1],)).fetchone()
    if owner is not None:
        raise GalleryError(
            f"{source[0]} is already registered for {owner[0]}", fix="leave it out, or remove that person"
        )
    blob = None if crop is None else codec.encode(crop)
    cursor = db.execute(
        "INSERT INTO photo (ref, source_name, source_sha256, quality, aligned_by,"
        " crop_codec, crop, added_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (ref, *source, quality, aligned_by, None if blob is None else codec.name, blob, now_ms),
    )
    return int(cursor.lastrowid or 0)


def note_change(db: sqlite3.Connection, what: str, ref: str | None, wall_ms: int | None) -> int:
    """Count one change of the register, with a line in its list of changes; return the new version."""
    db.execute("UPDATE gallery SET version = version + 1")
    version = state_of(db)[1]
    db.execute("INSERT INTO change VALUES (?, ?, ?, ?)", (version, what, ref, wall_ms))
    return version


def read_snapshot(db: sqlite3.Connection, path: Path, key: tuple[str, str]) -> GallerySnapshot:
    """Return all embeddings made by the model and preprocessing `key`, ready for matching.

    Raises:
        GalleryError: somebody has no embedding by this model, or a vector is damaged.
    """
    everybody = [row[0] for row in db.execute("SELECT ref FROM person ORDER BY ref")]
    rows = db.execute(
        "SELECT photo.ref, vector, crc32 FROM embedding JOIN photo ON photo.id = embedding.photo"
        " WHERE model_sha256 = ? AND preprocess_sha256 = ? ORDER BY photo.ref, photo.id",
        key,
    ).fetchall()
    missing = sorted(set(everybody) - {row[0] for row in rows})
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")  # noqa: PLR2004
        raise GalleryError(
            f"{len(missing)} of {len(everybody)} people in {path} have no embedding by the model"
            f" {key[0][:12]} with preprocessing {key[1][:12]}: {shown}",
            fix="run `dsr-edge people reembed`",
        )
    return snapshot_from(path, state_of(db), everybody, rows, key)


def snapshot_from(
    path: Path,
    identity: tuple[str, int],
    everybody: list[str],
    rows: list[tuple[str, bytes, int]],
    key: tuple[str, str],
) -> GallerySnapshot:
    """Return the rows (reference, vector, CRC-32), sorted by reference, as one snapshot.

    Raises:
        GalleryError: a vector is not what was written, or the rows do not belong together.
    """
    index = {ref: number for number, ref in enumerate(everybody)}
    if len({len(vector) for _, vector, _ in rows}) > 1 or any(zlib.crc32(v) != crc for _, v, crc in rows):
        raise damaged(path, "an embedding is not what was written")
    vectors = np.frombuffer(b"".join(vector for _, vector, _ in rows), dtype="<f4").astype(np.float32)
    try:
        return GallerySnapshot(
            gallery_id=identity[0],
            version=identity[1],
            refs=tuple(everybody),
            vectors=vectors.reshape(len(rows), -1) if rows else np.zeros((0, 0), np.float32),
            owners=np.array([index[ref] for ref, _, _ in rows], dtype=np.intp),
            model_sha256=key[0],
            preprocess_sha256=key[1],
        )
    except (KeyError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, what: object) -> GalleryError:
    """Return the error that says how the register is damaged."""
    return GalleryError(
        f"{path} is damaged: {what}",
        fix="restore the file from a copy, or register everybody again from photos",
    )
