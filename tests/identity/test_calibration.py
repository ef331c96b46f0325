"""Thresholds from a register and a cohort of strangers."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.errors import GalleryError
from edge_app.faces.detect import CenterFace
from edge_app.faces.preprocess import PREPROCESS_SHA256
from edge_app.identity import cohort
from edge_app.identity.calibration import Calibration, calibrate, load, path_beside, save
from edge_app.identity.evidence import Evidence, VoteOptions
from edge_app.identity.live import LiveMatcher
from edge_app.identity.match import Matcher
from edge_app.identity.passage import VIEWS, pooled, views_of_photo
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.records import Decision, Embedding

from .conftest import MODEL, PREPROCESS, FakeTime
from .thumbnail import ThumbnailRecogniser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_app.identity.gallery import Gallery
    from edge_app.identity.people import NewPhoto

DIM = 32


def people(count: int, *, seed: int, twins: int = 0, towards: float = 0.0) -> npt.NDArray[np.float32]:
    """Return unit vectors of people; the last `twins` are nearly the first ones; all lean one way."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, DIM))
    vectors[:, 0] += towards * np.sqrt(DIM)
    if twins:
        vectors[-twins:] = vectors[:twins] + 0.2 * rng.normal(size=(twins, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def register(vectors: npt.NDArray[np.float32]) -> GallerySnapshot:
    """Return a register of one photo each."""
    refs = tuple(f"p{number:04d}" for number in range(len(vectors)))
    owners = np.arange(len(vectors), dtype=np.intp)
    return GallerySnapshot("g", 1, refs, vectors, owners, MODEL, PREPROCESS)


def accepted(found: Calibration, snapshot: GallerySnapshot, strangers: npt.NDArray[np.float32]) -> float:
    """Return the share of strangers who are like somebody as that person's threshold asks."""
    bars = np.array([found.people[ref] for ref in snapshot.refs])
    return float(((strangers @ snapshot.vectors.T) >= bars).any(axis=1).mean())


@pytest.mark.parametrize("count", [1, 6, 100])
@pytest.mark.parametrize("far", [0.01, 0.001])
def test_rate_holds_for_strangers_who_were_not_in_the_cohort(count: int, far: float) -> None:
    """Whatever the size of the register: within a factor of two of what was asked for."""
    snapshot = register(people(count, seed=1))
    found = calibrate(snapshot, people(20_000, seed=2), far=far, floor=-1.0)
    assert not found.continued
    assert far / 2 <= accepted(found, snapshot, people(100_000, seed=3)) <= 2 * far


def test_small_cohort_is_continued_and_says_so() -> None:
    """600 strangers for a rate of 1 in 1,000: careful rather than generous."""
    snapshot = register(people(6, seed=1))
    found = calibrate(snapshot, people(600, seed=2), far=0.001, floor=-1.0)
    assert found.continued
    assert accepted(found, snapshot, people(100_000, seed=3)) <= 0.003


def test_more_people_need_a_higher_threshold() -> None:
    """A stranger has more chances to be like somebody."""
    strangers = people(5000, seed=2)
    bars = [
        calibrate(register(people(count, seed=1)), strangers, far=0.01, floor=-1.0).threshold
        for count in (1, 10, 100, 500)
    ]
    assert sorted(bars) == bars


def test_person_who_looks_like_many_strangers_has_a_higher_bar() -> None:
    """Their own spread counts."""
    vectors = people(5, seed=1)
    strangers = people(5000, seed=2, towards=0.4)
    vectors[0] = strangers.mean(axis=0) / np.linalg.norm(strangers.mean(axis=0))
    found = calibrate(register(vectors), strangers, far=0.01, floor=-1.0)
    assert found.people["p0000"] == max(found.people.values())


def test_no_threshold_is_below_the_floor_nor_out_of_reach() -> None:
    """The model's own was measured in worse light than photos of strangers."""
    found = calibrate(register(people(5, seed=1)), people(500, seed=2), far=0.1, floor=0.7)
    assert {0.7} == {found.threshold, *found.people.values()}


def test_twins_among_five_hundred_are_found_and_strict() -> None:
    """The planted pairs first, and few others; they need twice the lead, the others the plain one."""
    snapshot = register(people(500, seed=1, twins=3))
    found = calibrate(snapshot, people(2000, seed=2), far=0.01, floor=-1.0)
    planted = {("p0000", "p0497"), ("p0001", "p0498"), ("p0002", "p0499")}
    assert planted == {(one, other) for one, other, _ in found.alike[:3]}
    assert len(found.alike) < 20
    matcher = Matcher(snapshot=snapshot, threshold=found.threshold, bars=found.people, strict=found.strict)
    plain = next(ref for ref in snapshot.refs if ref not in found.strict)
    assert [2.0, 1.0] == [matcher.lead_of(ref) for ref in ("p0000", plain)]


def test_own_threshold_and_lead_decide() -> None:
    """The same similarity names one person, not another; a look-alike needs more lead."""
    vectors = np.eye(4, DIM, dtype=np.float32)
    snapshot = register(vectors)
    view = np.zeros(DIM, np.float32)

    def decide(*weights: float, **rules: object) -> Decision:
        view[:] = 0
        view[: len(weights)] = weights
        view[-1] = np.sqrt(1 - float((view**2).sum()))
        matcher = Matcher(snapshot=snapshot, threshold=0.5, **rules)  # type: ignore[arg-type]
        evidence = Evidence(VoteOptions(unknown_views=3))
        for at in range(3):
            evidence.add(Embedding(view.copy(), MODEL, PREPROCESS), weight=0.8, mono_ns=at, matcher=matcher)
        return evidence.verdict(current=None).decision

    assert Decision.NAMED is decide(0.6)
    assert Decision.UNKNOWN is decide(0.6, bars={"p0000": 0.65})
    assert Decision.NAMED is decide(0.0, 0.6, bars={"p0000": 0.65})
    assert Decision.NAMED is decide(0.6, 0.53)
    assert Decision.UNDECIDED is decide(0.6, 0.53, strict={"p0000"})


@pytest.mark.parametrize(
    ("snapshot", "strangers", "far", "complaint"),
    [
        (
            GallerySnapshot.empty(model_sha256=MODEL, preprocess_sha256=PREPROCESS),
            people(99, seed=1),
            0.1,
            "nobody",
        ),
        (register(people(3, seed=1)), people(49, seed=1), 0.1, "too few"),
        (register(people(3, seed=1)), people(99, seed=1), 0.0, "rate"),
        (register(people(3, seed=1)), people(99, seed=1), float("nan"), "rate"),
        (register(people(3, seed=1)), people(99, seed=1)[:, :8], 0.1, "shape"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    snapshot: GallerySnapshot, strangers: npt.NDArray[np.float32], far: float, complaint: str
) -> None:
    """With the reason."""
    with pytest.raises(GalleryError, match=complaint):
        calibrate(snapshot, strangers, far=far, floor=0.0)


def several(
    count: int, *, seed: int, photos: int = 3, apart: float = 0.07
) -> tuple[GallerySnapshot, npt.NDArray[np.float32]]:
    """Return a register of several photos each, and a passage of each person: as many others, pooled."""
    rng = np.random.default_rng(seed)
    middles = people(count, seed=seed)[:, None, :]
    all_photos = middles + apart * rng.normal(size=(count, 2 * photos, DIM))
    all_photos = (all_photos / np.linalg.norm(all_photos, axis=2, keepdims=True)).astype(np.float32)
    refs = tuple(f"p{number:04d}" for number in range(count))
    owners = np.repeat(np.arange(count), photos).astype(np.intp)
    vectors = all_photos[:, :photos].reshape(-1, DIM)
    passages = np.stack([pooled(list(own[photos:])) for own in all_photos])
    return GallerySnapshot("g", 1, refs, vectors, owners, MODEL, PREPROCESS), passages


def test_registered_people_in_the_cohort_are_left_out_and_named() -> None:
    """Two of them pushed every threshold to 1: nobody was ever named again, and nothing was said."""
    snapshot, passages = several(6, seed=1)
    strangers = people(60, seed=2)
    alone = calibrate(snapshot, strangers, far=0.01, floor=0.3)
    mixed = np.concatenate([strangers, passages[:1], passages[2:3]])
    found = calibrate(snapshot, mixed, far=0.01, floor=0.3)
    assert {"p0000", "p0002"} == {ref for ref, _ in found.left_out}
    assert (alone.threshold, 60) == (found.threshold, found.cohort)
    assert () == alone.left_out


@pytest.mark.parametrize("count", [6, 100])
def test_no_stranger_is_left_out(count: int) -> None:
    """Also not in a large cohort: the promised rate would not hold."""
    snapshot, _ = several(count, seed=1)
    assert () == calibrate(snapshot, people(20_000, seed=2), far=0.001, floor=-1.0).left_out


def test_cohort_of_registered_people_is_none() -> None:
    """A quarter of it and more: somebody gave the wrong folder."""
    snapshot, passages = several(40, seed=1)
    with pytest.raises(GalleryError, match=r"40 of 100 in the cohort .* and 30 more"):
        calibrate(snapshot, np.concatenate([people(60, seed=2), passages]), far=0.01, floor=0.3)


def test_thresholds_at_which_hardly_anybody_is_named_are_refused_unless_asked_for() -> None:
    """Strangers who are all like everybody; the operator's old thresholds stay."""
    snapshot, _ = several(6, seed=1, apart=0.3)
    near = snapshot.vectors[0] + 0.12 * np.random.default_rng(3).normal(size=(30, DIM))
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    one_photo = register(snapshot.vectors[::3])
    mixed = np.concatenate([people(600, seed=2), near])
    with pytest.raises(GalleryError, match=r"only 0 people .* of 6 before; the most alike resemble p0000"):
        calibrate(one_photo, mixed, far=0.01, floor=0.3)
    assert calibrate(one_photo, mixed, far=0.01, floor=0.3, allow_unnamed=True).threshold > 0.8


def test_people_whose_own_photos_are_too_unlike_are_named() -> None:
    """They would not be found out otherwise; of one photo nothing can be said."""
    snapshot, _ = several(5, seed=1)
    unlike = people(3, seed=9)
    vectors = np.concatenate([snapshot.vectors, unlike])
    owners = np.append(snapshot.owners, [5, 5, 6]).astype(np.intp)
    refs = (*snapshot.refs, "unlike", "single")
    mixed = GallerySnapshot("g", 1, refs, vectors, owners, MODEL, PREPROCESS)
    found = calibrate(mixed, people(200, seed=2), far=0.01, floor=0.3)
    assert (("unlike",), 1) == (found.unnamed, found.single)


@pytest.mark.parametrize(
    ("strangers", "far", "least"),
    [
        (60, 1e-9, "--far 0.0017 or more, or make a cohort of 100,000,000"),
        (60, 0.0016, "0.0017"),
        (99, 1e-3, "0.0011"),
    ],
)
def test_rate_that_the_cohort_cannot_carry_is_refused_with_what_it_can(
    strangers: int, far: float, least: str
) -> None:
    """A tail of six strangers says nothing about one in a thousand million."""
    snapshot = register(people(6, seed=1))
    with pytest.raises(GalleryError, match="say nothing about a rate of") as caught:
        calibrate(snapshot, people(strangers, seed=2), far=far, floor=-1.0)
    assert least in caught.value.fix
    assert calibrate(snapshot, people(strangers, seed=2), far=0.0017, floor=-1.0).continued


def test_file_holds_what_was_found(tmp_path: Path) -> None:
    """Nothing there is no calibration; damaged is an error with its fix."""
    path = tmp_path / "people.db.calibration.json"
    assert load(path) is None
    snapshot, passages = several(5, seed=1)
    found = calibrate(
        snapshot, np.concatenate([people(100, seed=2), passages]), far=0.1, floor=0.1, allow_unnamed=True
    )
    save(path, found)
    assert found.left_out
    assert 0o600 == path.stat().st_mode & 0o777, "it names people"
    assert found == load(path)
    for content in (b"", b"[]", b"{", b'{"v": 2}', json.dumps({"v": 1, "alike": [], "people": {}}).encode()):
        path.write_bytes(content)
        with pytest.raises(GalleryError, match="calibrate"):
            load(path)


def test_daemon_takes_a_calibration_over_while_it_runs(
    gallery: Gallery,
    clock: FakeTime,
    photo: Callable[..., NewPhoto],
    unit: Callable[..., npt.NDArray[np.float32]],
) -> None:
    """Within a second; one of another model is not used."""
    gallery.add(ref="A", name="A", photos=[photo("a", unit(a=1.0))])
    path = path_beside(gallery.path)
    live = LiveMatcher(
        gallery=gallery, model_sha256=MODEL, preprocess_sha256=PREPROCESS, threshold=0.4, clock=clock,
        calibration_path=path,
    )  # fmt: skip
    assert 0.4 == live().bar_of("A")
    made = Calibration(
        model_sha256=MODEL, preprocess_sha256=PREPROCESS, far=0.1, cohort=99, threshold=0.5, people={"A": 0.6}
    )
    save(path, made)
    clock.sleep(2)
    assert [0.6, 0.5] == [live().bar_of(ref) for ref in ("A", "later")]
    path.unlink()
    clock.sleep(2)
    assert 0.4 == live().bar_of("A")


def test_cohort_file_is_for_its_model_and_its_owner(tmp_path: Path) -> None:
    """Another model's, and what is none, are refused; it is readable for its owner alone."""
    path = tmp_path / "c.npz"
    made = cohort.Cohort(people(60, seed=1), MODEL, PREPROCESS_SHA256, by_person=True)
    cohort.save(path, made)
    assert cohort.load(path, model_sha256=MODEL).by_person
    assert 0o600 == path.stat().st_mode & 0o777
    assert np.array_equal(made.vectors, cohort.load(path, model_sha256=MODEL).vectors)
    with pytest.raises(GalleryError, match="was made with model"):
        cohort.load(path, model_sha256="f" * 64)
    np.savez(path, vectors=made.vectors, model=np.array(MODEL), preprocess=np.array(PREPROCESS_SHA256))
    with pytest.raises(GalleryError, match="people cohort"):
        cohort.load(path, model_sha256=MODEL)  # single photos, of an earlier version
    for content in (b"", b"PK nonsense", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(GalleryError, match="people cohort"):
            cohort.load(path, model_sha256=MODEL)


def test_views_of_a_photo_are_its_own_and_always_the_same() -> None:
    """The photo first; the others differ from it and from each other, and come again with the same seed."""
    crop = np.random.default_rng(2).integers(0, 256, (28, 28, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    views = views_of_photo(crop, seed=7)
    assert (VIEWS, 224, 224, 3) == views.shape
    assert np.array_equal(crop, views[0])
    assert VIEWS == len({view.tobytes() for view in views})
    assert np.array_equal(views, views_of_photo(crop, seed=7))
    assert not np.array_equal(views[1:], views_of_photo(crop, seed=8)[1:])


def test_pooling_is_the_mean_direction_and_refuses_none() -> None:
    """As the box pools a track."""
    one, other = np.eye(4, dtype=np.float32)[:2]
    assert pytest.approx([0.7071, 0.7071, 0, 0], abs=1e-4) == pooled([one, other]).tolist()
    with pytest.raises(ValueError, match="cancel"):
        pooled([one, -one])


def test_cohort_is_made_of_passages_one_a_photo_or_one_a_folder(
    demo_photos: Mapping[str, Path], centerface: Path, tmp_path: Path
) -> None:
    """Three photos in two folders: three strangers, or two; what shows no face is counted."""
    for name, who in (("obama", "a"), ("obama3", "a"), ("biden", "b")):
        (tmp_path / who).mkdir(exist_ok=True)
        shutil.copy(demo_photos[name], tmp_path / who / f"{name}.jpg")
    (tmp_path / "b" / "empty.png").write_bytes(b"no picture")
    recogniser = ThumbnailRecogniser()
    detector = CenterFace.open(centerface)
    made, without = cohort.build(tmp_path, detector=detector, recogniser=recogniser)
    assert (3, 1, False) == (len(made.vectors), without, made.by_person)
    made, without = cohort.build(tmp_path, detector=detector, recogniser=recogniser, by_person=True)
    assert (2, 1) == (len(made.vectors), without)
    assert pytest.approx([1.0, 1.0], abs=1e-5) == np.linalg.norm(made.vectors, axis=1).tolist()
    detector.close()


def test_cohort_of_several_photos_each_says_so(
    demo_photos: Mapping[str, Path], centerface: Path, tmp_path: Path
) -> None:
    """One photo a person promises too much: the calibration must know which it has."""
    (tmp_path / "a").mkdir()
    for name in ("obama", "obama3"):
        shutil.copy(demo_photos[name], tmp_path / "a" / f"{name}.jpg")
    detector = CenterFace.open(centerface)
    made, _ = cohort.build(tmp_path, detector=detector, recogniser=ThumbnailRecogniser(), by_person=True)
    assert (1, True) == (len(made.vectors), made.by_person)
    detector.close()
