from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.identity.evidence import Evidence
from edge_app.identity.match import Matcher
from edge_app.identity.snapshot import GallerySnapshot
from edge_app.identity.vote import IdentityStage, VoteOptions
from edge_app.records import Box, Decision, Embedding, Face, Identity, Quality, Rejection, TrackedFace

MODEL = "a" * 64
PREPROCESS = "b" * 64
THRESHOLD = 0.4
FRAME_NS = 100_000_000

Unit = Callable[..., npt.NDArray[np.float32]]


def gallery_of(*axes: str, version: int = 1) -> Matcher:
    """Return a matcher that knows one person an axis; ``unit(a=0.7)`` is .7 like person ``A``."""
    vectors = np.zeros((len(axes), 128), np.float32)
    for row, axis in zip(vectors, axes, strict=True):
        row[ord(axis) - ord("a")] = 1.0
    snapshot = GallerySnapshot(
        "g",
        version,
        tuple(axis.upper() for axis in axes),
        vectors if axes else np.zeros((0, 0), np.float32),
        np.arange(len(axes), dtype=np.intp),
        MODEL,
        PREPROCESS,
    )
    return Matcher(snapshot=snapshot, threshold=THRESHOLD)


def pooled(*views: tuple[float, npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Return the weighted mean of unit vectors as a unit vector."""
    total = np.sum([weight * view.astype(np.float64) for weight, view in views], axis=0)
    return np.asarray(total / np.linalg.norm(total))


class Tunnel:
    """Drives a stage with one view a tenth of a second, and keeps what it says."""

    def __init__(self, matcher: Matcher, **options: Any) -> None:
        self.matcher = matcher
        self.stage = IdentityStage(lambda: self.matcher, options=VoteOptions(**options))
        self.frame = 0
        self.said: list[Identity] = []

    @property
    def now_ns(self) -> int:
        """When the current frame was taken."""
        return self.frame * FRAME_NS

    def view(
        self,
        vector: npt.NDArray[np.float32] | None,
        *,
        score: float = 0.8,
        rejection: Rejection | None = None,
        track: str = "t1",
        px: float = 90.0,
    ) -> Identity | None:
        """Show one view; None is a view without embedding."""
        self.frame += 1
        quality = Quality(px, 200.0, 110.0, 50.0, 0.0, 0.0, 0.0, score, rejection)
        landmarks = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
        tracked = TrackedFace(track, Face(Box(0, 0, px, px), landmarks, 0.9), quality, None)
        embedding = None if vector is None else Embedding(vector, MODEL, PREPROCESS)
        said = self.stage.view("cam", tracked, embedding, self.frame, self.now_ns)
        if said is not None:
            self.said.append(said)
        return said

    def views(self, *vectors: npt.NDArray[np.float32]) -> list[tuple[Decision, str | None]]:
        """Show several views; returns what was said to them."""
        before = len(self.said)
        for vector in vectors:
            self.view(vector)
        return [(said.decision, said.person_ref) for said in self.said[before:]]

    def end(self, track: str = "t1") -> Identity | None:
        """End the track."""
        return self.stage.end("cam", track, self.now_ns)

    def wants(self, *, score: float = 0.8, rejection: Rejection | None = None, after_ms: int = 100) -> bool:
        """Ask whether a view that much later would be embedded."""
        quality = Quality(90.0, 200.0, 110.0, 50.0, 0.0, 0.0, 0.0, score, rejection)
        return self.stage.wants_embedding("cam", "t1", quality, self.now_ns + after_ms * 1_000_000)


def test_registered_person_is_named_after_enough_views(unit: Unit) -> None:
    """Not at the first view, at the third; with the numbers behind it; and once."""
    tunnel = Tunnel(gallery_of("a", "b"))
    assert tunnel.view(unit(a=0.7, b=0.1)) is None
    assert tunnel.view(unit(a=0.6, b=0.2)) is None
    said = tunnel.view(unit(a=0.5, b=0.3))
    assert said is not None
    assert (said.decision, said.person_ref, said.reason) == (Decision.NAMED, "A", None)
    like_a, like_b = pooled((1, unit(a=0.7, b=0.1)), (1, unit(a=0.6, b=0.2)), (1, unit(a=0.5, b=0.3)))[:2]
    assert said.score == pytest.approx(like_a, abs=1e-6)
    assert said.margin == pytest.approx(like_a - like_b, abs=1e-6)
    assert (said.votes, said.revised, said.final, said.gallery_version) == (3, 0, False, 1)
    assert (said.first_seen_ns, said.mono_ns, said.frame_index) == (FRAME_NS, 3 * FRAME_NS, 3)
    assert tunnel.views(*[unit(a=0.6)] * 20) == []
    assert tunnel.end() is None


def test_other_options_count_for_the_next_track(unit: Unit) -> None:
    """A running box takes them over; a track that is under way keeps its evidence."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.stage.use_options(VoteOptions(min_views=5))
    assert [] == tunnel.views(*[unit(a=0.7)] * 4)
    assert [(Decision.NAMED, "A")] == tunnel.views(unit(a=0.7))


def test_better_views_weigh_more(unit: Unit) -> None:
    """Two blurred views like B against one sharp one like A: the weights decide."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.view(unit(b=0.7), score=0.1)
    tunnel.view(unit(b=0.7), score=0.1)
    said = tunnel.view(unit(a=0.7), score=0.9)
    assert said is not None
    assert said.person_ref == "A"
    like_a, like_b = pooled((0.9, unit(a=0.7)), (0.2, unit(b=0.7)))[:2]
    assert said.score == pytest.approx(like_a, abs=1e-6)
    assert said.margin == pytest.approx(like_a - like_b, abs=1e-6)


def test_what_differs_between_views_cancels_out(unit: Unit) -> None:
    """Four dusty views, each .35 like A and as much like noise of its own: pooled, they are A, clearly."""
    tunnel = Tunnel(gallery_of("a", "b"))
    assert THRESHOLD > 0.35
    dusty = [unit(a=0.35) for _ in range(4)]
    for number, view in enumerate(dusty):
        rest = np.zeros(128, np.float32)
        rest[100 + number] = np.sqrt(1 - 0.35**2)
        view[:] = rest
        view[0] = 0.35
    tunnel.views(*dusty)
    assert [(Decision.NAMED, "A")] == [(said.decision, said.person_ref) for said in tunnel.said]


def test_poor_views_alone_are_not_enough(unit: Unit) -> None:
    """Three views of weight .1 are three views and no evidence."""
    tunnel = Tunnel(gallery_of("a", "b"), min_weight=0.5)
    for _ in range(4):
        assert tunnel.view(unit(a=0.7), score=0.1) is None
    said = tunnel.view(unit(a=0.7), score=0.11)
    assert said is not None
    assert said.votes == 5


def test_stranger_is_called_unknown_and_later_than_a_friend(unit: Unit) -> None:
    """Unknown is a decision, with its reason; it takes twice the views while the track goes on."""
    tunnel = Tunnel(gallery_of("a", "b"))
    assert tunnel.views(*[unit(a=0.2, b=0.1)] * 5) == []
    said = tunnel.view(unit(a=0.2, b=0.1))
    assert said is not None
    assert (said.decision, said.person_ref, said.reason) == (
        Decision.UNKNOWN,
        None,
        Rejection.BELOW_THRESHOLD,
    )
    assert said.score == pytest.approx(0.2)


def test_stranger_on_a_short_track_is_called_unknown_at_its_end(unit: Unit) -> None:
    """No more views will come, so three are enough."""
    tunnel = Tunnel(gallery_of("a", "b"))
    assert tunnel.views(*[unit(a=0.2)] * 3) == []
    said = tunnel.end()
    assert said is not None
    assert (said.decision, said.final, said.votes) == (Decision.UNKNOWN, True, 3)


def test_nearest_is_not_identity(unit: Unit) -> None:
    """Just below the threshold and far ahead of everybody else is still nobody."""
    tunnel = Tunnel(gallery_of("a", "b"))
    said = tunnel.views(*[unit(a=THRESHOLD - 0.01, b=-0.3)] * 6)
    assert said == [(Decision.UNKNOWN, None)]


def test_look_alikes_are_not_guessed_apart(unit: Unit) -> None:
    """Two registered people equally near: undecided and ambiguous, said after a while and at the end."""
    tunnel = Tunnel(gallery_of("a", "b"))
    said = tunnel.views(*[unit(a=0.62, b=0.6)] * 40)
    assert said == [(Decision.UNDECIDED, None)]
    assert tunnel.said[0].reason is Rejection.AMBIGUOUS
    assert tunnel.said[0].margin == pytest.approx(0.02, abs=1e-6)
    assert tunnel.said[0].mono_ns - tunnel.said[0].first_seen_ns == 3_000_000_000
    last = tunnel.end()
    assert last is not None
    assert (last.decision, last.reason, last.final) == (Decision.UNDECIDED, Rejection.AMBIGUOUS, True)


def test_gallery_of_one_needs_no_margin(unit: Unit) -> None:
    """With one person there is nobody to be mixed up with."""
    tunnel = Tunnel(gallery_of("a"), margin=0.9)
    said = tunnel.views(*[unit(a=0.5)] * 3)
    assert said == [(Decision.NAMED, "A")]
    assert tunnel.said[0].margin is None


def test_empty_gallery_knows_nobody_and_says_why(unit: Unit) -> None:
    """People are there and unknown, because nobody is registered."""
    tunnel = Tunnel(gallery_of())
    assert tunnel.views(*[unit(a=0.9)] * 6) == [(Decision.UNKNOWN, None)]
    assert tunnel.said[0].reason is Rejection.EMPTY_GALLERY
    assert tunnel.said[0].score is None


def test_rejected_views_tell_the_reason_at_the_end() -> None:
    """Nothing usable was seen: the commonest rejection is the reason, and nothing was voted."""
    tunnel = Tunnel(gallery_of("a"))
    for rejection in [Rejection.BLURRED] * 3 + [Rejection.TOO_DARK] * 5 + [Rejection.TOO_SMALL] * 2:
        assert tunnel.view(None, rejection=rejection, score=0.0) is None
    said = tunnel.end()
    assert said is not None
    assert (said.decision, said.reason, said.votes, said.score) == (
        Decision.UNDECIDED,
        Rejection.TOO_DARK,
        0,
        None,
    )


def test_rejected_view_never_votes(unit: Unit) -> None:
    """Even if somebody embedded it."""
    tunnel = Tunnel(gallery_of("a"))
    for _ in range(10):
        tunnel.view(unit(a=0.9), rejection=Rejection.BLURRED)
    said = tunnel.end()
    assert said is not None
    assert (said.votes, said.reason) == (0, Rejection.BLURRED)


def test_two_good_views_are_too_few(unit: Unit) -> None:
    """A passage with two usable views out of two ends undecided, for that reason."""
    tunnel = Tunnel(gallery_of("a"))
    tunnel.views(unit(a=0.9), unit(a=0.9))
    said = tunnel.end()
    assert said is not None
    assert (said.decision, said.reason) == (Decision.UNDECIDED, Rejection.TOO_FEW_VIEWS)


def test_long_blind_track_is_explained_once() -> None:
    """Somebody stands in the dark for a minute: one word after three seconds, one at the end."""
    tunnel = Tunnel(gallery_of("a"))
    for _ in range(600):
        tunnel.view(None, rejection=Rejection.TOO_DARK, score=0.0)
    assert [Rejection.TOO_DARK] == [said.reason for said in tunnel.said]
    last = tunnel.end()
    assert last is not None
    assert last.final


@pytest.mark.parametrize("period", [1, 2, 3, 4, 6, 9, 12, 20])
def test_alternating_evidence_never_flickers(unit: Unit, period: int) -> None:
    """A and B in turns of `period` views, 1,200 views: a handful of changes at most, never one a turn."""
    tunnel = Tunnel(gallery_of("a", "b"))
    a, b = unit(a=0.7, b=0.1), unit(b=0.7, a=0.1)
    for turn in range(1200 // period):
        tunnel.views(*[a if turn % 2 == 0 else b] * period)
    assert len(tunnel.said) <= 4
    assert [said.revised for said in tunnel.said] == list(range(len(tunnel.said)))


def test_random_evidence_never_flickers(unit: Unit) -> None:
    """Twenty tracks of noise around the threshold: each change takes four times the views of the last."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        tunnel = Tunnel(gallery_of("a", "b"))
        for a, b in rng.normal((THRESHOLD, THRESHOLD - 0.05), 0.15, size=(500, 2)):
            tunnel.view(unit(a=float(np.clip(a, -0.7, 0.7)), b=float(np.clip(b, -0.7, 0.7))))
        changes = [said for said in tunnel.said if said.revised]
        gaps = np.diff([tunnel.said[0].frame_index, *[said.frame_index for said in changes]])
        assert all(gap >= min(2 * 4**k, 48) for k, gap in enumerate(gaps)), (seed, gaps)
        assert len(tunnel.said) <= 6, seed


def test_single_wrong_views_do_not_unseat_a_name(unit: Unit) -> None:
    """Every fourth view like somebody else altogether: the name stays."""
    tunnel = Tunnel(gallery_of("a", "b"))
    said = tunnel.views(*[unit(a=0.7), unit(a=0.6), unit(a=0.65), unit(b=0.7)] * 50)
    assert said == [(Decision.NAMED, "A")]


def test_swapped_track_is_corrected(unit: Unit) -> None:
    """Two people cross and the tracker swaps them: the name follows the face within 1.5 s, once."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 30)
    swap = tunnel.now_ns
    said = tunnel.views(*[unit(b=0.7)] * 30)
    assert said[-1] == (Decision.NAMED, "B")
    assert tunnel.said[-1].mono_ns - swap <= 1_500_000_000
    assert tunnel.said[-1].revised >= 1


def test_named_track_taken_over_by_a_stranger_becomes_unknown(unit: Unit) -> None:
    """A name must not stick to somebody who is nobody."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 12)
    assert tunnel.views(*[unit(a=0.1)] * 20)[-1] == (Decision.UNKNOWN, None)


def test_unknown_who_comes_closer_is_named(unit: Unit) -> None:
    """Far away below the threshold, near above it: one correction."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.3)] * 8)
    said = tunnel.views(*[unit(a=0.65)] * 14)
    assert said == [(Decision.NAMED, "A")]
    assert tunnel.said[-1].revised == 1


def test_change_needs_more_than_a_first_decision(unit: Unit) -> None:
    """Just over the threshold names a new track, and does not rename an unknown one."""
    just_over = unit(a=THRESHOLD + 0.02)
    fresh = Tunnel(gallery_of("a", "b"))
    assert fresh.views(*[just_over] * 3) == [(Decision.NAMED, "A")]
    settled = Tunnel(gallery_of("a", "b"))
    settled.views(*[unit(a=0.2)] * 8)
    assert settled.views(*[just_over] * 100) == []


def test_name_stays_a_little_below_the_threshold(unit: Unit) -> None:
    """Named near by, then walking away: the name stays while nobody else is likelier."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 12)
    assert tunnel.views(*[unit(a=THRESHOLD - 0.05)] * 60) == []


def test_evidence_is_independent_of_the_order_of_views(unit: Unit) -> None:
    """All 120 orders of five views in one window: the same means and the same verdict."""
    matcher = gallery_of("a", "b", "c")
    vectors = [unit(a=0.7), unit(b=0.6), unit(a=0.3, c=0.5), unit(a=0.5), unit(c=0.4)]
    views = list(zip(vectors, [0.9, 0.2, 0.5, 0.7, 0.1], strict=True))
    results = []
    for order in itertools.permutations(views):
        evidence = Evidence(VoteOptions())
        for number, (vector, weight) in enumerate(order):
            embedding = Embedding(vector, MODEL, PREPROCESS)
            evidence.add(embedding, weight=weight, mono_ns=number, matcher=matcher)
        results.append((*evidence.likeness(), evidence.verdict(current=None).says))
    np.testing.assert_allclose(np.array([r[:3] for r in results], float), np.tile(results[0][:3], (120, 1)))
    assert {result[3] for result in results} == {(Decision.NAMED, "A")}


def test_old_evidence_fades(unit: Unit) -> None:
    """Views older than the window do not count, however few came since."""
    evidence, matcher = Evidence(VoteOptions(window_s=2.0)), gallery_of("a", "b")
    for second in range(8):
        vector = unit(a=0.7) if second < 5 else unit(b=0.7)
        embedding = Embedding(vector, MODEL, PREPROCESS)
        evidence.add(embedding, weight=1.0, mono_ns=second * 1_000_000_000, matcher=matcher)
    assert len(evidence) == 3
    np.testing.assert_allclose([0.0, 0.7], evidence.likeness(), atol=1e-6)


def test_window_is_bounded(unit: Unit) -> None:
    """An hour on one track costs no more memory than a second."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 500)
    assert len(tunnel.stage._tracks["cam", "t1"].evidence) == 6
    tunnel.end()
    assert tunnel.stage._tracks == {}


def test_removed_person_is_unnamed_at_the_next_view(unit: Unit) -> None:
    """Somebody removes A while A stands there: the name goes at once, without patience."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 10)
    tunnel.matcher = gallery_of("b", version=2)
    said = tunnel.view(None)
    assert said is not None
    assert (said.decision, said.person_ref, said.gallery_version, said.revised) == (
        Decision.UNKNOWN,
        None,
        2,
        1,
    )


def test_person_registered_while_standing_there_is_named(unit: Unit) -> None:
    """The views seen so far are compared with the new register too."""
    tunnel = Tunnel(gallery_of("b"))
    assert tunnel.views(*[unit(a=0.7)] * 12) == [(Decision.UNKNOWN, None)]
    tunnel.matcher = gallery_of("a", "b", version=2)
    assert tunnel.views(*[unit(a=0.7)] * 4) == [(Decision.NAMED, "A")]


def test_tracks_and_cameras_are_told_apart(unit: Unit) -> None:
    """The same track name on two cameras, two tracks on one: nobody's views are mixed."""
    tunnel = Tunnel(gallery_of("a", "b"))
    for _ in range(3):
        tunnel.view(unit(a=0.7), track="t1")
        tunnel.view(unit(b=0.7), track="t2")
    assert [("t1", "A"), ("t2", "B")] == [(said.track, said.person_ref) for said in tunnel.said]
    assert tunnel.stage.current("cam", "t2") == (Decision.NAMED, "B")
    assert tunnel.stage.current("other", "t2") == (Decision.UNDECIDED, None)


def test_lost_camera_ends_its_tracks(unit: Unit) -> None:
    """What was decided and told needs no word; what was not decided gets its last one."""
    tunnel = Tunnel(gallery_of("a", "b"))
    for _ in range(3):
        tunnel.view(unit(a=0.7), track="t1")
    tunnel.view(unit(b=0.7), track="t2")
    words = tunnel.stage.end_camera("cam", tunnel.now_ns)
    assert [("t2", Rejection.TOO_FEW_VIEWS, True)] == [(w.track, w.reason, w.final) for w in words]
    assert tunnel.stage.end_camera("cam", tunnel.now_ns) == []
    assert tunnel.end() is None


def test_undecided_track_wants_every_view_and_a_decided_one_few(unit: Unit) -> None:
    """The recogniser's time goes where a decision is open."""
    tunnel = Tunnel(gallery_of("a", "b"), reembed_ms=400)
    assert tunnel.wants()
    tunnel.view(unit(a=0.7))
    assert tunnel.wants(after_ms=1)
    tunnel.views(*[unit(a=0.7)] * 5)
    assert not tunnel.wants(after_ms=399)
    assert tunnel.wants(after_ms=400)


def test_markedly_better_view_is_looked_at_soon(unit: Unit) -> None:
    """1.3 times the best quality so far is worth a look before its time."""
    tunnel = Tunnel(gallery_of("a", "b"))
    for _ in range(5):
        tunnel.view(unit(a=0.7), score=0.5)
    assert not tunnel.wants(score=0.6, after_ms=150)
    assert tunnel.wants(score=0.7, after_ms=150)
    assert not tunnel.wants(score=0.7, after_ms=50)


def test_rejected_view_is_not_worth_an_embedding() -> None:
    """Whatever the state of the track."""
    assert not Tunnel(gallery_of("a")).wants(rejection=Rejection.BLURRED)


def test_contested_and_crossed_tracks_are_looked_at_at_once(unit: Unit) -> None:
    """Doubt, from the evidence or from the tracker, is settled with the next views."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 12)
    assert not tunnel.wants(after_ms=1)
    tunnel.stage.recheck("cam", "t1")
    assert tunnel.wants(after_ms=1)
    tunnel.views(*[unit(b=0.7)] * 3)
    assert tunnel.wants(after_ms=1)


def test_swapped_tracks_are_put_right_soon_after_they_crossed(unit: Unit) -> None:
    """The views before the crossing do not count: the change takes patience, and no more than that."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 12)
    tunnel.stage.recheck("cam", "t1")
    assert [] == tunnel.views(*[unit(b=0.7)] * 3)
    assert [(Decision.NAMED, "B")] == tunnel.views(unit(b=0.7))
    assert 1 == tunnel.said[-1].revised


def test_crossing_that_swapped_nobody_changes_nothing(unit: Unit) -> None:
    """The name stands throughout, also over a few bad views right after."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 12)
    tunnel.stage.recheck("cam", "t1")
    assert [] == tunnel.views(*[unit(a=0.3)] * 2, *[unit(a=0.7)] * 20)
    assert (Decision.NAMED, "A") == tunnel.stage.current("cam", "t1")


def side_by_side(tunnel: Tunnel, views: int, **tracks: npt.NDArray[np.float32]) -> list[tuple[str, Decision]]:
    """Show every track in each of so many frames; return what was said, by track."""
    said = []
    for _ in range(views):
        tunnel.frame += 1
        for track, vector in tracks.items():
            tunnel.frame -= 1  # `view` goes on by one
            identity = tunnel.view(vector, track=track)
            if identity is not None:
                said.append((track, identity.decision))
    return said


def test_nobody_is_in_one_picture_twice(unit: Unit) -> None:
    """Two faces taken for A: the one that is more like A has the name, the other is ambiguous."""
    tunnel = Tunnel(gallery_of("a", "b"), explain_after_s=0.5)
    said = side_by_side(tunnel, 20, t1=unit(a=0.8), t2=unit(a=0.6))
    assert [("t1", Decision.NAMED), ("t2", Decision.UNDECIDED)] == said
    assert Rejection.AMBIGUOUS is tunnel.said[-1].reason


def test_better_claim_takes_the_name_away(unit: Unit) -> None:
    """The weaker one was first: it loses the name with its next view, and says so."""
    tunnel = Tunnel(gallery_of("a", "b"), explain_after_s=0.5)
    assert [("t1", Decision.NAMED)] == side_by_side(tunnel, 5, t1=unit(a=0.5))
    said = side_by_side(tunnel, 20, t1=unit(a=0.5), t2=unit(a=0.8))
    assert [("t2", Decision.NAMED), ("t1", Decision.UNDECIDED)] == said
    assert [(Decision.UNDECIDED, None), (Decision.NAMED, "A")] == [
        tunnel.stage.current("cam", track) for track in ("t1", "t2")
    ]


def test_equal_claims_leave_the_name_where_it_is(unit: Unit) -> None:
    """A name does not jump to and fro between twins."""
    tunnel = Tunnel(gallery_of("a", "b"), explain_after_s=0.5)
    side_by_side(tunnel, 5, t1=unit(a=0.7))
    said = side_by_side(tunnel, 40, t1=unit(a=0.7), t2=unit(a=0.71))
    assert [("t2", Decision.UNDECIDED)] == said


def test_track_that_was_lost_does_not_keep_its_name_from_the_next(unit: Unit) -> None:
    """The face is found again under a new track while the old one still coasts."""
    tunnel = Tunnel(gallery_of("a", "b"))
    side_by_side(tunnel, 5, t1=unit(a=0.9))
    assert [("t2", Decision.NAMED)] == side_by_side(tunnel, 5, t2=unit(a=0.7))


def test_one_person_may_be_before_two_cameras(unit: Unit) -> None:
    """Only one picture cannot show them twice."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.7)] * 5)
    quality = Quality(90.0, 200.0, 110.0, 50.0, 0.0, 0.0, 0.0, 0.8)
    landmarks = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
    tracked = TrackedFace("t1", Face(Box(0, 0, 90, 90), landmarks, 0.9), quality, None)
    for frame in range(6, 9):
        tunnel.stage.view(
            "other", tracked, Embedding(unit(a=0.6), MODEL, PREPROCESS), frame, frame * FRAME_NS
        )
    assert (Decision.NAMED, "A") == tunnel.stage.current("other", "t1")


def test_hopeless_track_does_not_eat_the_recogniser(unit: Unit) -> None:
    """Look-alikes for minutes: after two windows of views, ten looks a second at most."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.6, b=0.6)] * 24)
    assert not tunnel.wants(after_ms=50)
    assert tunnel.wants(after_ms=100)


def test_unknown_person_who_comes_closer_is_looked_at_ten_times_a_second(unit: Unit) -> None:
    """Far away nobody is like A; near by A is named within a second, not after `reembed_ms` a look."""
    tunnel = Tunnel(gallery_of("a", "b"))
    tunnel.views(*[unit(a=0.1)] * 12)
    assert (Decision.UNKNOWN, None) == (tunnel.said[-1].decision, tunnel.said[-1].person_ref)
    assert tunnel.wants(after_ms=100)
    tunnel.views(*[unit(a=0.8)] * 10)
    assert (Decision.NAMED, "A") == (tunnel.said[-1].decision, tunnel.said[-1].person_ref)


@pytest.mark.parametrize(
    "options",
    [
        {"min_views": 0},
        {"margin": -0.1},
        {"unknown_views": 2},
        {"window_views": 5},
        {"max_patience": 1},
        {"better_quality": 0.9},
    ],
)
def test_options_that_could_never_decide_are_refused(options: dict[str, Any]) -> None:
    """Found when they are made, not in the tunnel."""
    with pytest.raises(ValueError, match=r"too small|need"):
        VoteOptions(**options)


@pytest.mark.parametrize("min_views", [1, 3, 10, 100])
def test_any_configured_number_of_views_makes_good_options(min_views: int, unit: Unit) -> None:
    """The windows grow with it, and a person is named with exactly that many."""
    options = VoteOptions.for_views(min_views, margin=0.05, reembed_ms=400)
    stage = Tunnel(gallery_of("a", "b"))
    stage.stage = IdentityStage(lambda: stage.matcher, options=options)
    stage.views(*[unit(a=0.7)] * (min_views + 5))
    assert [min_views] == [said.votes for said in stage.said if said.decision is Decision.NAMED]
