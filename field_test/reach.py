"""What the field test asks of the box, bar by bar, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from field_test.tables import percent

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bar:
    """One demand: `least` for shares that must be at least `bar`, otherwise at most."""

    what: str
    bar: float
    least: bool
    find: Callable[[Figures], Figures]

    def line(self, found: Figures) -> str:
        """Return the bar as a line of a table: demand, bar, measured, whether it is met."""
        figure = self.find(found)
        value = figure.get("share")
        sign = ">=" if self.least else "<="
        if value is None:
            return f"| {self.what} | {sign} {100 * self.bar:g} % | not measured | - |"
        met = value >= self.bar if self.least else value <= self.bar
        shown = f"{percent(dict(figure))} % ({figure['hits']} of {figure['of']})"
        return f"| {self.what} | {sign} {100 * self.bar:g} % | {shown} | {'yes' if met else 'no'} |"


def _ash(level: str) -> Callable[[Figures], Figures]:
    return lambda found: found["passages_by_ash"].get(level, {}).get("right", {})


BARS: Final = (
    Bar("names given that are right, per face", 0.97, True, lambda found: found["faces"]["precision"]),
    Bar("names given that are right, per passage", 0.99, True, lambda found: found["precision_of_passages"]),
    Bar("faces missed, clean and light", 0.03, False, lambda found: found["clean_and_light"]["miss"]),
    Bar(
        "faces missed, heavy",
        0.20,
        False,
        lambda found: found["faces_by_ash"].get("heavy", {}).get("miss", {}),
    ),
    Bar(
        "passages undecided, clean and light",
        0.15,
        False,
        lambda found: found["clean_and_light"]["undecided"],
    ),
    Bar("registered people's passages named rightly, clean", 0.98, True, _ash("clean")),
    Bar("registered people's passages named rightly, light", 0.95, True, _ash("light")),
    Bar("registered people's passages named rightly, heavy", 0.75, True, _ash("heavy")),
    Bar(
        "strangers' passages that ever get a name",
        0.005,
        False,
        lambda found: found["strangers"]["ever_named"],
    ),
    Bar("one-minute windows with the exact headcount", 0.95, True, lambda found: found["headcount"]["exact"]),
)
_P50_S: Final = 0.7


def reach(found: Figures) -> str:
    """Return all bars beside what was measured, as a Markdown table."""
    p50, empty = found["time_to_decision_s"]["p50"], found["empty"]
    lines = ["| what | bar | measured | met |", "|---|---|---|---|", *(bar.line(found) for bar in BARS)]
    if empty["frames"]:
        met = "yes" if not empty["names"] else "no"
        lines.append(
            f"| names in empty stretches | 0 | {empty['names']} in {empty['frames']} frames | {met} |"
        )
    if p50 is not None:
        met = "yes" if p50 <= _P50_S else "no"
        lines.append(f"| time to decision, median | <= {_P50_S:g} s | {p50:g} s | {met} |")
    return "\n".join(lines)
