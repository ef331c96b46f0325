"""Scoring, on hand-made truth, traces and events with known precision, misses and switches."""

from __future__ import annotations

from typing import Any

import pytest

from field_test import markdown, tables
from field_test.reach import reach
from field_test.score import Limits, Shot, match, said_of, score_shot
from field_test.truth import Clip, FrameTruth, Passage, TrueFace, Truth

BOX = (100.0, 100.0, 60.0, 80.0)
ABOUT: dict[str, Any] = {
    **dict.fromkeys(("scenario", "people", "seed", "ash", "counted", "backend", "threshold"), "x"),
    "detector_backend": "x",
    "recogniser": {"name": "r", "sha256": "a"},
    "detector": {"name": "d", "sha256": "b"},
}
ELSEWHERE = (300.0, 100.0, 60.0, 80.0)
BASE_NS = 5_000_000_000


def person(number: int, ref: str | None, *, ash: str = "clean", **more: Any) -> Passage:
    """Return a passage over the first second."""
    fields: dict[str, Any] = {"camera": "c", "who": f"w{number}", "first_s": 0.0, "last_s": 1.0, **more}
    return Passage(id=number, ref=ref, ash=ash, **fields)


def truth_of(*passages: Passage, frames: int = 10, empty: int = 0, **clip: Any) -> Truth:
    """Return a truth in which passage n stands at the n-th place in every frame, then nobody."""
    truth = Truth(clips=[Clip(camera="c", file="c.mp4", fps=10, size=(640, 360), light="cone", **clip)])
    truth.passages = {one.id: one for one in passages}
    for index in range(frames + empty):
        there = passages if index < frames else ()
        faces = tuple(
            TrueFace(passage=one.id, box=(BOX, ELSEWHERE)[at], pose="front") for at, one in enumerate(there)
        )
        at = index / 10 if index < frames else 10 + index / 10
        truth.frames["c", index] = FrameTruth(
            camera="c", index=index, t=at, faces=faces, present=tuple(one.id for one in there)
        )
    return truth


def seen(
    track: str, box: tuple[float, ...] = BOX, decision: str | None = None, ref: str | None = None
) -> dict[str, Any]:
    """Return one face of a trace."""
    return {"track": track, "box": list(box), "decision": decision, "ref": ref}


