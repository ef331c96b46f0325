"""People taken over from another box: all of a bundle or nothing of it, and only what is what it says."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.errors import GalleryError
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.identity.bundle import BundleWriter, read_records
from edge_app.identity.export import export_people
from edge_app.identity.gallery import Gallery
from edge_app.identity.people import NewPhoto
from edge_app.identity.takeover import import_people
from edge_app.records import Embedding, Quality
from tests.identity.thumbnail import ThumbnailRecogniser

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = b"\x07" * 32
OURS, OTHER = "d" * 64, "e" * 64
QUALITY = Quality(
    face_px=90.0, sharpness=9.0, brightness=99.0, contrast=50.0, yaw=3.0, pitch=0.0, roll=0.0, score=0.8
)


def photo(source: str, *, model: str = OURS, seed: int | None = None, crop: bool = True) -> NewPhoto:
    """Return a photo: noise that only `seed` decides, embedded by `model`."""
    pixels = np.random.default_rng(hash_of(source) if seed is None else seed).integers(
        0, 256, (224, 224, 3), np.uint8
    )
    vector = ThumbnailRecogniser._vector(pixels)
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    embedding = Embedding(vector, model, PREPROCESS_SHA256)
    return NewPhoto(f"{source}.jpg", sha256, QUALITY, embedding, pixels if crop else None)


def hash_of(text: str) -> int:
    """Return a number that is the same in every run."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


@pytest.fixture
def there(tmp_path: Path) -> Gallery:
    """Return another box's register: Ann with two photos, Ben with one."""
    gallery = Gallery(path=tmp_path / "there.db")
    gallery.create()
    gallery.add(ref="a-1", name="Ann", photos=[photo("ann1"), photo("ann2")])
    gallery.add(ref="b-1", name="Ben", photos=[photo("ben")])
    return gallery


@pytest.fixture
def take(gallery: Gallery, there: Gallery, tmp_path: Path) -> Callable[..., Any]:
    """Return what exports from `there` (unless told not to) and imports into `gallery`."""

    def run(*refs: str, export: bool = True, model: str = OURS, **more: Any) -> Any:
        path = tmp_path / "people.bundle"
        if export:
            export_people(gallery=there, out=path, key=KEY, site="m1", refs=refs)
        given = {"key": KEY, "site": "m1", "threshold": 0.93, **more}
        return import_people(
            gallery=gallery, path=path, recogniser=ThumbnailRecogniser(model_sha256=model), **given
        )

    return run


def people(gallery: Gallery) -> dict[str, tuple[str, int]]:
    """Return name and number of photos by reference."""
    return {one.ref: (one.name, len(one.photos)) for one in gallery.people()}


def test_everybody_is_taken_over_with_crops_and_embeddings(
    gallery: Gallery, there: Gallery, take: Callable[..., Any]
) -> None:
    """What is registered here afterwards matches as it did there, and can be embedded by a newer model."""
    done = take()
    assert (2, 0, 0, 0, 0) == (done.added, done.replaced, done.removed, done.unchanged, done.embedded)
    assert (0, 2) == (done.previous_version, done.version)
    assert {"a-1": ("Ann", 2), "b-1": ("Ben", 1)} == people(gallery)
    mine, theirs = (
        one.snapshot(model_sha256=OURS, preprocess_sha256=PREPROCESS_SHA256) for one in (gallery, there)
    )
    assert np.array_equal(theirs.vectors, mine.vectors)
    for ours, other in zip(gallery.crops(), there.crops(), strict=True):
        assert np.array_equal(other.crop, ours.crop)
    assert [("import", "a-1"), ("import", "b-1")] == [(what, ref) for _, what, ref, _ in gallery.changes()]


def test_another_model_embeds_everybody_again(gallery: Gallery, take: Callable[..., Any]) -> None:
    """From the crops, before anything is changed."""
    assert 3 == take(model=OTHER).embedded
    assert 2 == len(gallery.snapshot(model_sha256=OTHER, preprocess_sha256=PREPROCESS_SHA256).refs)


