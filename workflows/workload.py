"""The tool-use workflow benchmark as a workload: which trials there are, and how one is run and marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache
from typing import Any

from trials.digest import digest
from trials.errors import UsageError
from trials.per_cell import PerCell
from trials.plan import Group
from trials.spec import RunSpec, WorkflowSpec
from trials.words import FULL, Cell, Chat, Marked, Opening, Trial
from workflows import answers, prompts, reliability, scoring, wording
from workflows.dialogue import Transcript, converse
from workflows.flaws import damage
from workflows.following import followed
from workflows.plans import optimal_plan, write_plan
from workflows.prompts import FLAWED, flaw_of, native_tools, opening, plan_diff, plan_for
from workflows.sandbox import CallRecord
from workflows.tasks import Task, TaskLibrary, builtin_library

VERSION = 1
"""Raise when anything changes that decides how a trial is run or marked and that no rendered text shows."""


class WorkflowWorkload:
    """Implements ``trials.words.Workload``. Immutable but for caches, hence safe to share between threads.

    ``control_for`` names flaws: every cell then draws only tasks that are long enough for all of them, so that
    an optimal prompt stands on the very same tasks as the flawed ones.
    """

    def __init__(self, library: TaskLibrary | None = None, control_for: Sequence[str] = ()) -> None:
        self.library = library if library is not None else builtin_library()
        self._control_for = tuple(control_for)
        self._order = lru_cache(maxsize=1024)(self._eligible_order)
        self._content = lru_cache(maxsize=16384)(_content_digest)
        self._asked = lru_cache(maxsize=65536)(_asked_digest)
        self._said = PerCell(lambda cell: (_as_asked(cell), [cell.model, cell.origin, asdict(cell.sampling)]))

    @cached_property
    def definition(self) -> str:
        """Digest of everything that decides what is asked and how it is marked."""
        tasks = [task.to_json() for task in self.library]
        return digest([self._rules, tasks, prompts.TEMPLATES, wording.PHRASES, wording.FRAMES], 8)

    @cached_property
    def _rules(self) -> str:
        """Digest of what all trials share: the tools, what is answered, and the rules of running and marking."""
        tools = {name: tool for task in self.library for name, tool in task.toolset.items()}
        told = [tool.to_json() for tool in tools.values()]
        return digest([*_VERSIONS, told, answers.HINTS, scoring.SUCCESS_RULE])

    def eligible(self, cell: Cell) -> tuple[int, int]:
        """Return how many tasks of the cell's type are long enough for its flaw, and how many there are."""
        return len(self._tasks(cell)), len(self.library.of_type(cell.task_type))

    def groups(self, spec: RunSpec) -> Iterator[Group]:
        """Yield a group per tool success rate, each a phase of its own, and model."""
        asks = spec.asks
        assert isinstance(asks, WorkflowSpec)
        for phase, rate in enumerate(asks.tool_success_rates):
            for model in spec.models:
                cells = tuple(_cells(spec, asks, model, rate))
                yield Group(phase=phase, model=model, cells=cells, counts=(asks.num_instances,) * len(cells))

    def remarks(self, spec: RunSpec) -> list[str]:
        """Say for which cells some tasks cannot carry the flaw and are replaced by others."""
        lines: dict[str, None] = {}
        for group in self.groups(spec):
            for cell in group.cells:
                eligible, total = self.eligible(cell)
                if eligible < total:
                    tasks = f"{eligible} of {total} {cell.task_type} tasks"
                    lines[f"{cell.prompt_type} ({cell.severity}): {tasks} are eligible"] = None
        return list(lines)

    def inputs(self) -> dict[str, str]:
        """Return the digest of the task library."""
        return {"tasks": digest([task.to_json() for task in self.library])}

    def opening(self, trial: Trial) -> None:
        """Look nothing up ahead: a conversation of several turns asks the cache at each."""
        return

    def trial(self, group: Group, number: int) -> Trial:
        """Return a trial of a group. The instance is the outer index and the cell the inner one.

        So a run that is interrupted has touched every cell evenly. Raises UsageError if no task of the type is
        eligible.
        """
        instance, place = divmod(number - group.first, len(group.cells))
        return self.nth(group.cells[place], instance, number)

    def nth(self, cell: Cell, instance: int, number: int) -> Trial:
        """Return the ``instance``-th trial of a cell: the next eligible task, and once all had their turn a new epoch.

        Raises UsageError if no task of the type is eligible.
        """
        tasks = self._tasks(cell)
        if not tasks:
            there = len(self.library.of_type(cell.task_type))
            lack = f"can carry the flaws asked for ({there} are there)" if there else "is in the task library"
            raise UsageError(f"no task of type {cell.task_type} {lack}; choose others with --task-types")
        epoch, place = divmod(instance, len(tasks))
        task = tasks[place]
        as_asked, whom = self._said(cell)
        key = digest([self._asked(as_asked, task), self._rules, self._content(task), whom, cell.seed, epoch])
        return Trial(number=number, trial_key=key, cell=cell, task_id=task.task_id, epoch=epoch)

    def run(self, trial: Trial, chat: Chat, opening: Opening | None = None) -> Marked:
        """Ask and mark one trial."""
        task = self.library.get(trial.task_id)
        return mark(task, trial, converse(task, trial, chat))

    def _tasks(self, cell: Cell) -> Sequence[Task]:
        flaw = flaw_of(cell)
        flaws = tuple(dict.fromkeys((*self._control_for, *([flaw] if flaw else []))))
        return self._order(cell.task_type, cell.seed, flaws, cell.severity or "severe")

    def _eligible_order(self, task_type: str, seed: int, flaws: Sequence[str], severity: str) -> tuple[Task, ...]:
        return tuple(
            task
            for task in self.library.order(task_type, seed)
            if all(damage(task, optimal_plan(task, 0.8, 10), flaw, severity) for flaw in flaws)
        )


