"""Seven ways to damage a plan. The damage is never disclosed: it reads like any other plan.

Each flaw damages one step when light, half of those it can when medium, and all of them when severe; which steps is
drawn by task and flaw, so that a severer damage contains the lighter one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trials.digest import shuffled, uniform
from workflows.plans import FAILED, Condition, Plan, PlanStep
from workflows.tasks import Reference, Task
from workflows.tools import Parameter
from workflows.wording import NEUTRAL, PHRASES

FLAWS = (
    "sequence_disorder",
    "tool_misuse",
    "parameter_error",
    "missing_step",
    "redundant_operations",
    "logical_inconsistency",
    "semantic_drift",
)
SEVERITIES = ("light", "medium", "severe")


def damage(task: Task, plan: Plan, flaw: str, severity: str) -> Plan | None:
    """Return the plan with a flaw, or None if the task is too short for it.

    ``plan`` must be the task's optimal plan.
    """
    return _DAMAGES[flaw](task, plan, severity)


def shares(candidates: Sequence[int], task: Task, flaw: str, severity: str) -> set[int]:
    """Return which of the candidates are damaged."""
    count = {"light": 1, "medium": (len(candidates) + 1) // 2, "severe": len(candidates)}[severity]
    return set(shuffled(candidates, "flaw", flaw, task.task_id)[:count])


def rearranged(plan: Plan, order: Sequence[int]) -> Plan:
    """Return the plan with the steps of ``order`` (old numbers; left out or repeated at will), renumbered.

    A reference to a repeated step means its first copy; one to a step that is gone means the last one kept before it.
    Conditions on a step that now comes later are dropped.
    """
    place: dict[int, int] = {}
    for at, old in enumerate(order):
        place.setdefault(old, at)
    steps = [_renumbered(plan, plan.steps[old], at, place) for at, old in enumerate(order)]
    swaps = [(place[a], place[b]) for a, b in plan.swaps if a in place and b in place]
    return replace(plan, steps=tuple(steps), swaps=tuple(pair for pair in swaps if pair[1] == pair[0] + 1))


def _renumbered(plan: Plan, step: PlanStep, at: int, place: Mapping[int, int]) -> PlanStep:
    def moved(value: Any) -> Any:
        if not isinstance(value, Reference):
            return value
        if value.step in place:
            return replace(value, step=place[value.step])
        kept = max(old for old in place if old < value.step)
        return Reference(step=place[kept], field=value.field)

    when = dict.fromkeys(
        replace(one, step=place[one.step] if one.step in place else place[max(o for o in place if o < one.step)])
        for one in step.when
    )
    return replace(
        step,
        arguments={name: moved(value) for name, value in step.arguments.items()},
        when=tuple(one for one in when if one.step < at),
    )


def _sequence_disorder(task: Task, plan: Plan, severity: str) -> Plan | None:
    dependent = [at for at, step in enumerate(plan.steps) if step.when]
    if not dependent:
        return None
    order = list(range(len(plan.steps)))
    for at in sorted(shares(dependent, task, "sequence_disorder", severity)):
        order.remove(at)
        order.insert(min(order.index(one.step) for one in plan.steps[at].when), at)
    return rearranged(plan, order)


def _tool_misuse(task: Task, plan: Plan, severity: str) -> Plan | None:
    chosen = shares(range(len(plan.steps)), task, "tool_misuse", severity)
    steps = [
        replace(step, tool=task.lookalike(_index(task, step))) if at in chosen else step
        for at, step in enumerate(plan.steps)
    ]
    return replace(plan, steps=tuple(steps)) if all(step.tool for step in steps) else None


def _parameter_error(task: Task, plan: Plan, severity: str) -> Plan | None:
    chosen = shares(range(len(plan.steps)), task, "parameter_error", severity)
    steps = [
        replace(step, arguments=_wrong(task, step)) if at in chosen else step for at, step in enumerate(plan.steps)
    ]
    return replace(plan, steps=tuple(steps))


def _missing_step(task: Task, plan: Plan, severity: str) -> Plan | None:
    middle = range(1, len(plan.steps) - 1)
    if not middle:
        return None
    gone = shares(middle, task, "missing_step", severity)
    return rearranged(plan, [at for at in range(len(plan.steps)) if at not in gone])


def _redundant_operations(task: Task, plan: Plan, severity: str) -> Plan | None:
    doubled = shares(range(len(plan.steps)), task, "redundant_operations", severity)
    return rearranged(plan, [at for at in range(len(plan.steps)) for _ in range(1 + (at in doubled))])


def _logical_inconsistency(task: Task, plan: Plan, severity: str) -> Plan | None:
    later = range(1, len(plan.steps))
    if not later:
        return None
    chosen = shares(later, task, "logical_inconsistency", severity)
    steps = [
        replace(
            step,
            when=(Condition(step=step.when[-1].step if step.when else at - 1, outcome=FAILED),),
            note=plan.steps[at - 1].note,
        )
        if at in chosen
        else step
        for at, step in enumerate(plan.steps)
    ]
    return replace(plan, steps=tuple(steps))


def _semantic_drift(task: Task, plan: Plan, severity: str) -> Plan | None:
    length = len(plan.steps)
    if length < 2:
        return None
    tail = max(1, length - (length + 1) // 2)
    drifting = {"light": 1, "medium": (tail + 1) // 2, "severe": tail}[severity]
    start = length - drifting
    aims = shuffled(task.distractors("very_easy"), "flaw", "semantic_drift", task.task_id)[:drifting]
    if not aims:
        return None  # without another tool to turn to, the plan would only be shorter
    steps = plan.steps[:start]
    for tool in aims:
        steps += (_neighbouring(task, tool, steps),)
    return replace(
        plan,
        steps=steps,
        swaps=tuple(pair for pair in plan.swaps if pair[1] < start),
    )


_DAMAGES: Mapping[str, Callable[[Task, Plan, str], Plan | None]] = {
    "sequence_disorder": _sequence_disorder,
    "tool_misuse": _tool_misuse,
    "parameter_error": _parameter_error,
    "missing_step": _missing_step,
    "redundant_operations": _redundant_operations,
    "logical_inconsistency": _logical_inconsistency,
    "semantic_drift": _semantic_drift,
}


def _index(task: Task, step: PlanStep) -> int:
    index = task.step_of(step.tool)
    if index is None:
        raise ValueError(f"{step.tool} is no step of {task.task_id}")
    return index


def _wrong(task: Task, step: PlanStep) -> dict[str, Any]:
    """Return the step's arguments with one that matters missing or wrong."""
    tool = task.toolset[step.tool]
    parameters = [one for one in tool.parameters if one.name in step.arguments and not one.free]
    stated = [one for one in parameters if not isinstance(step.arguments[one.name], Reference)]
    target = (stated or parameters)[-1]
    arguments = dict(step.arguments)
    if uniform("flaw", "parameter_error", task.task_id, step.tool) < 0.5 and len(arguments) > 1:
        del arguments[target.name]
    else:
        arguments[target.name] = _other_value(target, arguments[target.name])
    return arguments


