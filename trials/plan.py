"""The run's plan: every trial by its number, computed when asked for, never held in a list.

Trials are grouped by (phase, model). Phases run one after another, one per tool success rate. Within a group the
instance is the outer index and the cell the inner one, so that an interrupted run has touched every cell evenly.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from trials.spec import FLAWED_PREFIX, RunSpec
from trials.words import Cell, Trial, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The trials of one model in one phase: a contiguous range of numbers."""

    phase: int
    model: str
    first: int
    cells: tuple[Cell, ...]
    num_instances: int

    @property
    def numbers(self) -> range:
        """The numbers of the group's trials."""
        return range(self.first, self.first + len(self.cells) * self.num_instances)


class TrialPlan:
    """All trials of a spec, addressable by number. Immutable, hence safe to share between threads."""

    def __init__(self, spec: RunSpec, workload: Workload) -> None:
        self.spec = spec
        self._workload = workload
        self.groups = _groups(spec)
        self._starts = [group.first for group in self.groups]

    def __len__(self) -> int:
        return self.groups[-1].numbers.stop if self.groups else 0

    def group_of(self, number: int) -> Group:
        """Return the group a trial number falls into. Raises IndexError outside the plan."""
        if not 0 <= number < len(self):
            raise IndexError(f"trial {number} is outside the plan of {len(self)}")
        return self.groups[bisect_right(self._starts, number) - 1]

    def trial(self, number: int) -> Trial:
        """Return the trial with this number. Raises IndexError outside the plan."""
        group = self.group_of(number)
        instance, place = divmod(number - group.first, len(group.cells))
        return self._workload.trial(group.cells[place], instance, number)


def _groups(spec: RunSpec) -> tuple[Group, ...]:
    groups: list[Group] = []
    first = 0
    for phase, rate in enumerate(spec.tool_success_rates):
        for model in spec.models:
            cells = tuple(_cells(spec, model, rate))
            groups.append(Group(phase=phase, model=model, first=first, cells=cells, num_instances=spec.num_instances))
            first = groups[-1].numbers.stop
    return tuple(groups)


def _cells(spec: RunSpec, model: str, rate: float) -> list[Cell]:
    return [
        Cell(
            model=model,
            prompt_type=prompt_type,
            tool_success_rate=rate,
            difficulty=difficulty,
            task_type=task_type,
            severity=spec.severity if prompt_type.startswith(FLAWED_PREFIX) else "",
            tool_protocol=spec.tool_protocol,
            sampling=spec.sampling[model],
            max_turns=spec.max_turns,
            seed=spec.seed,
            origin=spec.origins.get(model, ""),
        )
        for prompt_type in spec.prompt_types
        for difficulty in spec.difficulties
        for task_type in spec.task_types
    ]