def _cells(spec: RunSpec, asks: WorkflowSpec, model: str, rate: float) -> Iterator[Cell]:
    for prompt_type in asks.prompt_types:
        for difficulty in asks.difficulties:
            for task_type in asks.task_types:
                yield Cell(
                    model=model,
                    prompt_type=prompt_type,
                    tool_success_rate=rate,
                    difficulty=difficulty,
                    task_type=task_type,
                    severity=asks.severity if prompt_type.startswith(FLAWED) else "",
                    tool_protocol=asks.tool_protocol,
                    sampling=spec.sampling[model],
                    max_turns=asks.max_turns,
                    seed=spec.seed,
                    origin=spec.origins.get(model, ""),
                )


def mark(task: Task, trial: Trial, transcript: Transcript) -> Marked:
    """Mark a finished conversation of a trial."""
    score = scoring.score(task, transcript)
    flaw, plan = flaw_of(trial.cell), plan_for(task, trial.cell)
    optimal = optimal_plan(task, trial.cell.tool_success_rate, trial.cell.max_turns)
    fell = followed(flaw, optimal, plan, transcript) if flaw and plan else None
    return Marked(
        outcome=score.outcome,
        error_category=score.error_category,
        coverage=score.coverage,
        order=score.order,
        execution=score.execution,
        recovery=score.recovery,
        efficiency=score.efficiency,
        followed_flaw=fell,
        recovered=score.outcome == FULL if fell else None,
        turns=transcript.turns,
        tool_calls=len(transcript.calls),
        tool_failures=sum(not call.ok for call in transcript.calls),
        deviations=transcript.deviations,
        plan_diff=plan_diff(optimal, plan) if flaw and plan else "",
        conversation=transcript.messages,
        detail={
            "plan": write_plan(plan).splitlines() if plan else [],
            "optimal_value": round(optimal.value, 6),
            "calls": [_call_json(call) for call in transcript.calls],
            "breakdown": dict(score.breakdown),
            "searches": transcript.searches,
            "infos": transcript.infos,
            "unreadable": transcript.unreadable,
            "idle": transcript.idle,
        },
    )


_VERSIONS = (VERSION, reliability.VERSION, scoring.VERSION)


def _as_asked(cell: Cell) -> tuple[Any, ...]:
    """Return the part of a cell that its opening depends on; hashable, and shared by all models."""
    return (
        cell.prompt_type,
        cell.tool_success_rate,
        cell.difficulty,
        cell.severity if flaw_of(cell) else "",
        cell.tool_protocol,
        cell.max_turns,
    )


def _asked_digest(asked: tuple[Any, ...], task: Task) -> str:
    """Digest everything that a model is asked at the beginning of a trial."""
    prompt_type, rate, difficulty, severity, protocol, max_turns = asked
    cell = Cell(
        model="",
        prompt_type=prompt_type,
        tool_success_rate=rate,
        difficulty=difficulty,
        task_type=task.task_type,
        severity=severity,
        tool_protocol=protocol,
        max_turns=max_turns,
    )
    return digest([asked, opening(task, cell), native_tools(task, cell)])


def _content_digest(task: Task) -> str:
    return digest(task.to_json())


def _call_json(call: CallRecord) -> dict[str, Any]:
    record = asdict(call)
    record["arguments"] = dict(call.arguments)
    record["outputs"] = dict(call.outputs)
    return record
