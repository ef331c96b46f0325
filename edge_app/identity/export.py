"""Writing the register, or part of it, into a bundle for other boxes of the mine (see `bundle`)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_app.errors import GalleryError
from edge_app.identity import store
from edge_app.identity.bundle import BundleWriter
from edge_app.identity.crops import PngCrops
from edge_app.identity.rows import state_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from pathlib import Path
    from typing import BinaryIO

    from edge_app.identity.gallery import Gallery

VERSION: Final = 1
#: How crops travel, whatever the register that they come from or go to makes of them.
PNG: Final = PngCrops()
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """What a bundle holds, and the SHA-256 of its file, by which a command names it."""

    people: int
    photos: int
    sha256: str


def export_people(
    *, gallery: Gallery, out: Path, key: bytes, site: str, refs: Collection[str] = ()
) -> Exported:
    """Write everybody, or those in `refs`, into the encrypted file `out` (mode 0600), wholly or not at all.

    Raises:
        GalleryError: somebody is not registered, or a file cannot be read or written.
    """
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        with os.fdopen(descriptor, "w+b") as file, store.reading(gallery.path) as db:
            people, photos = _write_all(db, BundleWriter(file, key=key), gallery, site, frozenset(refs))
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            sha256 = sha256_of(file)
        temporary.replace(out)
    except OSError as error:
        raise GalleryError(f"cannot write {out} ({error.strerror})", fix="give another --out") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(people, photos, sha256)


def _write_all(
    db: sqlite3.Connection, writer: BundleWriter, gallery: Gallery, site: str, refs: frozenset[str]
) -> tuple[int, int]:
    names = dict(db.execute("SELECT ref, name FROM person ORDER BY ref").fetchall())
    if unknown := sorted(refs - set(names)):
        raise GalleryError(f"nobody is registered as {', '.join(unknown)}", fix="see `dsr-edge people list`")
    wanted = refs or set(names)
    rows = db.execute(
        "SELECT id, ref, source_name, source_sha256, quality, aligned_by, crop_codec, crop FROM photo"
        " ORDER BY ref, id"
    ).fetchall()
    rows = [row for row in rows if row[1] in wanted]
    identity, version = state_of(db)
    writer.write(
        {
            "v": VERSION,
            "site": site,
            "gallery": identity,
            "version": version,
            "people": len(wanted),
            "photos": len(rows),
        }
    )
    for photo, ref, source, sha256, quality, aligned_by, codec, stored in rows:
        crop = stored
        embeddings = db.execute(
            "SELECT model_sha256, preprocess_sha256, vector FROM embedding WHERE photo = ?", (photo,)
        ).fetchall()
        fields = {
            "ref": ref,
            "name": names[ref],
            "source_name": source,
            "source_sha256": sha256,
            "quality": json.loads(quality),
            "aligned_by": aligned_by,
            "embeddings": [[m, p, base64.b64encode(v).decode("ascii")] for m, p, v in embeddings],
        }
        if crop is not None and codec != PNG.name:
            crop = PNG.encode(gallery.codec.decode(crop))
        writer.write(fields, crop or b"")
    writer.end()
    return len(wanted), len(rows)


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of what is left of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()
