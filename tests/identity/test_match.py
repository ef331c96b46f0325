from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.errors import GalleryError
from edge_app.identity.match import SHORTLIST, Matcher, two_best
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.records import Embedding

MODEL = "a" * 64
PREPROCESS = "b" * 64

Unit = Callable[..., npt.NDArray[np.float32]]
Embed = Callable[..., Embedding]


def _matcher(people: dict[str, list[npt.NDArray[np.float32]]]) -> Matcher:
    refs = tuple(sorted(people))
    rows = [(number, vector) for number, ref in enumerate(refs) for vector in people[ref]]
    snapshot = GallerySnapshot(
        gallery_id="g",
        version=4,
        refs=refs,
        vectors=np.stack([vector for _, vector in rows]),
        owners=np.array([number for number, _ in rows], dtype=np.intp),
        model_sha256=MODEL,
        preprocess_sha256=PREPROCESS,
    )
    return Matcher(snapshot=snapshot, threshold=0.4)


def test_match_names_the_nearest_and_the_nearest_other(unit: Unit, embed: Embed) -> None:
    """The second best photo is of the same person: it is not the second best person."""
    matcher = _matcher({"A": [unit(a=1.0), unit(a=0.9)], "B": [unit(b=1.0)], "C": [unit(c=1.0)]})
    match = matcher.match(embed(unit(a=0.7, b=0.5, c=0.2)))
    assert (match.person_ref, match.second_ref) == ("A", "B")
    face, photos = unit(a=0.7, b=0.5, c=0.2), np.stack([unit(a=1.0), unit(a=0.9)])
    mean = photos.sum(axis=0)
    template = float(mean @ face) / float(np.linalg.norm(mean))
    assert match.score == pytest.approx((template + float((photos @ face).max())) / 2, abs=1e-6)
    assert match.second_score == pytest.approx(0.5, abs=1e-6)
    assert (match.threshold, match.gallery_version) == (0.4, 4)


def test_gallery_of_one_has_no_second(unit: Unit, embed: Embed) -> None:
    """Several photos of one person are still one person."""
    match = _matcher({"A": [unit(a=1.0), unit(b=1.0)]}).match(embed(unit(a=0.8)))
    assert (match.person_ref, match.second_ref, match.second_score) == ("A", None, -1.0)


def test_empty_gallery_matches_nobody(unit: Unit, embed: Embed) -> None:
    """A box that was never told anybody still runs."""
    snapshot = GallerySnapshot.empty(model_sha256=MODEL, preprocess_sha256=PREPROCESS)
    match = Matcher(snapshot=snapshot, threshold=0.4).match(embed(unit(a=1.0)))
    assert (match.person_ref, match.score, match.second_ref, match.gallery_version) == (None, -1.0, None, 0)


def test_one_photo_that_fits_helps_and_does_not_win_alone(unit: Unit, embed: Embed) -> None:
    """A has one photo that fits very well and one that does not at all, all of B's fit well: B is nearest."""
    people = {"A": [unit(a=1.0), unit(d=1.0)], "B": [unit(a=0.8, b=0.6), unit(a=0.8, b=-0.6)]}
    face = embed(unit(a=1.0))
    found = _matcher(people).scores(face)
    np.testing.assert_allclose([(0.5**0.5 + 1.0) / 2, (1.0 + 0.8) / 2], found, atol=1e-6)


@pytest.mark.parametrize("changed", [{"model": "c" * 64}, {"preprocess": "c" * 64}])
def test_embedding_of_another_model_is_refused(unit: Unit, embed: Embed, changed: dict[str, str]) -> None:
    """Vectors of two models have nothing to do with each other, and their cosine is a number all the same."""
    with pytest.raises(GalleryError, match="people reembed"):
        _matcher({"A": [unit(a=1.0)]}).match(embed(unit(a=1.0), **changed))


def test_photos_that_cancel_each_other_out_match_nobody() -> None:
    """Two opposite vectors have no mean direction: no number is NaN, and nobody is named by the one photo."""
    vector = np.zeros(128, np.float32)
    vector[0] = 1.0
    matcher = _matcher({"A": [vector, -vector], "B": [vector]})
    assert matcher.scores_of(vector).tolist() == [0.5, 1.0]


@pytest.mark.parametrize("people", [SHORTLIST, 300])
def test_scores_equal_brute_force(people: int) -> None:
    """One to five photos each, against the definition; behind the shortlist nobody is nearer."""
    rng = np.random.default_rng(3)
    photos_of = [rng.normal(size=(rng.integers(1, 6), 128)) for _ in range(people)]
    photos = [(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in photos_of]
    face = rng.normal(size=128).astype(np.float32)
    face /= np.float32(np.linalg.norm(face))
    found = _matcher({f"P{number:03}": list(rows) for number, rows in enumerate(photos)}).scores_of(face)
    means = [rows.sum(axis=0) for rows in photos]
    template = np.array([float(mean @ face / np.linalg.norm(mean)) for mean in means])
    best = np.array([float((rows @ face).max()) for rows in photos])
    near = np.argsort(-template)[:SHORTLIST]
    np.testing.assert_allclose(((template + best) / 2)[near], found[near], atol=1e-6)
    far = np.setdiff1d(np.arange(people), near)
    assert all(found[far] <= found[near].min())


@pytest.mark.parametrize(
    ("expected", "scores"),
    [
        ((None, None), []),
        ((0, None), [0.3]),
        ((0, 1), [0.3, 0.2]),
        ((1, 0), [0.2, 0.3]),
        ((2, 0), [0.5, 0.1, 0.9, 0.4]),
        ((1, 3), [0.1, 0.9, 0.3, 0.5]),
        ((0, 1), [0.5, 0.5, 0.1]),
    ],
)
def test_two_best(expected: tuple[int | None, int | None], scores: list[float]) -> None:
    """Highest and second highest, whichever comes first."""
    assert expected == two_best(np.array(scores))


def test_snapshot_refuses_what_does_not_belong_together(unit: Unit) -> None:
    """A person without a row, unsorted owners and long vectors are found when the value is made."""
    rows = np.stack([unit(a=1.0), unit(b=1.0)])
    for vectors, owners, refs in (
        (rows, [0, 0], ("A", "B")),
        (rows, [1, 0], ("A", "B")),
        (rows * 2, [0, 1], ("A", "B")),
        (rows, [0], ("A",)),
    ):
        with pytest.raises(ValueError, match=r"must|need"):
            GallerySnapshot("g", 1, refs, vectors, np.array(owners, np.intp), MODEL, PREPROCESS)
