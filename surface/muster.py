"""The whole mine's muster: who was last seen where, over all boxes.

Every box keeps its own muster and takes its mistakes back in it; this merges the newest of each. A
person whom several boxes saw is where the newest sight was. Ages go on counting from the arrival of a
box's muster, so that a box that has fallen silent does not look fresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surface.store import Store


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where somebody was last seen; `person_ref` None is a stranger, `silent` a box that is not there."""

    person_ref: str | None
    site: str
    node: str
    zone: str
    camera: str
    age_s: float
    silent: bool


@dataclass(frozen=True, slots=True)
class MineMuster:
    """All of the mine: people and strangers, and which boxes are not there or cameras do not see."""

    people: tuple[Whereabouts, ...]
    strangers: tuple[Whereabouts, ...]
    silent_boxes: tuple[str, ...]
    blind_cameras: tuple[str, ...]

    @property
    def headcount(self) -> int:
        """Named and unknown people."""
        return len(self.people) + len(self.strangers)


def mine_muster(store: Store, *, now_ms: int) -> MineMuster:
    """Return the muster of the mine as of `now_ms` (milliseconds since 1970, this machine's clock)."""
    people: dict[str, Whereabouts] = {}
    strangers: list[Whereabouts] = []
    silent_boxes: list[str] = []
    blind: list[str] = []
    for site, node, state, muster, arrived_ms in store.nodes():
        silent = state is None or state.get("online") is not True
        if silent:
            silent_boxes.append(f"{site}/{node}")
        if muster is None or arrived_ms is None:
            continue
        elapsed_s = max(0, now_ms - arrived_ms) / 1000
        for one in _seen(muster.get("people"), site, node, elapsed_s, silent=silent):
            known = people.get(str(one.person_ref))
            if known is None or one.age_s < known.age_s:
                people[str(one.person_ref)] = one
        strangers += _seen(muster.get("unknown"), site, node, elapsed_s, silent=silent)
        blind += [
            f"{site}/{node}/{c['camera']}" for c in _dicts(muster.get("cameras")) if c.get("sees") is False
        ]
    return MineMuster(
        people=tuple(people[ref] for ref in sorted(people)),
        strangers=tuple(strangers),
        silent_boxes=tuple(silent_boxes),
        blind_cameras=tuple(blind),
    )


def _seen(found: Any, site: str, node: str, elapsed_s: float, *, silent: bool) -> list[Whereabouts]:
    return [
        Whereabouts(
            person_ref=one.get("person_ref"),
            site=site,
            node=node,
            zone=str(one.get("zone")),
            camera=str(one.get("camera")),
            age_s=elapsed_s + _number(one.get("age_ms")) / 1000,
            silent=silent,
        )
        for one in _dicts(found)
    ]


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
