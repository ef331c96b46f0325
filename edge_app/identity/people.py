"""The values of the register of people: a person, their photos, and what is registered anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_app.identity.crops import Crop
    from edge_app.records import Embedding, Quality


@dataclass(frozen=True, slots=True)
class NewPhoto:
    """A photo to register: file name and SHA-256 of the source, quality, embedding, aligned crop.

    `crop` is (224, 224, 3) uint8 RGB, None where crops are not kept.
    """

    source_name: str
    source_sha256: str
    quality: Quality
    embedding: Embedding
    crop: Crop | None


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """What the register knows about one photo; `models` are the SHA-256 of those that embedded it."""

    id: int
    source_name: str
    source_sha256: str
    quality: Quality
    has_crop: bool
    models: tuple[str, ...]
    added_ms: int | None


@dataclass(frozen=True, slots=True)
class Person:
    """One registered person."""

    ref: str
    name: str
    added_ms: int | None
    photos: tuple[PhotoInfo, ...]


@dataclass(frozen=True, slots=True)
class StoredCrop:
    """One aligned crop, (224, 224, 3) uint8 RGB, and the preprocessing that made it; None if not kept."""

    photo: int
    ref: str
    aligned_by: str
    crop: Crop | None
