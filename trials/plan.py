"""The run's plan: every trial by its number, computed when asked for, never held in a list.

A workload says which groups of trials there are. Phases run one after another; the groups of a phase side by side.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from trials.spec import RunSpec
from trials.words import Cell, Trial, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The trials of one model in one phase: a contiguous range of numbers, which the plan gives out.

    ``counts`` says how many trials each of ``cells`` has.
    """

    phase: int
    model: str
    cells: tuple[Cell, ...]
    counts: tuple[int, ...]
    first: int = 0

    @property
    def numbers(self) -> range:
        """The numbers of the group's trials."""
        return range(self.first, self.first + sum(self.counts))


class TrialPlan:
    """All trials of a spec, addressable by number. Immutable, hence safe to share between threads."""

    def __init__(self, spec: RunSpec, workload: Workload) -> None:
        self.spec = spec
        self._workload = workload
        self.groups = tuple(_numbered(workload.groups(spec)))
        self._starts = [group.first for group in self.groups]
        self._planned = self.groups[-1].numbers.stop if self.groups else 0

    def __len__(self) -> int:
        return self._planned

    def cells(self) -> Iterator[tuple[Cell, int]]:
        """Yield every cell of the plan, in order, and how many trials it has."""
        for group in self.groups:
            yield from zip(group.cells, group.counts, strict=True)

    def trial(self, number: int) -> Trial:
        """Return the trial with this number. Raises IndexError outside the plan."""
        if not 0 <= number < self._planned:
            raise IndexError(f"trial {number} is outside the plan of {self._planned}")
        return self._workload.trial(self.groups[bisect_right(self._starts, number) - 1], number)


def _numbered(groups: Iterable[Group]) -> Iterator[Group]:
    first = 0
    for group in groups:
        yield replace(group, first=first)
        first += sum(group.counts)