def trace_of(*frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a trace with these faces, frame by frame, and its last line."""
    rows: list[dict[str, Any]] = [
        {"camera": "c", "index": n, "faces": faces} for n, faces in enumerate(frames)
    ]
    return [*rows, {"end": True, "base_ns": BASE_NS}]


def sighting(
    seq: int, track: str, decision: str, ref: str | None = None, *, at: float = 0.4
) -> dict[str, Any]:
    """Return an event about a track."""
    who = {} if ref is None else {"person_ref": ref}
    return {
        "seq": seq, "kind": "sighting", "camera": "c", "track": track, "decision": decision, "score": 0.6,
        "mono_ns": BASE_NS + round(at * 1e9), **who,
    }  # fmt: skip


def shares(figures: dict[str, Any], *keys: str) -> list[float | None]:
    """Return the shares under these keys."""
    return [figures[key]["share"] for key in keys]


def test_precision_and_misses_are_counted_face_by_face() -> None:
    """Ten faces: four named rightly, one wrongly, one unknown, two undecided, two missed."""
    says: list[tuple[str | None, str | None]] = [("named", "P1")] * 4 + [("named", "P2"), ("unknown", None)]
    says += [("undecided", None), (None, None)]
    frames = [[seen("t1", BOX, decision, ref)] for decision, ref in says] + [[], []]
    shot = score_shot("s", truth_of(person(0, "P1")), trace_of(*frames), [])

    found = tables.figures([shot])["table_6"]["P1"]

    assert (10, 8) == (found["faces"], found["found"])
    assert [4 / 5, 2 / 10, 4 / 8, 2 / 8, 1 / 8] == pytest.approx(
        shares(found, "precision", "miss", "right", "undecided", "unknown")
    )


def test_a_strangers_name_is_always_wrong() -> None:
    """Whoever it is."""
    assert "wrong" == said_of("named", "P1", None)
    assert ["right", "unknown", "undecided", "undecided"] == [
        said_of(decision, ref, "P1")
        for decision, ref in (("named", "P1"), ("unknown", None), ("undecided", None), (None, None))
    ]


def test_small_and_covered_faces_are_no_misses() -> None:
    """They are counted apart."""
    truth = truth_of(person(0, "P1"), frames=2)
    small = TrueFace(passage=0, box=(0, 0, 30, 40))
    covered = TrueFace(passage=0, box=BOX, hidden=0.7)
    for index, face in enumerate((small, covered)):
        truth.frames["c", index] = FrameTruth(camera="c", index=index, t=0.0, faces=(face,), present=(0,))

    shot = score_shot("s", truth, trace_of([], []), [])

    assert [] == shot.faces
    assert (1, 1) == (shot.far_faces["missed"], shot.covered_faces["missed"])


def test_each_detection_covers_one_face_the_best_overlap_first() -> None:
    """One box between two people covers the nearer one."""
    true = [TrueFace(passage=0, box=BOX), TrueFace(passage=1, box=(130.0, 100.0, 60.0, 80.0))]
    assert {1: 0} == match(true, [seen("t1", (125, 100, 60, 80))])
    assert {0: 1, 1: 0} == match(true, [seen("t2", (131, 100, 60, 80)), seen("t1", BOX)])
    assert {} == match(true, [seen("t1", (400, 100, 60, 80))])


def passages_of(shot: Shot) -> dict[str, str]:
    """Return the answers by passage."""
    return {one.passage: one.answer for one in shot.passages}


@pytest.mark.parametrize(
    ("told", "answer", "ever_wrong"),
    [
        ([sighting(1, "t1", "named", "P1")], "right", False),
        ([sighting(1, "t1", "named", "P2")], "wrong", True),
        ([sighting(1, "t1", "named", "P2"), sighting(2, "t1", "named", "P1")], "right", True),
        ([sighting(1, "t1", "unknown")], "unknown", False),
        ([sighting(1, "t1", "undecided")], "undecided", False),
        ([], "undecided", False),
    ],
)
def test_a_passage_is_what_its_track_ended_with(
    told: list[dict[str, Any]], answer: str, *, ever_wrong: bool
) -> None:
    """A name that was taken back is told apart from one that stayed."""
    shot = score_shot("s", truth_of(person(0, "P1")), trace_of(*[[seen("t1")]] * 10), told)
    assert {"s/0": answer} == passages_of(shot)
    assert ever_wrong is shot.passages[0].ever_wrong


def test_a_passage_without_a_track_is_missed_and_a_short_one_does_not_count() -> None:
    """Eight faces make a passage."""
    assert {"s/0": "missed"} == passages_of(
        score_shot("s", truth_of(person(0, "P1")), trace_of(*[[]] * 10), [])
    )
    short = score_shot("s", truth_of(person(0, "P1"), frames=7), trace_of(*[[]] * 7), [])
    assert {} == passages_of(short)
    assert 1 == len(
        score_shot(
            "s", truth_of(person(0, "P1"), frames=7), trace_of(*[[]] * 7), [], limits=Limits(min_faces=7)
        ).passages
    )


def test_one_wrong_track_spoils_a_passage() -> None:
    """Rightly named in one half and wrongly in the other is wrong."""
    frames = [[seen("t1")]] * 5 + [[seen("t2")]] * 5
    told = [sighting(1, "t1", "named", "P1"), sighting(2, "t2", "named", "P2", at=0.8)]
    shot = score_shot("s", truth_of(person(0, "P1")), trace_of(*frames), told)

    assert {"s/0": "wrong"} == passages_of(shot)
    assert (2, 1) == (shot.passages[0].tracks, shot.passages[0].switches)


def test_two_people_who_take_each_others_track_are_switches() -> None:
    """The tracks cross over once; each belongs to whom it followed longer."""
    before, after = [seen("t1"), seen("t2", ELSEWHERE)], [seen("t2"), seen("t1", ELSEWHERE)]
    told = [sighting(1, "t1", "named", "P1"), sighting(2, "t2", "unknown")]
    shot = score_shot(
        "s", truth_of(person(0, "P1"), person(1, None)), trace_of(*[before] * 6, *[after] * 4), told
    )

    assert {"s/0": "right", "s/1": "unknown"} == passages_of(shot)
    assert [1, 1] == [one.switches for one in shot.passages]
    assert 2 == shot.strays


def test_strangers_passages_that_get_a_name_are_counted() -> None:
    """One of two."""
    truth = truth_of(person(0, None), person(1, None))
    told = [sighting(1, "t1", "named", "P1"), sighting(2, "t2", "unknown")]
    shot = score_shot("s", truth, trace_of(*[[seen("t1"), seen("t2", ELSEWHERE)]] * 10), told)
    strangers = tables.figures([shot])["strangers"]

    assert [0.5, 0.5, 0.5] == shares(strangers, "accepted", "ever_named", "unknown")
    assert (2, 2) == (strangers["passages"], strangers["people"])


def test_the_time_to_decision_counts_from_the_first_face() -> None:
    """Unknown after .4 s, the name after .9 s."""
    told = [sighting(1, "t1", "unknown", at=0.4), sighting(2, "t1", "named", "P1", at=0.9)]
    shot = score_shot("s", truth_of(person(0, "P1")), trace_of(*[[seen("t1")]] * 10), told)
    assert (0.4, 0.9) == (shot.passages[0].decided_s, shot.passages[0].named_s)


def test_names_in_an_empty_tunnel_and_tracks_of_nobody_are_found() -> None:
    """Three empty frames, two of them with a name."""
    ghost = [seen("t9", BOX, "named", "P1")]
    frames = [[seen("t1")]] * 10 + [[], ghost, ghost]
    shot = score_shot(
        "s", truth_of(person(0, "P1"), empty=3), trace_of(*frames), [sighting(1, "t9", "named", "P1")]
    )

    assert (3, 2) == (shot.empty_frames, shot.names_in_empty)
    assert (2, 1, 1) == (shot.ghost_faces, shot.ghost_tracks, shot.ghosts_named)


def test_the_headcount_is_held_against_who_went_in_and_came_out() -> None:
    """Two go in, one comes out; the box is right in the first minute and one too high in the second."""
    truth = truth_of(
        person(0, "P1", way="in", crossed_s=10.0), person(1, None, way="in", crossed_s=20.0), portal=True
    )
    truth.passages[2] = person(2, "P1", way="out", crossed_s=70.0)

    def muster(at: float, count: int) -> dict[str, Any]:
        counted = {"headcount": count, "headcount_low": min(1, count), "headcount_high": count}
        return {"seq": round(at), "kind": "muster", **counted, "mono_ns": BASE_NS + round(at * 1e9)}

    events = [muster(5, 0), muster(30, 1), muster(55, 2), muster(100, 2)]
    shot = score_shot("s", truth, trace_of(), events)
    heads = tables.figures([shot])["headcount"]

    assert [(5.0, 0, 0), (30.0, 2, 1), (55.0, 2, 2), (100.0, 1, 2)] == [one[:3] for one in shot.headcounts]
    assert (2, 0.5, 0.5) == (heads["windows"], heads["exact"]["share"], heads["mean_error"])
    assert (1.0, 0.0) == (heads["within"]["share"], heads["too_small"]["share"])
    assert 0.5 == heads["exact_musters"]
    said = markdown.text({"about": ABOUT, **tables.figures([shot])})
    assert "2 minutes (last muster of each)\n- headcount exact in 50.0 % of all 4 musters" in said


def test_frames_that_the_box_never_gave_have_their_faces_missed() -> None:
    """A clip that is shorter than its truth: the figures must not be of what came alone."""
    came = trace_of(*[[seen("t1", decision="named", ref="P1")]] * 3)
    shot = score_shot("s", truth_of(person(0, "P1")), came, [])
    found = tables.figures([shot])
    assert (3, 7) == (found["frames"], found["lost_frames"])
    assert (7, 10) == (found["faces"]["miss"]["hits"], found["faces"]["miss"]["of"])
    assert "frames of the truth that the box never gave: 7" in markdown.text({"about": ABOUT, **found})


def test_figures_of_nothing_are_no_figures() -> None:
    """A run without faces has tables, and no share in them."""
    found = tables.figures([Shot("s")])
    assert None is found["faces"]["precision"]["share"]
    assert "-" == tables.percent(found["passages"]["right"])


def test_frames_that_the_truth_leaves_out_are_not_scored() -> None:
    """A truth by hand needs only some of the frames."""
    truth = truth_of(person(0, "P1"), frames=1)
    shot = score_shot("s", truth, trace_of(*[[seen("t1")]] * 10), [])
    assert (1, 1) == (shot.frames, len(shot.faces))


def test_every_bar_stands_beside_what_was_measured() -> None:
    """Precision of 1 meets its bar, a named stranger does not, and the headcount was not measured."""
    truth = truth_of(person(0, "P1"), person(1, None))
    frame = [seen("t1", BOX, "named", "P1"), seen("t2", ELSEWHERE, "unknown")]
    told = [sighting(1, "t1", "named", "P1"), sighting(2, "t2", "named", "P1"), sighting(3, "t2", "unknown")]
    table = reach(tables.figures([score_shot("s", truth, trace_of(*[frame] * 10), told)]))

    assert (
        "| names given that are right, per face | >= 97 % | 100.0 [20.7, 100.0] % (10 of 10) | yes |" in table
    )
    assert (
        "| strangers' passages that ever get a name | <= 0.5 % | 100.0 [20.7, 100.0] % (1 of 1) | no |"
        in table
    )
    assert "| one-minute windows with the exact headcount | >= 95 % | not measured | - |" in table
    assert "| time to decision, median | <= 0.7 s | 0.4 s | yes |" in table
