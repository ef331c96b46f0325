"""Numbers of a box that never came: lost and reported, before this store's time, or missing.

A box counts its events from 1 and never uses a number twice, so a number that is not in the store is
an event that this store does not have. Only two things excuse that: the box reported the loss itself
(a ``gap`` event), or an operator said from which number on events are expected here (a baseline),
because what came before went to somebody else. No baseline is ever guessed: of a box whose first
events were lost, the first that arrives looks just the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: A site, a node, and the first and the last of a range of numbers.
Range: TypeAlias = tuple[str, str, int, int]


@dataclass(frozen=True, slots=True)
class Missing:
    """Numbers of a box that never came.

    Attributes:
        site: the mine.
        node: the box.
        from_seq: the first of them.
        to_seq: the last of them.
        reported: ``gap`` events cover them.
        before: they are before the box's baseline, and not expected here.
    """

    site: str
    node: str
    from_seq: int
    to_seq: int
    reported: bool
    before: bool = False

    @property
    def count(self) -> int:
        """How many numbers that are."""
        return self.to_seq - self.from_seq + 1

    @property
    def excused(self) -> bool:
        """Whether nobody needs to look for them."""
        return self.reported or self.before


@dataclass(frozen=True, slots=True)
class Baseline:
    """From `from_seq` on events of a box are expected here; an operator said so at `set_ms` (since 1970)."""

    site: str
    node: str
    from_seq: int
    set_ms: int


def told_apart(
    holes: Iterable[Range], reports: Iterable[Range], baselines: Mapping[tuple[str, str], Baseline]
) -> list[Missing]:
    """Return the holes, cut where reports of losses begin and end, and where the box's baseline is."""
    told: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for site, node, first, last in sorted(reports, key=lambda one: one[2]):
        told[site, node].append((first, last))
    return [
        Missing(site, node, first, last, reported=reported, before=first < start)
        for site, node, begin, end in holes
        for start in (_start(baselines.get((site, node))),)
        for low, high in _cut(begin, end, start)
        for first, last, reported in _pieces(low, high, told[site, node])
    ]


def _start(baseline: Baseline | None) -> int:
    return 1 if baseline is None else baseline.from_seq


def _cut(begin: int, end: int, start: int) -> Iterator[tuple[int, int]]:
    """Yield what of a range is before `start`, and what is not."""
    if begin < start:
        yield begin, min(end, start - 1)
    if end >= start:
        yield max(begin, start), end


def _pieces(begin: int, end: int, told: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, bool]]:
    """Yield (first, last, reported) of a hole, cut where reports of losses begin and end."""
    for first, last in told:
        if last < begin or first > end:
            continue
        if first > begin:
            yield begin, first - 1, False
        yield max(begin, first), min(end, last), True
        begin = max(begin, last + 1)
        if begin > end:
            return
    yield begin, end, False