def test_who_has_neither_an_embedding_nor_a_crop_stops_all(
    gallery: Gallery, there: Gallery, take: Callable[..., Any]
) -> None:
    """Named, and nobody is registered; with this box's own model the same bundle serves."""
    there.add(ref="c-1", name="Cy", photos=[photo("cy", crop=False)])
    with pytest.raises(GalleryError, match="c-1 cannot be taken over"):
        take(model=OTHER)
    assert {} == people(gallery)
    assert 3 == take().added


def test_a_second_time_changes_nothing_and_a_change_replaces(
    gallery: Gallery, there: Gallery, take: Callable[..., Any]
) -> None:
    """Who is as the bundle says is left alone; who has other photos has exactly those of the bundle."""
    take()
    again = take()
    assert (0, 0, 2, 2) == (again.added, again.replaced, again.unchanged, again.version)
    there.add(ref="b-1", name="Ben", photos=[photo("ben2")])
    gallery.add(ref="b-1", name="Ben", photos=[photo("ben3")])
    done = take()
    assert (0, 1, 1) == (done.added, done.replaced, done.unchanged)
    assert {"ben.jpg", "ben2.jpg"} == {one.source_name for one in gallery.person("b-1").photos}


def test_others_stay_unless_the_bundle_shall_replace_them(gallery: Gallery, take: Callable[..., Any]) -> None:
    """A part of the register can be sent; removal is asked for, and is a line in the list of changes."""
    gallery.add(ref="z-1", name="Zoe", photos=[photo("zoe")])
    assert 1 == take("b-1").added
    assert {"b-1", "z-1"} == set(people(gallery))
    assert 1 == take("b-1", replace=True).removed
    assert {"b-1"} == set(people(gallery))
    assert ("remove", "z-1") == gallery.changes()[-1][1:3]


def test_one_person_under_two_references_is_refused_unless_allowed(
    gallery: Gallery, take: Callable[..., Any]
) -> None:
    """Whom the box would take for somebody else every day had better be known at the desk."""
    gallery.add(ref="x-9", name="Ann again", photos=[photo("annX", seed=hash_of("ann1"))])
    with pytest.raises(GalleryError, match="is taken for x-9"):
        take("a-1", threshold=0.6)
    assert {"x-9"} == set(people(gallery))
    assert 1 == take("a-1", threshold=0.6, allow_lookalike=True).added


def test_a_photo_of_somebody_else_here_stops_all(gallery: Gallery, take: Callable[..., Any]) -> None:
    """One picture is not two people; the change so far is taken back."""
    gallery.add(ref="x-9", name="Somebody", photos=[photo("ben")])
    with pytest.raises(GalleryError, match="already registered for x-9"):
        take(threshold=1.1)
    assert {"x-9": ("Somebody", 1)} == people(gallery)
    assert 1 == gallery.version


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"key": b"\x08" * 32}, "another key"),
        ({"site": "m2"}, "of another mine"),
        ({"sha256": "0" * 64}, "not the file that was named"),
    ],
)
def test_another_key_mine_or_file_is_refused(
    gallery: Gallery, take: Callable[..., Any], more: dict[str, Any], complaint: str
) -> None:
    """Nothing is changed."""
    with pytest.raises(GalleryError, match=complaint):
        take(**more)
    assert ({}, 0) == (people(gallery), gallery.version)


def test_the_file_that_is_named_is_taken(take: Callable[..., Any], there: Gallery, tmp_path: Path) -> None:
    """By the digest that the export printed; the file is its owner's alone, and shows no name."""
    path = tmp_path / "people.bundle"
    made = export_people(gallery=there, out=path, key=KEY, site="m1")
    assert (2, 3) == (made.people, made.photos)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made.sha256
    assert 0o600 == path.stat().st_mode & 0o777
    assert b"Ann" not in path.read_bytes()
    assert 2 == take(export=False, sha256=made.sha256.upper()).added


