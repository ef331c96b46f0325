from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_app.errors import GalleryError
from edge_app.faces.detect import CenterFace
from edge_app.faces.preprocess import PREPROCESS_SHA256, align
from edge_app.identity.enrol import EnrolOptions, EnrolReport, enrol, reembed
from tests.identity.thumbnail import ThumbnailRecogniser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_app.identity.gallery import Gallery


@pytest.fixture(scope="module")
def detector(centerface: Path) -> Iterator[CenterFace]:
    """Return the real detector."""
    result = CenterFace.open(centerface)
    yield result
    result.close()


@pytest.fixture
def add(gallery: Gallery, detector: CenterFace) -> Any:
    """Return the registering function on an empty register, the real detector and thumbnails."""

    def run(ref: str, *paths: Path, name: str | None = None, **options: Any) -> EnrolReport:
        recogniser = options.pop("recogniser", ThumbnailRecogniser())
        return enrol(
            gallery=gallery,
            detector=detector,
            recogniser=recogniser,
            ref=ref,
            name=name or f"name of {ref}",
            paths=paths,
            options=EnrolOptions(**({"threshold": recogniser.threshold} | options)),
        )

    return run


def _saved(path: Path, picture: np.ndarray) -> Path:
    cv2.imwrite(str(path), picture)
    return path


def test_real_photo_is_registered_with_its_crop(
    add: Any, gallery: Gallery, demo_photos: Mapping[str, Path], detector: CenterFace
) -> None:
    """Detected, judged, aligned the one way, embedded; the report shows the quality."""
    report = add("CARD-1", demo_photos["obama"])
    assert (report.version, report.added) == (1, 1)
    (photo,) = report.photos
    assert photo.quality is not None
    assert photo.quality.face_px == pytest.approx(250, abs=10)
    pixels = cv2.imread(str(demo_photos["obama"]))
    (stored,) = gallery.crops()
    expected = align(pixels, detector.detect(pixels)[0].landmarks)
    np.testing.assert_array_equal(expected, stored.crop)
    snapshot = gallery.snapshot(model_sha256="d" * 64, preprocess_sha256=PREPROCESS_SHA256)
    np.testing.assert_allclose(
        ThumbnailRecogniser().embed(expected[None])[0].vector, snapshot.vectors[0], atol=1e-6
    )


def test_crops_can_be_left_out(add: Any, gallery: Gallery, demo_photos: Mapping[str, Path]) -> None:
    """Then only numbers are kept."""
    add("CARD-1", demo_photos["obama"], keep_crops=False)
    assert [None] == [stored.crop for stored in gallery.crops()]


