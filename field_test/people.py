"""Who walks through the tunnel: registered people with photos to register and others to walk with, strangers.

Three collections. ``development`` and ``test`` draw from the research sets by ``splits.json``: choices are
made on the first, the second is only ever reported on. Strangers are the other people of the free sets,
and aligned heads: CelebA development people and one half of the stranger set for development, LFW people
and the other half for the test (adults only). ``public`` are the demo's portraits in the public domain,
for pictures that may be shown. No photo that registers somebody is used for a passage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import cv2
import numpy as np

from dsr_inception.datasets import PhotoSet, data_folder
from edge_app.errors import PhotoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from field_test.miner import FaceBox
    from field_test.scenario import PeopleSpec

    Image = npt.NDArray[np.uint8]

Collection = Literal["development", "test", "public"]

#: Where the face is in a 128-pixel photo of the aligned sets, as CenterFace boxes it.
ALIGNED_FACE: Final = (31.0, 20.0, 66.0, 88.0)
#: A face in a photo that is narrower than this gives no sharp passage.
_NARROWEST: Final = 50.0
_ADULT: Final = 18
_FRONT, _SIDE = 10.0, 30.0
#: The poses that register somebody, degrees of yaw and pitch, in this order.
_WANTED: Final = (
    (0.0, 0.0), (-18.0, 0.0), (18.0, 0.0), (0.0, -12.0), (0.0, 12.0), (0.0, 0.0), (-35.0, 0.0), (35.0, 0.0),
)  # fmt: skip
#: More than so many photos register somebody only while so many others are left to walk with.
_REGISTERED, _WALKED = 4, 3


@dataclass(frozen=True, slots=True)
class View:
    """One photo of somebody: its name, the face's box in it in pixels, estimated degrees."""

    key: str
    box: FaceBox
    yaw: float
    pitch: float
    read: Callable[[], Image] = field(repr=False, compare=False)

    @property
    def pose(self) -> str:
        """Which pose it counts as: front, yaw_15, yaw_45, up or down."""
        if abs(self.yaw) >= _SIDE:
            return "yaw_45"
        if abs(self.yaw) >= _FRONT:
            return "yaw_15"
        if abs(self.pitch) >= _FRONT:
            return "up" if self.pitch < 0 else "down"
        return "front"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody: `ref` and `registration` only if registered; `views` are the photos of passages."""

    who: str
    views: tuple[View, ...]
    ref: str | None = None
    registration: tuple[View, ...] = ()


@dataclass(frozen=True, slots=True)
class People:
    """Everybody of a scenario, in a fixed order."""

    registered: tuple[Person, ...]
    strangers: tuple[Person, ...]


def gather(collection: Collection, spec: PeopleSpec, *, seed: int, data: Path | None = None) -> People:
    """Return the people of a collection, chosen by `seed`.

    Raises:
        PhotoError: it has fewer people than `spec` asks for.
        DataError: the research sets are missing.
        AssetError: the public portraits cannot be had.
    """
    rng = np.random.default_rng([seed, 4711])
    if collection == "public":
        pool, others = _public(), list[Person]()
    else:
        pool, others = _research(collection, data_folder(data), rng)
    able = [person for person in pool if len(person.views) > _photos_of(person, spec.photos)]
    registered = tuple(
        _registered(person, number, spec.photos) for number, person in enumerate(able[: spec.registered])
    )
    chosen = {person.who for person in registered}
    left = [person for person in pool if person.who not in chosen]
    strangers = tuple([*left, *others][: spec.strangers])
    if len(registered) < spec.registered or len(strangers) < spec.strangers:
        raise PhotoError(
            f"the collection {collection} has {len(able)} people with more than {spec.photos} photos and "
            f"{len(left) + len(others)} strangers; asked for are {spec.registered} and {spec.strangers}",
            fix="ask for fewer in the scenario, under people",
        )
    return People(registered, strangers)


def _photos_of(person: Person, asked: int) -> int:
    """Return how many photos register somebody."""
    return min(asked, max(_REGISTERED, len(person.views) - _WALKED))


def _registered(person: Person, number: int, photos: int) -> Person:
    """Split somebody's photos: the poses wanted register; the others walk."""
    left = list(person.views)
    taken = []
    for index in range(_photos_of(person, photos)):
        yaw, pitch = _WANTED[index % len(_WANTED)]
        best = min(left, key=lambda view: (view.yaw - yaw) ** 2 + (view.pitch - pitch) ** 2)
        taken.append(best)
        left.remove(best)
    return Person(person.who, tuple(left), ref=f"C-{2001 + number}", registration=tuple(taken))


