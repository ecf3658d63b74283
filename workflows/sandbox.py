"""The tools as a trial finds them: checks calls, tries their luck, hands out results, and remembers what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trials.words import Trial
from workflows import reliability
from workflows.tasks import Reference, Task
from workflows.tools import INVALID_INPUT, Tool, check_arguments, coerced

UNKNOWN_TOOL = "UNKNOWN_TOOL"

OK, UNLUCKY, UNKNOWN, ARGUMENTS, DEPENDENCY = "ok", "unlucky", "unknown", "arguments", "dependency"
ENDS = (OK, UNLUCKY, UNKNOWN, ARGUMENTS, DEPENDENCY)
"""How a call may end: two by luck, three refused (no such tool, wrong arguments, a result it needs is not there)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call and its end.

    ``step`` is the task's step it belongs to, or None. ``in_order`` says that all the step needs had succeeded before;
    it is true for a tool the task does not need. ``draw`` and ``chance`` are None for a refused call.
    """

    turn: int
    tool: str
    arguments: Mapping[str, Any]
    end: str
    step: int | None = None
    in_order: bool = True
    error_code: str = ""
    reason: str = ""
    draw: float | None = None
    chance: float | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.end == OK


class Sandbox:
    """The tools of one trial. Not shared between trials or threads."""

    def __init__(self, task: Task, trial: Trial) -> None:
        self._task = task
        self._trial = trial
        self._visible = set(task.visible_tools(trial.cell.difficulty))
        self._tries: Counter[str] = Counter()
        self._outputs: dict[int, Mapping[str, Any]] = {}
        self._right: set[int] = set()

    @property
    def complete(self) -> bool:
        """Whether every step has succeeded in an order that its needs allow."""
        return len(self._right) == len(self._task.steps)

    def call(self, turn: int, name: str, arguments: Mapping[str, Any] | None) -> CallRecord:
        """Carry out a call, or refuse it. ``arguments`` is None if they could not be read."""
        tool = self._task.toolset.get(name) if name in self._visible else None
        step = self._task.step_of(name)
        given = dict(arguments or {})
        if tool is None:
            reason = f"there is no tool named '{name[:60]}'"
            return self._refused(turn, name, given, UNKNOWN, UNKNOWN_TOOL, reason)
        reason = "the arguments are not a JSON object" if arguments is None else check_arguments(tool, given)
        end = ARGUMENTS
        if not reason and step is not None:
            end, reason = self._unfit(tool, step, given)
        if reason:
            return self._refused(turn, name, given, end, INVALID_INPUT, reason)
        return self._tried(turn, tool, step, given)

    def _unfit(self, tool: Tool, step: int, given: Mapping[str, Any]) -> tuple[str, str]:
        """Say why well-formed arguments are not those that the task's step needs, if they are not."""
        for name, right in self._task.steps[step].arguments.items():
            parameter = tool.parameter(name)
            if parameter is None or parameter.free:
                continue
            missing = isinstance(right, Reference) and right.step not in self._outputs
            end = DEPENDENCY if missing else ARGUMENTS
            if name not in given:
                return end, f"parameter '{name}' is needed for this work order"
            value = coerced(parameter, given[name])
            if missing:
                return end, f"parameter '{name}': nothing is known as {_short(value)}"
            if isinstance(right, Reference):
                right = self._outputs[right.step].get(right.field)
            if value != right:
                return end, f"parameter '{name}': {_short(value)} is not what this work order is about"
        return ARGUMENTS, ""

    def _tried(self, turn: int, tool: Tool, step: int | None, given: dict[str, Any]) -> CallRecord:
        seed, task_id, epoch = self._trial.cell.seed, self._task.task_id, self._trial.epoch
        index = self._tries[tool.name]
        self._tries[tool.name] += 1
        in_order = step is None or self._task.needs[step] <= self._outputs.keys()
        chance = reliability.chance(self._trial.cell.tool_success_rate, in_order)
        draw = reliability.luck(seed, task_id, epoch, tool.name, index)
        ok = draw < chance
        code = "" if ok else reliability.fault(tool, seed, task_id, epoch, index)
        outputs = reliability.payload(tool, given, seed, task_id, epoch) if ok else {}
        if ok and step is not None:
            self._outputs[step] = outputs
            if in_order:
                self._right.add(step)
        return CallRecord(
            turn=turn,
            tool=tool.name,
            arguments=given,
            end=OK if ok else UNLUCKY,
            step=step,
            in_order=in_order,
            error_code=code,
            reason=next((one.description for one in tool.errors if one.code == code), ""),
            draw=draw,
            chance=chance,
            outputs=outputs,
        )

    def _refused(self, turn: int, name: str, given: dict[str, Any], end: str, code: str, reason: str) -> CallRecord:
        step = self._task.step_of(name)
        in_order = step is None or self._task.needs[step] <= self._outputs.keys()
        return CallRecord(
            turn=turn,
            tool=name,
            arguments=given,
            end=end,
            step=step,
            in_order=in_order,
            error_code=code,
            reason=reason,
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
