"""A task: tools to call, in an order that data and dependencies allow, with values carried from call to call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from trials.digest import shuffled
from trials.record import record
from workflows.tools import Tool, builtin_tools, similar_tools

TASK_TYPES = ("simple_task", "basic_task", "data_pipeline", "api_integration", "multi_stage_pipeline")
DIFFICULTIES = ("very_easy", "easy", "medium", "hard", "very_hard")

DISTRACTORS: Mapping[str, int] = {"very_easy": 1, "easy": 3, "medium": 6, "hard": 10, "very_hard": 16}
"""Tools shown beyond the required ones and their lookalikes."""


@record
class Reference:
    """A value that is not known yet: a field of an earlier step's result. Steps count from 0, their text from 1."""

    step: int
    field: str

    @property
    def text(self) -> str:
        """How a plan or an export writes it."""
        return f"<{self.field} of step {self.step + 1}>"

    @staticmethod
    def read(value: Any) -> Any:
        """Return the reference that a text stands for, or ``value`` itself if it is none."""
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        return Reference(step=int(match[2]) - 1, field=match[1]) if match else value


_REFERENCE = re.compile(r"<(\w{1,60}) of step (\d{1,4})>")


@record
class Step:
    """One required call. ``arguments`` holds literals and references to results of earlier steps."""

    tool: str
    arguments: Mapping[str, Any]

    @property
    def sources(self) -> frozenset[int]:
        """The steps whose results this one takes."""
        return frozenset(one.step for one in self.arguments.values() if isinstance(one, Reference))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One item of the benchmark; compared by identity, as a library holds each task once.

    ``code`` is a short name that stands in every rendering and nowhere else. Each tool occurs at most once.
    ``data_needs`` and ``order_needs`` hold, per step, the steps that must have succeeded before it: without the
    first it has nothing to work on, without the second it is only less likely to succeed. ``text`` replaces the
    generated description, if it is not empty.
    """

    task_id: str
    task_type: str
    code: str
    subject: str
    steps: tuple[Step, ...]
    inputs: Mapping[str, Any]
    expected_outputs: Mapping[str, Any]
    data_needs: tuple[frozenset[int], ...]
    order_needs: tuple[frozenset[int], ...]
    toolset: Mapping[str, Tool] = field(repr=False)
    constraints: Mapping[str, Any] = field(default_factory=dict)
    complexity: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def required_tools(self) -> tuple[str, ...]:
        """The tools of all steps, in the task's own order."""
        return tuple(step.tool for step in self.steps)

    @property
    def needs(self) -> tuple[frozenset[int], ...]:
        """Per step, the steps that have to come before it for either reason."""
        return tuple(data | order for data, order in zip(self.data_needs, self.order_needs, strict=True))

    def step_of(self, tool: str) -> int | None:
        """Return the index of the step that calls ``tool``, or None if the task needs no such call."""
        return next((index for index, step in enumerate(self.steps) if step.tool == tool), None)

    def arguments_for(self, index: int, outputs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the right arguments of a step, given the results of earlier ones by step index.

        What has no result yet is written as the reference's text, which no tool accepts.
        """
        return resolve(self.steps[index].arguments, outputs)

    def lookalike(self, index: int) -> str:
        """Return the tool most easily taken for a step's own that no step needs, another one for each step."""
        return _lookalikes(self)[index]

    def distractors(self, difficulty: str) -> tuple[str, ...]:
        """Return the tools shown beside the required ones: each step's lookalike, then more with difficulty."""
        alike = tuple(filter(None, _lookalikes(self)))
        rest = [name for name in self.toolset if name not in alike and name not in self.required_tools]
        return (*alike, *shuffled(rest, "distractors", self.task_id)[: DISTRACTORS[difficulty]])

    def visible_tools(self, difficulty: str) -> tuple[str, ...]:
        """Return the names that a prompt shows, in an order that tells nothing."""
        return _visible(self, difficulty)

    def description(self, difficulty: str) -> str:
        """Return what is to be done, in the words of a difficulty."""
        from workflows.wording import describe

        return self.text or describe(self, difficulty)

    def to_json(self) -> dict[str, Any]:
        """Return the task as task files spell it, in full."""
        return {
            "instance_id": self.task_id,
            "task_type": self.task_type,
            "description": self.description("easy"),
            "inputs": dict(self.inputs),
            "expected_outputs": dict(self.expected_outputs),
            "required_tools": list(self.required_tools),
            "workflow": [
                {"tool": step.tool, "arguments": written(step.arguments), "after": sorted(need)}
                for step, need in zip(self.steps, self.order_needs, strict=True)
            ],
            "constraints": dict(self.constraints),
            "complexity": self.complexity,
            "metadata": {**self.metadata, "code": self.code, "subject": self.subject},
        }


class TaskLibrary:
    """Tasks by id and by type. Immutable once built."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = {task.task_id: task for task in tasks}
        self._codes = {task.code: task for task in self._tasks.values()}
        self._types: dict[str, tuple[Task, ...]] = {
            task_type: tuple(task for task in self._tasks.values() if task.task_type == task_type)
            for task_type in TASK_TYPES
        }
        self._orders: dict[tuple[str, int], tuple[Task, ...]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def get(self, task_id: str) -> Task:
        """Return a task by id. Raises KeyError if there is none."""
        return self._tasks[task_id]

    def of_type(self, task_type: str) -> Sequence[Task]:
        """Return all tasks of a type in the library's order."""
        return self._types[task_type]

    def order(self, task_type: str, seed: int) -> Sequence[Task]:
        """Return all tasks of a type, each once, in the order in which a seed draws them."""
        key = (task_type, seed)
        if key not in self._orders:
            self._orders[key] = tuple(shuffled(self._types[task_type], "task order", task_type, seed))
        return self._orders[key]

    def find_in(self, text: str) -> Task | None:
        """Return the task that a prompt is about, by the code that stands in every description."""
        for match in _CODE.finditer(text):
            if match[0] in self._codes:
                return self._codes[match[0]]
        return next((task for task in self._tasks.values() if task.text and task.text in text), None)


_CODE = re.compile(r"\b[A-Z]{2}-\d{3,6}\b")


@cache
def builtin_library() -> TaskLibrary:
    """Return the thousand built-in tasks."""
    from workflows.generator import generate

    return TaskLibrary(task for task_type in TASK_TYPES for task in generate(task_type, builtin_tools()))


@lru_cache(maxsize=4096)
def _lookalikes(task: Task) -> tuple[str, ...]:
    taken = set(task.required_tools)
    names = []
    for step in task.steps:
        name = next((one for one in similar_tools(task.toolset, step.tool) if one not in taken), "")
        taken.add(name)
        names.append(name)
    return tuple(names)


@lru_cache(maxsize=16384)
def _visible(task: Task, difficulty: str) -> tuple[str, ...]:
    names = sorted((*task.required_tools, *task.distractors(difficulty)))
    return tuple(shuffled(names, "shown", task.task_id))


def resolve(arguments: Mapping[str, Any], outputs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the arguments with each reference replaced by its value, or by its text if there is none yet."""
    return {
        name: outputs.get(value.step, {}).get(value.field, value.text) if isinstance(value, Reference) else value
        for name, value in arguments.items()
    }


def written(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with each reference as its text, so that they are JSON."""
    return resolve(arguments, {})