def test_good_photos_are_registered_and_bad_ones_reported(
    add: Any, gallery: Gallery, demo_photos: Mapping[str, Path], tmp_path: Path
) -> None:
    """One of each kind of bad photo between two good ones: every one with its own reason."""
    first, second = cv2.imread(str(demo_photos["obama"])), cv2.imread(str(demo_photos["biden"]))
    height = 900
    both = np.hstack([cv2.resize(p, (height * p.shape[1] // p.shape[0], height)) for p in (first, second)])
    empty = tmp_path / "empty.jpg"
    empty.touch()
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(demo_photos["obama"].read_bytes())
    report = add(
        "CARD-1",
        demo_photos["obama"],
        empty,
        _saved(tmp_path / "wall.png", np.full((300, 300, 3), 120, np.uint8)),
        _saved(tmp_path / "two.png", both),
        _saved(tmp_path / "far.png", cv2.resize(first, None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA)),
        _saved(tmp_path / "soft.png", cv2.GaussianBlur(first, (0, 0), 12)),
        copy,
        demo_photos["obama3"],
    )
    reasons = {photo.path.name: photo.refused and photo.refused.what for photo in report.photos}
    assert reasons["obama.jpg"] is None
    assert "0 bytes" in reasons["empty.jpg"]
    assert "shows no face" in reasons["wall.png"]
    assert "shows 2 faces: " in reasons["two.png"]
    assert reasons["two.png"].count(" at (") == 2
    assert "too_small" in reasons["far.png"]
    assert "blurred" in reasons["soft.png"]
    assert "same file as one of CARD-1's" in reasons["copy.jpg"]
    assert reasons["obama3.jpg"] is None
    assert len(gallery.person("CARD-1").photos) == report.added == 2
    assert {photo.path.name for photo in report.photos if photo.quality is not None} == {
        "obama.jpg",
        "obama3.jpg",
        "far.png",
        "soft.png",
    }


def test_no_good_photo_changes_nothing(add: Any, gallery: Gallery, tmp_path: Path) -> None:
    """The version stays, and nobody without a photo is made."""
    report = add("CARD-1", tmp_path / "none.jpg")
    assert (report.version, report.added) == (None, 0)
    assert gallery.version == 0


def test_same_photo_for_two_people_is_refused(
    add: Any, gallery: Gallery, demo_photos: Mapping[str, Path], tmp_path: Path
) -> None:
    """As the same file, and saved again at another quality."""
    add("CARD-1", demo_photos["biden"])
    assert "one of CARD-1's" in add("CARD-2", demo_photos["biden"]).photos[0].refused.what
    again = tmp_path / "again.png"
    cv2.imwrite(str(again), cv2.imread(str(demo_photos["biden"])))
    assert "registered for CARD-1" in add("CARD-2", again, allow_lookalike=True).photos[0].refused.what
    assert gallery.version == 1


def test_nearest_other_person_is_reported(add: Any, demo_photos: Mapping[str, Path]) -> None:
    """With the similarity, so that the operator sees how close it was."""
    add("CARD-1", demo_photos["biden"])
    (photo,) = add("CARD-2", demo_photos["astronaut"]).photos
    assert photo.nearest_ref == "CARD-1"
    assert -1 < photo.nearest_score < 0.93


def test_look_alike_is_refused_until_allowed(add: Any, demo_photos: Mapping[str, Path]) -> None:
    """A threshold so low that everybody looks alike: who it is stands in the reason."""
    add("CARD-1", demo_photos["biden"])
    refused = add("CARD-2", demo_photos["obama"], threshold=0.0)
    assert "CARD-1" in refused.photos[0].refused.what
    allowed = add("CARD-2", demo_photos["obama"], threshold=0.0, allow_lookalike=True)
    assert allowed.added == 1
    assert "CARD-1" in allowed.photos[0].warnings[0]


@pytest.mark.parametrize("change", ["grey", "alpha", "8K", "lying"])
def test_unusual_photos_give_the_same_face(
    add: Any, gallery: Gallery, demo_photos: Mapping[str, Path], tmp_path: Path, change: str
) -> None:
    """Grey, with alpha, enlarged to 8K: still one usable face, and the same one."""
    picture = cv2.imread(str(demo_photos["obama"]))
    path = tmp_path / "changed.png"
    if change == "grey":
        _saved(path, cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    elif change == "alpha":
        _saved(path, cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA))
    elif change == "8K":
        path = _saved(tmp_path / "changed.jpg", cv2.resize(picture, None, fx=6.5, fy=6.5))
    else:
        import struct

        _, jpeg = cv2.imencode(".jpg", cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE))
        exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
        path = tmp_path / "changed.jpg"
        data = jpeg.tobytes()
        path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert add("CARD-1", path).added == 1
    (stored,) = gallery.crops()
    original = add("CARD-2", demo_photos["obama"], threshold=1.0)
    assert original.photos[0].nearest_score > 0.97
    assert stored.crop is not None


def test_wrong_reference_costs_no_detection(add: Any, demo_photos: Mapping[str, Path]) -> None:
    """Refused before any photo is opened."""
    with pytest.raises(GalleryError, match="not a reference"):
        add("CARD 1", demo_photos["obama"])
    add("CARD-1", demo_photos["obama"], name="Ada")
    with pytest.raises(GalleryError, match="another name"):
        add("CARD-1", demo_photos["obama3"], name="Bob")


def test_reembed_after_a_model_change(add: Any, gallery: Gallery, demo_photos: Mapping[str, Path]) -> None:
    """Before it, adding and matching are refused; after it, both models have everybody."""
    add("CARD-1", demo_photos["obama"], demo_photos["obama3"])
    add("CARD-2", demo_photos["biden"])
    new = ThumbnailRecogniser(model_sha256="e" * 64)
    with pytest.raises(GalleryError, match="people reembed"):
        add("CARD-3", demo_photos["astronaut"], recogniser=new)
    assert reembed(gallery=gallery, recogniser=new) == (3, 3)
    for model in ("d" * 64, "e" * 64):
        snapshot = gallery.snapshot(model_sha256=model, preprocess_sha256=PREPROCESS_SHA256)
        assert snapshot.owners.tolist() == [0, 0, 1]
    assert add("CARD-3", demo_photos["astronaut"], recogniser=new).added == 1


def test_reembed_without_crops_names_who_must_come_again(
    add: Any, gallery: Gallery, demo_photos: Mapping[str, Path]
) -> None:
    """Half of the people would be worse than none: nothing is changed."""
    add("CARD-1", demo_photos["obama"])
    add("CARD-2", demo_photos["biden"], keep_crops=False)
    with pytest.raises(GalleryError, match=r"1 people .* CARD-2 \(crops were not kept\); nothing"):
        reembed(gallery=gallery, recogniser=ThumbnailRecogniser(model_sha256="e" * 64))
    assert gallery.version == 2


def test_reembed_of_nobody(gallery: Gallery) -> None:
    """An empty register is embedded already."""
    assert reembed(gallery=gallery, recogniser=ThumbnailRecogniser()) == (0, 0)


@pytest.mark.parametrize(("height", "added"), [(900, 0), (400, 0), (230, 1)])
def test_second_face_counts_unless_it_is_far_behind(
    add: Any, demo_photos: Mapping[str, Path], tmp_path: Path, height: int, added: int
) -> None:
    """As large, or half as large: two people. A quarter as large: a passer-by, said in a warning."""
    first, second = cv2.imread(str(demo_photos["obama"])), cv2.imread(str(demo_photos["astronaut"]))
    first = cv2.resize(first, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    face = second[0:260, 100:360]  # the astronaut's face is 91 pixels wide
    second = cv2.resize(face, None, fx=height / 400, fy=height / 400, interpolation=cv2.INTER_AREA)
    first[-second.shape[0] :, : second.shape[1]] = second
    (photo,) = add("CARD-1", _saved(tmp_path / "both.png", first)).photos
    assert added == (photo.refused is None), photo
    if added:
        assert photo.warnings == ("1 small face(s) in the background left out",)
    else:
        assert "shows 2 faces" in photo.refused.what
