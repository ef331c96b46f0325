"""The whole mine's muster: who was last seen where, over all boxes.

Every box keeps its own muster and takes its mistakes back in it; this merges the newest of each. A
person whom several boxes saw is where the newest sight was. Ages go on counting from the time of a
box's muster, so that a box that has fallen silent does not look fresh.

A box knows who left its own zones, not who left the mine. At a box that stands at the way out
(`exits`) leaving means out: such a person is counted again when any box sees them later, or when that box
itself has them in a later muster, because it was somebody else who left. Everywhere else a person who left
stays counted, with a note. Who has perhaps left (the box did not recognise the leaver) counts here too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from surface.arrive import NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from surface.records import BoxSeen, Departure
    from surface.store import Store

#: A box says how it is every 30 seconds; three of these in a row do not get lost on a link that stands.
SILENT_AFTER_S: Final = 100.0


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where somebody was last seen; `person_ref` None is a stranger, `silent` a box that is not there.

    `age_s` is at least that of a silent box without a clock. `left` are boxes whose zones the person left
    after that; `perhaps_left_s` ago somebody left this one's who may have been them.
    """

    person_ref: str | None
    site: str
    node: str
    zone: str
    camera: str
    age_s: float
    silent: bool
    name: str | None = None
    left: tuple[str, ...] = ()
    perhaps_left_s: float | None = None


@dataclass(frozen=True, slots=True)
class MineMuster:
    """All of the mine: people and strangers, who is out, which boxes are not there or cameras do not see.

    `boxes` is how many were ever heard: none, and the count of nobody means nothing. `no_muster` are those
    that said how they are and never whom they see.
    """

    people: tuple[Whereabouts, ...]
    strangers: tuple[Whereabouts, ...]
    out: tuple[str, ...]
    silent_boxes: tuple[str, ...]
    no_muster: tuple[str, ...]
    blind_cameras: tuple[str, ...]
    boxes: int

    @property
    def zones(self) -> dict[str, int]:
        """How many people were last seen in each zone, by ``site/zone``."""
        counts: dict[str, int] = {}
        for one in (*self.people, *self.strangers):
            zone = f"{one.site}/{one.zone}"
            counts[zone] = counts.get(zone, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def headcount(self) -> int:
        """Named and unknown people."""
        return len(self.people) + len(self.strangers)


def mine_muster(
    store: Store, *, now_ms: int, silent_after_s: float = SILENT_AFTER_S, exits: Collection[str] = ()
) -> MineMuster:
    """Return the muster of the mine as of `now_ms` (milliseconds since 1970, this machine's clock).

    Args:
        store: where the boxes' musters are.
        now_ms: the present.
        silent_after_s: a box that was not heard for so long is silent.
        exits: boxes, as ``site/node`` or ``node``, at which who leaves is out of the mine.
    """
    people: dict[str, Whereabouts] = {}
    strangers: list[Whereabouts] = []
    silent_boxes: list[str] = []
    blind: list[str] = []
    boxes = store.boxes()
    listed: dict[tuple[str, str], tuple[BoxSeen, set[str | None]]] = {}
    for box in boxes:
        silent = is_silent(box, now_ms=now_ms, after_s=silent_after_s)
        silent_boxes += [f"{box.site}/{box.node}"] if silent else []
        muster = document(box.muster)
        named = _seen(muster.get("people"), box, now_ms, silent=silent)
        listed[box.site, box.node] = box, {one.person_ref for one in named}
        for one in named:
            known = people.get(str(one.person_ref))
            if one.person_ref is not None and (known is None or one.age_s < known.age_s):
                people[one.person_ref] = one
        strangers += _seen(muster.get("unknown"), box, now_ms, silent=silent)
        blind += [f"{box.site}/{box.node}/{name}" for name in _blind(muster.get("cameras"))]
    gone = [one for one in store.departures() if not _taken_back(one, listed.get((one.site, one.node)))]
    inside, out = _departed(people, gone, now_ms, exits)
    names = store.roster()
    return MineMuster(
        people=tuple(replace(one, name=names.get(one.person_ref or "")) for one in inside),
        strangers=tuple(strangers),
        out=tuple(out),
        silent_boxes=tuple(silent_boxes),
        no_muster=tuple(f"{box.site}/{box.node}" for box in boxes if box.muster is None),
        blind_cameras=tuple(blind),
        boxes=len(boxes),
    )


def is_silent(box: BoxSeen, *, now_ms: int, after_s: float = SILENT_AFTER_S) -> bool:
    """Return whether a box said goodbye, was given up by the broker, or was not heard for too long."""
    heard_ms = box.heard_ms(now_ms)
    if heard_ms is None or document(box.state).get("online") is not True:
        return True
    return now_ms - heard_ms > after_s * 1000


def document(text: str | None) -> dict[str, Any]:
    """Return what a box said, empty if that is nothing."""
    try:
        found = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _taken_back(one: Departure, listed: tuple[BoxSeen, set[str | None]] | None) -> bool:
    """Return whether the box that said so has the person in a later muster: `listed` there are these."""
    if listed is None or one.person_ref not in listed[1]:
        return False
    box = listed[0]
    if box.muster_boot == one.boot:
        return (box.muster_mono_ns or 0) > one.mono_ns
    return one.at_ms is not None and (box.muster_ms or 0) > one.at_ms


def _departed(
    people: dict[str, Whereabouts], departures: Iterable[Departure], now_ms: int, exits: Collection[str]
) -> tuple[list[Whereabouts], list[str]]:
    """Return who is counted, and who has left the mine since they were last seen."""
    left: dict[str, list[str]] = {}
    out = set()
    for one in departures:
        seen = people.get(one.person_ref)
        if seen is None or one.at_ms is None or one.at_ms <= now_ms - seen.age_s * 1000:
            continue
        if {one.node, f"{one.site}/{one.node}"} & set(exits):
            out.add(one.person_ref)
        left.setdefault(one.person_ref, []).append(f"{one.site}/{one.node}")
    inside = [replace(people[ref], left=tuple(left.get(ref, ()))) for ref in sorted(people) if ref not in out]
    return inside, sorted(out)


def _seen(found: object, box: BoxSeen, now_ms: int, *, silent: bool) -> list[Whereabouts]:
    elapsed_s = max(0, now_ms - (box.muster_ms or now_ms)) / 1000
    return [
        Whereabouts(
            person_ref=name_of(one.get("person_ref")),
            site=box.site,
            node=box.node,
            zone=name_of(one.get("zone")) or "?",
            camera=name_of(one.get("camera")) or "?",
            age_s=elapsed_s + _seconds(one.get("age_ms")),
            silent=silent,
            perhaps_left_s=elapsed_s + _seconds(one["perhaps_left_ms"]) if "perhaps_left_ms" in one else None,
        )
        for one in _dicts(found)
    ]


def _blind(cameras: object) -> Iterator[str]:
    for one in _dicts(cameras):
        if one.get("sees") is False:
            yield name_of(one.get("camera")) or "?"


def _dicts(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def name_of(value: object) -> str | None:
    """Return what can be a name of a zone, a camera or somebody, None for all else."""
    return value if isinstance(value, str) and NAME.fullmatch(value) else None


def _seconds(age_ms: object) -> float:
    """Return an age; what is none counts as no age, what is beyond all sense as a year."""
    if isinstance(age_ms, bool) or not isinstance(age_ms, (int, float)) or not age_ms >= 0:
        return 0.0
    return min(age_ms, 365 * 86_400_000) / 1000
