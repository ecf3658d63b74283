"""Plans: the best order of calls for a task, how it is written into a prompt, and how it is read back.

A plan is one line a step, ``1. tool {arguments} | when: condition | why: reason``, and a line on failures. Reading is
the exact inverse of writing, so that what a model is told and what this package thinks it was told cannot differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from workflows.process import Process, solve
from workflows.tasks import Reference, Task, resolve, written
from workflows.wording import NEUTRAL, phrase

SUCCEEDED, FAILED = "succeeded", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What must have become of another step of the plan (counted from 0) before this one is due."""

    step: int
    outcome: str = SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step of a plan. References in ``arguments`` count the plan's steps, not the task's.

    ``when`` conditions must all hold; ``note`` is the reason the plan gives.
    """

    tool: str
    arguments: Mapping[str, Any]
    when: tuple[Condition, ...] = ()
    note: str = ""

    def arguments_for(self, outputs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Return what a faithful reader would send, given the results of the plan's steps by their number from 0.

        What has no result yet is sent as the plan writes it.
        """
        return resolve(self.arguments, outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in order. ``swaps`` are pairs of neighbours that may change places; ``spare`` calls are left for retries.

    ``value`` is the probability of full success when the plan is followed; no prompt mentions it.
    """

    steps: tuple[PlanStep, ...]
    swaps: tuple[tuple[int, int], ...] = ()
    spare: int = 0
    value: float = 0.0


@lru_cache(maxsize=8192)
def optimal_plan(task: Task, tool_success_rate: float, max_turns: int) -> Plan:
    """Return the plan that makes full success most likely with one call a turn."""
    solution = solve(Process.of(task, tool_success_rate))
    order: list[int] = []
    state, left = (0, 0), max_turns
    while len(order) < len(task.steps):
        best = solution.choice(state, left).best if left > 0 else ()
        step = best[0] if best else next(one for one in range(len(task.steps)) if one not in order)
        order.append(step)
        state, left = (state[0] | 1 << step, state[1] | 1 << step), left - 1
    needs = task.needs
    return Plan(
        steps=tuple(_plan_step(task, step, order) for step in order),
        swaps=tuple(
            (at, at + 1) for at, (this, following) in enumerate(pairwise(order)) if this not in needs[following]
        ),
        spare=max(0, max_turns - len(order)),
        value=solution.choice((0, 0), max_turns).value,
    )


def _plan_step(task: Task, step: int, order: list[int]) -> PlanStep:
    place = {one: at for at, one in enumerate(order)}
    return PlanStep(
        tool=task.steps[step].tool,
        arguments={
            name: Reference(step=place[value.step], field=value.field) if isinstance(value, Reference) else value
            for name, value in task.steps[step].arguments.items()
        },
        when=tuple(Condition(step=place[need]) for need in sorted(task.needs[step], key=place.__getitem__)),
        note=phrase(task, step, NEUTRAL),
    )


def write_plan(plan: Plan) -> str:
    """Return the plan as it stands in a prompt."""
    lines = [write_step(number, step) for number, step in enumerate(plan.steps, start=1)]
    if plan.swaps:
        pairs = ", ".join(f"{first + 1} and {second + 1}" for first, second in plan.swaps)
        lines.append(f"Steps that may change places: {pairs}.")
    lines.append(
        "After a failed call: repeat it with the same arguments before going on "
        f"({plan.spare} spare turns allow for this)."
    )
    return "\n".join(lines)


def write_step(number: int, step: PlanStep) -> str:
    """Return one step's line."""
    arguments = json.dumps(written(step.arguments), ensure_ascii=False)
    when = ", ".join(f"step {one.step + 1} {one.outcome}" for one in step.when) or "at once"
    return f"{number}. {step.tool} {arguments} | when: {when} | why: {step.note}"


def read_steps(text: str) -> tuple[PlanStep, ...]:
    """Read the steps of a written plan out of a text; lines that are no steps are passed over."""
    return tuple(step for step in map(_read_step, text.split("\n")) if step)


_STEP = re.compile(r"\d{1,4}\. (\w{1,80}) (?=\{)")
_TAIL = re.compile(r" \| when: ([^|]*) \| why: (.*)")
_CONDITION = re.compile(r"step (\d{1,4}) (succeeded|failed)")


def _read_step(line: str) -> PlanStep | None:
    head = _STEP.match(line)
    if head is None:
        return None
    try:
        arguments, end = json.JSONDecoder().raw_decode(line, head.end())
    except (ValueError, RecursionError):
        return None
    tail = _TAIL.fullmatch(line, end)
    if tail is None:
        return None
    return PlanStep(
        tool=head[1],
        arguments={name: Reference.read(value) for name, value in arguments.items()},
        when=tuple(Condition(step=int(one[1]) - 1, outcome=one[2]) for one in _CONDITION.finditer(tail[1])),
        note=tail[2],
    )
