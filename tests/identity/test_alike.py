"""Look-alikes in the register: found whatever its size, stricter without any calibration, never mixed up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_app.identity.alike import look_alikes
from edge_app.identity.evidence import VoteOptions
from edge_app.identity.live import LiveMatcher
from edge_app.identity.match import STRICT_LEAD, Matcher
from edge_app.identity.vote import IdentityStage
from edge_app.records import Box, Decision, Embedding, Face, Quality, Rejection, TrackedFace
from tests.identity.conftest import MODEL, PREPROCESS
from tests.identity.test_calibration import people, register

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from edge_app.identity.gallery import Gallery
    from edge_app.identity.people import NewPhoto
    from edge_app.records import Identity

S = 1_000_000_000


@pytest.mark.parametrize("count", [0, 1, 2, 511, 513, 1100])
def test_pairs_are_those_of_the_definition(count: int) -> None:
    """Across the borders of what is compared at a time; each pair once, most similar first."""
    vectors = people(count, seed=4, twins=min(count // 2, 20))
    refs = tuple(f"p{n}" for n in range(count))
    bars = np.linspace(0.5, 0.8, count)
    expected = {
        (refs[i], refs[j])
        for i in range(count)
        for j in range(i + 1, count)
        if (vectors[i] @ vectors[j]) >= min(bars[i], bars[j])
    }
    found = look_alikes(refs, vectors, bars)
    assert expected == {(one, other) for one, other, _ in found}
    assert sorted((score for *_, score in found), reverse=True) == [score for *_, score in found]
    assert len(expected) == len(found) >= min(count // 2, 20)


def test_twins_registered_while_the_box_runs_are_strict_without_a_calibration(
    gallery: Gallery, clock: Any, unit: Callable[..., Any], photo: Callable[..., NewPhoto]
) -> None:
    """From the next second on, and not after one of them is removed."""
    gallery.add(ref="A", name="A", photos=[photo("a", unit(a=1.0))])
    live = LiveMatcher(
        gallery=gallery, model_sha256=MODEL, preprocess_sha256=PREPROCESS, threshold=0.5, clock=clock
    )
    assert 1.0 == live().lead_of("A")
    gallery.add(ref="B", name="B", photos=[photo("b", unit(a=0.9, b=0.4))])
    gallery.add(ref="C", name="C", photos=[photo("c", unit(c=1.0))])
    clock.sleep(2)
    assert [STRICT_LEAD, STRICT_LEAD, 1.0] == [live().lead_of(ref) for ref in "ABC"]
    gallery.remove("B")
    clock.sleep(2)
    assert 1.0 == live().lead_of("A")


def passage(matcher: Matcher, vector: npt.NDArray[np.floating], *, noise: float, seed: int) -> Identity:
    """Return what is said in the end about ten noisy views of `vector`."""
    rng = np.random.default_rng(seed)
    stage = IdentityStage(lambda: matcher, options=VoteOptions())
    quality = Quality(90.0, 9.0, 90.0, 40.0, 0.0, 0.0, 0.0, 0.8)
    marks = np.array([[1, 1], [5, 1], [3, 3], [1, 5], [5, 5]], np.float32)
    face = TrackedFace("t", Face(Box(0, 0, 90, 90), marks, 0.9), quality, None)
    words = []
    for number in range(10):
        view = vector + noise * rng.normal(size=len(vector)) / np.sqrt(len(vector))
        embedding = Embedding((view / np.linalg.norm(view)).astype(np.float32), MODEL, PREPROCESS)
        words.append(stage.view("c", face, embedding, number, number * S // 10))
    words.append(stage.end("c", "t", 2 * S))
    return [word for word in words if word is not None][-1]


def test_five_hundred_with_twins_name_nobody_as_their_twin() -> None:
    """40 pairs of twins among 500: each is named as themselves or nobody, with the reason."""
    vectors = people(500, seed=9, twins=40)
    snapshot = register(vectors)
    pairs = look_alikes(snapshot.refs, vectors, np.full(500, 0.75))
    strict = {ref for one, other, _ in pairs for ref in (one, other)}
    assert {ref for n in range(40) for ref in (f"p{n:04d}", f"p{460 + n:04d}")} <= strict
    matcher = Matcher(snapshot=snapshot, threshold=0.75, strict=strict)
    said = [passage(matcher, vectors[n], noise=0.35, seed=n) for n in range(40)]
    named = [(word.person_ref, n) for n, word in enumerate(said) if word.decision is Decision.NAMED]
    assert [f"p{n:04d}" for _, n in named] == [ref for ref, _ in named]
    others = {word.reason for word in said if word.decision is not Decision.NAMED}
    assert others <= {Rejection.LOOK_ALIKE}
    alone = [passage(matcher, vectors[n], noise=0.35, seed=n) for n in range(100, 120)]
    assert [f"p{n:04d}" for n in range(100, 120)] == [word.person_ref for word in alone]


def test_half_way_between_twins_nobody_is_named() -> None:
    """Nobody can tell: no name, and the reason."""
    vectors = people(500, seed=9, twins=40)
    middle = vectors[0] + vectors[460]
    matcher = Matcher(snapshot=register(vectors), threshold=0.6, strict={"p0000", "p0460"})
    word = passage(matcher, middle / np.linalg.norm(middle), noise=0.1, seed=1)
    assert (Decision.UNDECIDED, Rejection.LOOK_ALIKE) == (word.decision, word.reason)


def test_gallery_of_one_needs_no_lead_and_of_none_says_so() -> None:
    """One person is named by the threshold alone; an empty register is the reason why nobody is."""
    one = people(1, seed=3)
    word = passage(Matcher(snapshot=register(one), threshold=0.6), one[0], noise=0.2, seed=1)
    assert ("p0000", None) == (word.person_ref, word.margin)
    empty = register(one[:0])
    word = passage(Matcher(snapshot=empty, threshold=0.6), one[0], noise=0.2, seed=1)
    assert (Decision.UNKNOWN, Rejection.EMPTY_GALLERY) == (word.decision, word.reason)
