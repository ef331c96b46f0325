"""A run's figures as Markdown: ``score.md``, in the form of the paper's Table 6 and by condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from field_test.reach import reach
from field_test.tables import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    Figures = Mapping[str, Any]
    Rows = Mapping[str, Figures]
    #: Column's title, the figure's key; shares are shown with their interval.
    Columns = tuple[tuple[str, str], ...]

_FACES: Final = (
    ("faces", "faces"),
    ("precision, %", "precision"),
    ("miss, %", "miss"),
    ("named rightly of found, %", "right"),
    ("unknown, %", "unknown"),
    ("undecided, %", "undecided"),
)
_PASSAGES: Final = (
    ("passages", "passages"),
    ("named rightly, %", "right"),
    ("wrong, %", "wrong"),
    ("unknown, %", "unknown"),
    ("undecided, %", "undecided"),
    ("missed, %", "missed"),
    ("ever wrong, %", "ever_wrong"),
)
_STRANGERS: Final = (
    ("passages", "passages"),
    ("people", "people"),
    ("ended with a name, %", "accepted"),
    ("ever had one, %", "ever_named"),
    ("unknown, %", "unknown"),
    ("undecided, %", "undecided"),
    ("missed, %", "missed"),
)


def table(heading: str, rows: Rows, columns: Columns) -> str:
    """Return a table with one line for each of `rows`."""
    lines = [" | ".join(["", heading, *(title for title, _ in columns), ""]).strip()]
    lines.append("|" + "---|" * (len(columns) + 1))
    for name, row in rows.items():
        cells = [percent(row[key]) if isinstance(row[key], dict) else str(row[key]) for _, key in columns]
        lines.append(" | ".join(["", name, *cells, ""]).strip())
    return "\n".join(lines)


def text(found: Figures) -> str:
    """Return a run's figures, heading to end."""
    faces, passages = found["registered_faces"], found["passages"]
    right = percent(found["precision_of_passages"])
    parts = [
        _head(found),
        "## Bars",
        reach(found),
        "## Table 6: per registered person",
        table(
            "person",
            {**found["table_6"], "all": faces},
            (("faces", "faces"), ("found", "found"), *_FACES[1:]),
        ),
        "## Faces of registered people",
        *(table(by, found[f"registered_faces_by_{by}"], _FACES) for by in ("ash", "pose", "light", "size")),
        "## All faces, strangers included",
        table("ash", {**found["faces_by_ash"], "all": found["faces"]}, _FACES),
        "## Passages of registered people",
        table("ash", {**found["passages_by_ash"], "all": passages}, _PASSAGES),
        table("light", found["passages_by_light"], _PASSAGES),
        f"Names that passages ended with, strangers' included: {right} % are right.",
        "## Passages of strangers",
        table("ash", {**found["strangers_by_ash"], "all": found["strangers"]}, _STRANGERS),
        "## Time, tracks, emptiness, headcount",
        _rest(found),
    ]
    return "\n\n".join(parts) + "\n"


def _head(found: Figures) -> str:
    about, people = found["about"], found["people"]
    detectors = " and ".join(_model(about[key]) for key in ("detector", "dust_detector") if about.get(key))
    return (
        f"# Field test: {about['scenario']}, {about['people']} people\n\n"
        f"Seed {about['seed']}, simulated ash: {about['ash']}. {found['frames']} frames, "
        f"{people['registered']} registered people, {people['strangers']} strangers. "
        f"Counted: {about['counted']}. In brackets 95 % intervals (faces: bootstrap over passages).\n\n"
        f"Recogniser {_model(about['recogniser'])} on {about['backend']}, threshold {about['threshold']}; "
        f"detector {detectors} on {about['detector_backend']}."
    )


def _model(model: Figures) -> str:
    return f"{model['name']} ({model['sha256'][:12]})"


def _plain(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _rest(found: Figures) -> str:
    decision, name, tracks = found["time_to_decision_s"], found["time_to_name_s"], found["tracks"]
    lost = (
        f"**frames of the truth that the box never gave: {found['lost_frames']}**; their faces count as"
        " missed (is a clip cut short?)"
    )
    heads, empty, rest = found["headcount"], found["empty"], found["not_counted"]
    said = (
        f"first decision after p50 {decision['p50']} s, p90 {decision['p90']} s",
        f"right name after p50 {name['p50']} s, p90 {name['p90']} s",
        f"tracks a passage: {tracks['a_passage']}; the track of a passage changed {tracks['switches']} times",
        f"a track went over to another passage {tracks['to_another_passage']} times",
        f"tracks of nobody: {tracks['of_nobody']}, with a name: {tracks['of_nobody_named']}",
        f"names in {empty['frames']} empty frames: {empty['names']}",
        f"headcount exact in {percent(heads['exact'])} % of {heads['windows']} minutes (last muster of each)",
        f"headcount exact in {_plain(heads['exact_musters'])} % of all {heads['musters']} musters",
        f"mean error of the headcount: {heads['mean_error']} over all musters",
        f"the truth lay within the box's bounds in {percent(heads['within'])} % of them",
        f"the headcount was too small in {percent(heads['too_small'])} % of them",
        *([] if not found["lost_frames"] else [lost]),
        f"not counted: small faces {rest['small_faces']}, covered faces {rest['covered_faces']}",
    )
    return "\n".join(f"- {line}" for line in said)