def _research(
    collection: Collection, folder: Path, rng: np.random.Generator
) -> tuple[list[Person], list[Person]]:
    splits = _splits(folder)
    pool = [
        person
        for name, listed in (("people_photos", "people"), ("mf_photos", "mf"))
        for person in _free(PhotoSet(folder, name), frozenset(splits[f"{listed}_{collection}"]))
    ]
    rng.shuffle(pool)
    # Those with many photos first: they can be registered and still walk on others.
    pool.sort(key=lambda person: len(person.views) < 9)  # noqa: PLR2004 - a miner-face person has seven
    half = 1 if collection == "development" else 0
    heads = [*_adults(PhotoSet(folder, "strangers"), half)]
    if collection == "development":
        heads += _aligned(PhotoSet(folder, "celeba_train"), frozenset(splits["celeba_development"]))
    else:
        heads += _aligned(PhotoSet(folder, "lfw_pairs"), None)
    rng.shuffle(heads)
    return _mixed(pool), heads


def _mixed(pool: list[Person]) -> list[Person]:
    """Let every sixth be a miner-face person: both sets are among the registered, most with many photos."""
    many = [person for person in pool if len(person.views) >= 9]  # noqa: PLR2004
    few = [person for person in pool if len(person.views) < 9]  # noqa: PLR2004
    mixed: list[Person] = []
    while many or few:
        mixed += [*many[:5], *few[:1]]
        many, few = many[5:], few[1:]
    return mixed


def _splits(folder: Path) -> dict[str, list[str]]:
    for path in (folder / "splits.json", folder.parent / "splits.json"):
        if path.is_file():
            content: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
            return content
    raise PhotoError(f"splits.json is missing in and above {folder}", fix="put it beside the face sets")


def _free(photos: PhotoSet, people: frozenset[str]) -> list[Person]:
    rows: list[dict[str, Any]] = json.loads(photos.read_bytes("manifest.json"))
    views: dict[str, list[View]] = {}
    for row in rows:
        box = tuple(float(value) for value in row["box"])
        if row["person"] in people and box[2] >= _NARROWEST:
            view = View(row["file"], box, row["yaw"], row["pitch"], _reader(photos, row["file"]))  # type: ignore[arg-type]
            views.setdefault(row["person"], []).append(view)
    return [Person(f"{photos.name}/{who}", tuple(own)) for who, own in sorted(views.items())]


def _adults(photos: PhotoSet, half: int) -> Iterable[Person]:
    """Yield every second adult of the stranger set; the age stands in the name after the A."""
    for number, photo in enumerate(photos.photos):
        age = photo.person.rpartition("A")[2]
        if number % 2 == half and age.isdigit() and int(age) >= _ADULT:
            yield _head(photos, photo.person, photo.file)


def _aligned(photos: PhotoSet, people: frozenset[str] | None) -> Iterable[Person]:
    for who, own in sorted(photos.by_person().items()):
        if people is None or who in people:
            yield _head(photos, who, own[0].file)


def _head(photos: PhotoSet, who: str, file: str) -> Person:
    view = View(f"{photos.name}/{file}", ALIGNED_FACE, 0.0, 0.0, _reader(photos, file))
    return Person(f"{photos.name}/{who}", (view,))


def _reader(photos: PhotoSet, file: str) -> Callable[[], Image]:
    return lambda: photos.read(file)


def _public() -> list[Person]:
    """Return the demo's portraits; their face boxes come from the detector."""
    from edge_app.faces.detect import CenterFace
    from field_test import assets

    files = assets.ensure_assets()
    detector = CenterFace.open(assets.ensure_detector())
    groups = {"obama": ("obama.jpg", "obama2.jpg", "obama3.jpg"), "biden": ("biden.jpg",)}
    groups["astronaut"] = ("astronaut.png",)
    try:
        return [
            Person(f"public/{who}", tuple(_portrait(detector, files[name]) for name in names))
            for who, names in groups.items()
        ]
    finally:
        detector.close()


def _portrait(detector: Any, path: Path) -> View:
    picture = read_photo(path)
    box = max(detector.detect(picture), key=lambda face: face.box.area).box
    return View(path.name, (box.x, box.y, box.width, box.height), 0.0, 0.0, lambda: read_photo(path))


def read_photo(path: Path) -> Image:
    """Return a picture file, (H, W, 3) uint8 BGR.

    Raises:
        PhotoError: it cannot be read.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise PhotoError(f"{path} is not a picture that OpenCV reads", fix="copy it again")
    return np.asarray(picture, dtype=np.uint8)


def write_registration(people: Sequence[Person], folder: Path) -> None:
    """Write the registration photos as ``REF/NUMBER.png`` under `folder`.

    Raises:
        OSError: it cannot be written.
    """
    for person in people:
        own = folder / str(person.ref)
        own.mkdir(parents=True, exist_ok=True)
        for number, view in enumerate(person.registration):
            if not cv2.imwrite(str(own / f"{number}.png"), _bust(view)):
                msg = f"OpenCV cannot write into {own}; is the disk full, or the folder read-only?"
                raise OSError(msg)


def _bust(view: View) -> Image:
    """Return the photo around the face: other people in it would make a registration ambiguous."""
    x, y, width, height = view.box
    picture = view.read()
    top, bottom = max(0, int(y - 0.7 * height)), int(y + 1.8 * height)
    return picture[top:bottom, max(0, int(x - 0.9 * width)) : int(x + 1.9 * width)]
