"""From the scores of all shots to the figures: one JSON document, and tables to read.

Every share stands with its 95 % interval and with the numbers behind it. Faces: a bootstrap over
passages; passages: Wilson's interval (`field_test.intervals`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from field_test.intervals import over_groups, wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from field_test.score import FaceSeen, PassageSeen, Shot

    Figures = dict[str, Any]

_NAMED: Final = ("right", "wrong")
_SAID: Final = ("right", "wrong", "unknown", "undecided", "missed")
#: Levels of ash under which the box is held to more.
_EASY: Final = ("clean", "light")
_WINDOW_S: Final = 60.0


def figures(shots: Sequence[Shot]) -> Figures:
    """Return all figures of a run."""
    faces = [face for shot in shots for face in shot.faces]
    passages = [one for shot in shots for one in shot.passages]
    registered = [one for one in passages if one.ref is not None]
    strangers = [one for one in passages if one.ref is None]
    own = [face for face in faces if face.ref is not None]
    return {
        "frames": sum(shot.frames for shot in shots),
        "lost_frames": sum(shot.lost_frames for shot in shots),
        "people": {
            "registered": len({one.ref for one in registered}),
            "strangers": len({one.who for one in strangers}),
        },
        "faces": face_figures(faces),
        "faces_by_ash": _by(faces, lambda face: face.ash, face_figures),
        "faces_by_light": _by(faces, lambda face: face.light, face_figures),
        "registered_faces": face_figures(own),
        "registered_faces_by_ash": _by(own, lambda face: face.ash, face_figures),
        "registered_faces_by_pose": _by(own, lambda face: face.pose, face_figures),
        "registered_faces_by_light": _by(own, lambda face: face.light, face_figures),
        "registered_faces_by_size": _by(own, lambda face: _size(face.px), face_figures),
        "table_6": _by(own, lambda face: str(face.ref), face_figures),
        "passages": passage_figures(registered),
        "passages_by_ash": _by(registered, lambda one: one.ash, passage_figures),
        "passages_by_light": _by(registered, lambda one: one.light, passage_figures),
        "passages_by_person": _by(registered, lambda one: str(one.ref), passage_figures),
        "strangers": stranger_figures(strangers),
        "strangers_by_ash": _by(strangers, lambda one: one.ash, stranger_figures),
        "clean_and_light": {
            "miss": face_figures([face for face in faces if face.ash in _EASY])["miss"],
            "undecided": passage_figures([one for one in passages if one.ash in _EASY])["undecided"],
        },
        "precision_of_passages": _share(
            *_counts(passages, lambda one: one.answer == "right", lambda one: one.answer in _NAMED)
        ),
        "time_to_decision_s": _times([one.decided_s for one in passages]),
        "time_to_name_s": _times([one.named_s for one in registered if one.answer == "right"]),
        "by_time_to_decision_ash": _by(
            passages, lambda one: one.ash, lambda all_: _times([o.decided_s for o in all_])
        ),
        "tracks": {
            "a_passage": round(float(np.mean([one.tracks for one in passages])), 3) if passages else None,
            "switches": sum(one.switches for one in passages),
            "to_another_passage": sum(shot.strays for shot in shots),
            "of_nobody": sum(shot.ghost_tracks for shot in shots),
            "of_nobody_named": sum(shot.ghosts_named for shot in shots),
        },
        "empty": {
            "frames": sum(shot.empty_frames for shot in shots),
            "names": sum(shot.names_in_empty for shot in shots),
        },
        "not_counted": {
            "small_faces": dict(sum((shot.far_faces for shot in shots), Counter())),
            "covered_faces": dict(sum((shot.covered_faces for shot in shots), Counter())),
        },
        "headcount": headcount_figures(shots),
    }


def _size(px: float) -> str:
    edges = (40, 50, 60, 80, 1000)
    low = max((edge for edge in edges if edge <= px), default=0)
    return f"{low:03d} px and more"


def face_figures(faces: Sequence[FaceSeen]) -> Figures:
    """Return precision, miss rate and shares of decisions over faces, with intervals over passages."""
    said = Counter(face.said for face in faces)
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for face in faces:
        groups[face.passage][face.said] += 1
    found = len(faces) - said["missed"]

    def over(hits: tuple[str, ...], among: tuple[str, ...]) -> Figures:
        pairs = [(sum(one[s] for s in hits), sum(one[s] for s in among)) for one in groups.values()]
        hit, trials = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
        return _with_interval(hit, trials, over_groups(pairs))

    seen = _SAID[:4]
    return {
        "faces": len(faces),
        "passages": len(groups),
        "found": found,
        "precision": over(("right",), _NAMED),
        "miss": over(("missed",), _SAID),
        "right": over(("right",), seen),
        "undecided": over(("undecided",), seen),
        "unknown": over(("unknown",), seen),
    }


def passage_figures(passages: Sequence[PassageSeen]) -> Figures:
    """Return how passages of registered people ended."""
    answers = Counter(one.answer for one in passages)
    return {
        "passages": len(passages),
        **{answer: _share(answers[answer], len(passages)) for answer in _SAID},
        "ever_wrong": _share(sum(one.ever_wrong for one in passages), len(passages)),
        "precision": _share(answers["right"], answers["right"] + answers["wrong"]),
    }


def stranger_figures(passages: Sequence[PassageSeen]) -> Figures:
    """Return how strangers' passages ended: with a name, or ever with one."""
    answers = Counter(one.answer for one in passages)
    return {
        "passages": len(passages),
        "people": len({one.who for one in passages}),
        "accepted": _share(answers["wrong"], len(passages)),
        "ever_named": _share(sum(one.ever_wrong for one in passages), len(passages)),
        "unknown": _share(answers["unknown"], len(passages)),
        "undecided": _share(answers["undecided"], len(passages)),
        "missed": _share(answers["missed"], len(passages)),
    }


