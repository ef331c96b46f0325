from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.errors import GalleryError
from edge_app.identity.match import Matcher, Pooling, two_best
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.records import Embedding

MODEL = "a" * 64
PREPROCESS = "b" * 64

Unit = Callable[..., npt.NDArray[np.float32]]
Embed = Callable[..., Embedding]


def _matcher(people: dict[str, list[npt.NDArray[np.float32]]], *, pooling: Pooling = Pooling.MAX) -> Matcher:
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
    return Matcher(snapshot=snapshot, threshold=0.4, pooling=pooling)


def test_match_names_the_nearest_and_the_nearest_other(unit: Unit, embed: Embed) -> None:
    """The second best photo is of the same person: it is not the second best person."""
    matcher = _matcher({"A": [unit(a=1.0), unit(a=0.9)], "B": [unit(b=1.0)], "C": [unit(c=1.0)]})
    match = matcher.match(embed(unit(a=0.7, b=0.5, c=0.2)))
    assert (match.person_ref, match.second_ref) == ("A", "B")
    assert match.score == pytest.approx(0.9 * 0.7 + (1 - 0.81) ** 0.5 * (1 - 0.78) ** 0.5, abs=1e-6)
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


def test_mean_of_two_best_is_not_won_by_one_lucky_photo(unit: Unit, embed: Embed) -> None:
    """A: one photo very near, one far; B: two fairly near. The poolings disagree, as they should."""
    people = {
        "A": [unit(a=1.0), unit(d=1.0)],
        "B": [unit(b=1.0), unit(b=0.8, e=0.6), unit(e=1.0)],
        "C": [unit(c=1.0)],
    }
    face = embed(unit(a=0.62, b=0.6, c=0.1))
    assert _matcher(people).match(face).person_ref == "A"
    top2 = _matcher(people, pooling=Pooling.MEAN_TOP2)
    expected_b = sorted(float(vector @ face.vector) for vector in people["B"])[-2:]
    np.testing.assert_allclose([0.31, np.mean(expected_b), 0.1], top2.scores(face), atol=1e-6)


@pytest.mark.parametrize("changed", [{"model": "c" * 64}, {"preprocess": "c" * 64}])
def test_embedding_of_another_model_is_refused(unit: Unit, embed: Embed, changed: dict[str, str]) -> None:
    """Vectors of two models have nothing to do with each other, and their cosine is a number all the same."""
    with pytest.raises(GalleryError, match="people reembed"):
        _matcher({"A": [unit(a=1.0)]}).match(embed(unit(a=1.0), **changed))


def test_photos_that_cancel_each_other_out_match_nobody() -> None:
    """Two opposite vectors have no mean direction; the person is similar to nobody, and no number is NaN."""
    vector = np.zeros(128, np.float32)
    vector[0] = 1.0
    matcher = _matcher({"A": [vector, -vector], "B": [vector]}, pooling=Pooling.TEMPLATE)
    assert matcher.scores(Embedding(vector, MODEL, PREPROCESS)).tolist() == [0.0, 1.0]


def test_scores_equal_brute_force() -> None:
    """300 people with one to five photos each, all poolings, against the definition."""
    rng = np.random.default_rng(3)
    photos_of = [rng.normal(size=(rng.integers(1, 6), 128)).astype(np.float32) for _ in range(300)]
    people = {f"P{i:03}": [v / np.linalg.norm(v) for v in rows] for i, rows in enumerate(photos_of)}
    vector = rng.normal(size=128).astype(np.float32)
    face = Embedding(vector / np.float32(np.linalg.norm(vector)), MODEL, PREPROCESS)
    photos = {ref: sorted(float(v @ face.vector) for v in vectors) for ref, vectors in people.items()}
    best = [photos[ref][-1] for ref in sorted(photos)]
    top2 = [float(np.mean(photos[ref][-2:])) for ref in sorted(photos)]
    means = [np.mean(people[ref], axis=0) for ref in sorted(people)]
    template = [float(mean @ face.vector / np.linalg.norm(mean)) for mean in means]
    np.testing.assert_allclose(template, _matcher(people, pooling=Pooling.TEMPLATE).scores(face), atol=1e-6)
    np.testing.assert_allclose(best, _matcher(people).scores(face), atol=1e-6)
    np.testing.assert_allclose(top2, _matcher(people, pooling=Pooling.MEAN_TOP2).scores(face), atol=1e-6)


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