def _other_value(parameter: Parameter, right: Any) -> Any:
    """Return a likely but wrong value."""
    if isinstance(right, Reference):
        return f"{parameter.accepts[0]}_{right.step + 1}"
    if "enum" in parameter.constraints:
        return next(one for one in parameter.constraints["enum"] if one != right)
    if parameter.type == "boolean":
        return not right
    if parameter.type in ("integer", "number"):
        return right + 1 if right + 1 <= parameter.constraints.get("maximum", right + 1) else right - 1
    return f"{right}_old"


def _neighbouring(task: Task, name: str, before: Sequence[PlanStep]) -> PlanStep:
    """Return a step towards another goal, fed like any other by the steps before it."""
    tool = task.toolset[name]
    arguments: dict[str, Any] = {}
    for parameter in tool.parameters:
        source = _latest(parameter.accepts, task, before)
        if source is not None:
            arguments[parameter.name] = source
        elif parameter.required:
            arguments[parameter.name] = task.inputs.get(parameter.name, _likely(parameter, task))
    known = PHRASES.get(name)
    return PlanStep(
        tool=name,
        arguments=arguments,
        when=(Condition(step=len(before) - 1),),
        note=known[NEUTRAL] if known else tool.description.rstrip(".").lower(),
    )


def _latest(accepts: Sequence[str], task: Task, before: Sequence[PlanStep]) -> Reference | None:
    for at in reversed(range(len(before))):
        for result in task.toolset[before[at].tool].returns:
            if result.kind in accepts:
                return Reference(step=at, field=result.name)
    return None


def _likely(parameter: Parameter, task: Task) -> Any:
    bounds = parameter.constraints
    if "enum" in bounds:
        return bounds["enum"][0]
    if parameter.type in ("integer", "number"):
        return bounds.get("minimum", 1)
    start = bounds["prefix"][0] if "prefix" in bounds else ""
    return f"{start}{task.code.lower()}"[: bounds.get("max_length", 80)]