def headcount_figures(shots: Sequence[Shot]) -> Figures:
    """Return how good the last muster of each one-minute window was, and how good all of them were.

    A window is judged by its last muster: what somebody who asks once a minute is told. `exact_musters` and
    the mean error are over all, most of which are of one mistake: no interval is given for them.
    """
    ends = []
    for shot in shots:
        ends += list({int(one.at // _WINDOW_S): one for one in shot.headcounts}.values())
    errors = [abs(one.true - one.said) for shot in shots for one in shot.headcounts]
    return {
        "windows": len(ends),
        "exact": _share(sum(one.true == one.said for one in ends), len(ends)),
        "within": _share(sum(one.low <= one.true <= one.high for one in ends), len(ends)),
        "too_small": _share(sum(one.said < one.true for one in ends), len(ends)),
        "exact_musters": round(errors.count(0) / len(errors), 5) if errors else None,
        "mean_error": round(float(np.mean(errors)), 3) if errors else None,
        "musters": len(errors),
    }


def _by(
    rows: Iterable[Any], key: Callable[[Any], str], work: Callable[[list[Any]], Figures]
) -> dict[str, Figures]:
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return {name: work(groups[name]) for name in sorted(groups)}


def _counts(
    rows: Sequence[PassageSeen], hit: Callable[[PassageSeen], bool], among: Callable[[PassageSeen], bool]
) -> tuple[int, int]:
    chosen = [row for row in rows if among(row)]
    return sum(hit(row) for row in chosen), len(chosen)


def _share(hits: int, trials: int) -> Figures:
    return _with_interval(hits, trials, wilson(hits, trials))


def _with_interval(hits: int, trials: int, interval: tuple[float, float]) -> Figures:
    low, high = interval
    share = round(hits / trials, 5) if trials else None
    return {"share": share, "low": round(low, 5), "high": round(high, 5), "hits": hits, "of": trials}


def _times(values: Iterable[float | None]) -> Figures:
    known = [value for value in values if value is not None]
    if not known:
        return {"decided": 0, "p50": None, "p90": None}
    p50, p90 = np.percentile(known, (50, 90))
    return {"decided": len(known), "p50": round(float(p50), 3), "p90": round(float(p90), 3)}


def percent(figure: Figures) -> str:
    """Return a share as text: percent with its interval."""
    if figure["share"] is None:
        return "-"
    return f"{100 * figure['share']:.1f} [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"