def test_a_bundle_that_is_altered_anywhere_changes_nothing(
    gallery: Gallery, there: Gallery, take: Callable[..., Any], tmp_path: Path
) -> None:
    """Cut at any record, a bit turned anywhere, records exchanged or repeated, something put behind."""
    path = tmp_path / "people.bundle"
    export_people(gallery=there, out=path, key=KEY, site="m1")
    good = path.read_bytes()
    ends = record_ends(good)
    spoilt = [good[:end] for end in (0, 3, 10, *ends[:-1], len(good) - 1)]
    spoilt += [
        good + b"\0",
        good + good[ends[-2] :],
        good[: ends[0]] + good[ends[0] : ends[1]] * 2 + good[ends[1] :],
    ]
    spoilt += [good[: ends[0]] + good[ends[1] : ends[2]] + good[ends[0] : ends[1]] + good[ends[2] :]]
    for place in np.linspace(0, len(good) - 1, 40).astype(int):
        spoilt.append(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for bad in spoilt:
        path.write_bytes(bad)
        with pytest.raises(GalleryError):
            take(export=False)
        assert ({}, 0) == (people(gallery), gallery.version)


def record_ends(bundle: bytes) -> list[int]:
    """Return where each record ends."""
    at, ends = 22, []
    while at < len(bundle):
        at += 4 + int.from_bytes(bundle[at : at + 4], "big")
        ends.append(at)
    return ends


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"DSRB1\n" + tail)))
def test_any_bytes_are_refused_in_words(content: bytes) -> None:
    """Never another error, never a record."""
    with pytest.raises(GalleryError):
        list(read_records(io.BytesIO(content), key=KEY, name="x"))


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"ref": 5, "name": "x"},
        {"ref": "a", "name": None},
        {"ref": "a/b", "name": "x", "source_sha256": "1", "quality": {}, "embeddings": [], "aligned_by": ""},
        {"ref": "a", "name": "x", "source_sha256": "1", "quality": 7, "embeddings": [], "aligned_by": ""},
        {"ref": "a", "name": "x", "source_sha256": "1", "quality": {}, "embeddings": [1], "aligned_by": ""},
        {
            "ref": "a",
            "name": "x",
            "source_sha256": "1",
            "quality": {},
            "embeddings": [[OURS, PREPROCESS_SHA256, "AAAA"]],
            "aligned_by": "",
        },
    ],
)
def test_what_another_program_wrote_is_refused(
    gallery: Gallery, take: Callable[..., Any], tmp_path: Path, record: dict[str, Any]
) -> None:
    """Sealed with the right key, and still not what this version knows."""
    with (tmp_path / "people.bundle").open("wb") as file:
        writer = BundleWriter(file, key=KEY)
        writer.write({"v": 1, "site": "m1", "people": 1, "photos": 1})
        writer.write(record)
        writer.end()
    with pytest.raises(GalleryError):
        take(export=False)
    assert {} == people(gallery)


def test_a_register_that_changed_meanwhile_is_left_as_it_is(
    gallery: Gallery, take: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody was registered while the crops were embedded: their checks knew nothing of it."""
    original = ThumbnailRecogniser.embed

    def slow(self: ThumbnailRecogniser, crops: Any) -> Any:
        gallery.add(ref="n-1", name="New", photos=[photo("new", model=OTHER)])
        return original(self, crops)

    monkeypatch.setattr(ThumbnailRecogniser, "embed", slow)
    with pytest.raises(GalleryError, match="changed by another command"):
        take(model=OTHER)
    assert {"n-1"} == set(people(gallery))


def test_an_export_that_cannot_be_written_leaves_nothing(there: Gallery, tmp_path: Path) -> None:
    """Nor does one of somebody who is not registered; what was at the place stays."""
    out = tmp_path / "old.bundle"
    out.write_bytes(b"old")
    with pytest.raises(GalleryError, match="nobody is registered as q"):
        export_people(gallery=there, out=out, key=KEY, site="m1", refs=["q"])
    with pytest.raises(GalleryError, match="cannot write"):
        export_people(gallery=there, out=tmp_path / "no" / "x", key=KEY, site="m1")
    assert b"old" == out.read_bytes()
    assert [] == list(tmp_path.glob(".*.tmp"))
