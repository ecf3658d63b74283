"""Models made of a few lines of code, to talk with the real benchmark in tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trials.words import Cell, Chat, Completion, Message, Trial
from workflows.answers import ToolResult, read_results
from workflows.dialects import write_call
from workflows.plans import FAILED, SUCCEEDED, PlanStep
from workflows.prompts import read_plan
from workflows.tasks import Task, builtin_library

Decision = tuple[str, Mapping[str, Any]] | None
Mind = Callable[[Task, Sequence[Message]], Decision]


def make_cell(**changes: Any) -> Cell:
    """Return a cell with plain values where none are given."""
    plain: dict[str, Any] = {
        "model": "m",
        "prompt_type": "optimal",
        "tool_success_rate": 0.8,
        "difficulty": "easy",
        "task_type": "data_pipeline",
    }
    return Cell(**{**plain, **changes})


def make_trial(task: Task, epoch: int = 0, **changes: Any) -> Trial:
    """Return a trial of a task."""
    cell = make_cell(task_type=task.task_type, **changes)
    return Trial(number=0, trial_key=f"{task.task_id}/{epoch}", cell=cell, task_id=task.task_id, epoch=epoch)


def spoken(mind: Mind, dialect: str = "tag") -> Chat:
    """Return a model that does what a mind decides, in a dialect; when it decides nothing it finishes."""

    def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> Completion:
        task = builtin_library().find_in(str(messages[1]["content"]))
        assert task is not None
        decision = mind(task, messages)
        said = write_call(dialect, *(decision or ("finish", {"summary": "done"})), f"id_{len(messages)}")
        return Completion(text=said.text, tool_calls=said.tool_calls)

    return chat


def saying(*replies: str) -> Chat:
    """Return a model that says these replies, the last one for ever."""
    left = list(replies)

    def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> Completion:
        return Completion(text=left.pop(0) if len(left) > 1 else left[0])

    return chat


def knowing(task: Task, messages: Sequence[Message]) -> Decision:
    """Call the first step that has not succeeded, with the right arguments."""
    outputs = {}
    for result in read_results(messages):
        step = task.step_of(result.tool)
        if result.ok and step is not None:
            outputs[step] = result.outputs
    following = next((step for step in range(len(task.steps)) if step not in outputs), None)
    if following is None:
        return None
    return task.steps[following].tool, task.arguments_for(following, outputs)


def obeying(task: Task, messages: Sequence[Message]) -> Decision:
    """Follow the plan to the letter: step by step, as conditions say, each failed call repeated three times."""
    steps = read_plan(messages)
    place, tries = 0, 0
    ends: dict[int, bool] = {}
    outputs: dict[int, Mapping[str, Any]] = {}
    for result in read_results(messages):
        place = _next_due(steps, place, ends)
        ends[place] = result.ok
        tries += 1
        if result.ok:
            outputs[place] = result.outputs
        if result.ok or tries > 3:
            place, tries = place + 1, 0
    place = _next_due(steps, place, ends)
    if place == len(steps):
        return None
    return steps[place].tool, steps[place].arguments_for(outputs)


def _next_due(steps: Sequence[PlanStep], place: int, ends: Mapping[int, bool]) -> int:
    names = {True: SUCCEEDED, False: FAILED}
    while place < len(steps) and any(names.get(ends.get(one.step)) != one.outcome for one in steps[place].when):
        place += 1
    return place


def succeeded(results: Iterable[ToolResult]) -> set[str]:
    """Return the tools that succeeded."""
    return {result.tool for result in results if result.ok}
