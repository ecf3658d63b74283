"""Reads tasks that a user brings, and writes tasks so that they can be read again.

Two public benchmarks spell the same file differently: WorkflowBench says ``instance_id``, ``test_input`` and
``expected_output``, PILOT-Bench ``id``, ``inputs`` and ``expected_outputs``, and it has other names for the five task
types (``RENAMED_TYPES``). Either spelling of each field is read, in any mixture. What this project writes has a
``workflow`` besides: per step the tool, its arguments, and the steps it comes after (counted from 0), in place of
what ``dataflow`` would otherwise work out. A ``workflow`` that is an object is some other program's plan, and is left
alone.

A task's own words stand at every difficulty, behind its code; difficulty then decides the distractor tools only.
Whatever the document holds, a task that loads can be carried out: that is tried before it is let through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trials.digest import uniform
from trials.errors import UsageError
from workflows.dataflow import Flow, checked, in_order, usable
from workflows.documents import (
    MOST_BYTES,
    Entry,
    Fields,
    Problem,
    Shape,
    by_place,
    called,
    nearest,
    quoted,
    read_entries,
    refuse,
)
from workflows.reliability import payload
from workflows.tasks import TASK_TYPES, Reference, Step, Task, TaskLibrary
from workflows.tool_files import LoadedTools, fits, load_tools, tools_of
from workflows.tools import Tool, check_arguments

__all__ = [
    "MOST_BYTES",
    "LoadedTasks",
    "LoadedTools",
    "Problem",
    "export_tasks",
    "library_of",
    "load_tasks",
    "load_tools",
    "tools_of",
]

TASK_SHAPE = Shape(noun="tasks", wrappers=("tasks", "instances"), marks=("required_tools", "task_type"))

RENAMED_TYPES: Mapping[str, str] = {
    "content_analysis": "simple_task",
    "batch_processing": "basic_task",
    "data_multistep_processing": "data_pipeline",
    "api_data_retrieval": "api_integration",
    "advanced_processing": "multi_stage_pipeline",
}
"""PILOT-Bench's names in the order of ours: one step over a content, a few alike, a pipeline, an API, many stages."""

MOST_TOOLS = 10
"""A trial has ten turns, and the optimal plan is solved exactly, which takes time exponential in the tools."""

_IDS = ("instance_id", "id", "task_id")
_INPUTS = ("inputs", "test_input")
_OUTPUTS = ("expected_outputs", "expected_output")

_LONGEST_ID = 120
_LONGEST_TASK = 100_000
"""Characters of inputs and description together that a prompt may hold."""

_CODE = re.compile(r"[A-Z]{2}-\d{3,6}")
_CODES = 10**6
_BLANK_LINES = re.compile(r"\s*\n\s*\n\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTasks:
    """The tasks of a document that can be used, and what is wrong with the rest."""

    tasks: tuple[Task, ...]
    problems: tuple[Problem, ...]


def load_tasks(document: bytes, source: str, tools: Mapping[str, Tool]) -> LoadedTasks:
    """Read tasks over a set of tools. Never raises; ``source`` is what problems call the document."""
    entries, problems = read_entries(document, source, TASK_SHAPE)
    codes = _Codes(entries)
    tasks: list[Task] = []
    places: dict[str, str] = {}
    for entry in entries:
        fields = Fields(entry.value, source, entry.place)
        task = _task(fields, entry, tools, codes)
        problems.extend(fields.problems)
        if task is None:
            continue
        if task.task_id in places:
            reason = f"{quoted(task.task_id)} is also the id of {places[task.task_id]}"
            problems.append(Problem(source=source, place=entry.place, field=fields.spelling(*_IDS), reason=reason))
        else:
            places[task.task_id] = entry.place
            tasks.append(task)
    return LoadedTasks(tasks=tuple(tasks), problems=by_place(problems))


def library_of(loaded: LoadedTasks, *, skip_invalid: bool = False) -> TaskLibrary:
    """Return the tasks as a library.

    Raises UsageError if anything was wrong, unless that may be skipped; always if no valid task is left.
    """
    refuse(loaded.problems, "tasks", len(loaded.tasks), skip_invalid=skip_invalid)
    return TaskLibrary(loaded.tasks)


def export_tasks(library: TaskLibrary, task_ids: Iterable[str]) -> bytes:
    """Return a task file, one task a line, from which ``load_tasks`` reads the same tasks over the same tools.

    Raises UsageError for an id that the library does not have.
    """
    known = {task.task_id: task for task in library}
    lines = []
    for task_id in task_ids:
        if task_id not in known:
            raise UsageError(f"unknown task {quoted(task_id)}{nearest(task_id, known)}")
        lines.append(json.dumps(known[task_id].to_json(), ensure_ascii=False))
    return "[\n{}\n]\n".format(",\n".join(lines)).encode()


class _Codes:
    """Gives out the short names by which prompts tell tasks apart: a task's own, or one that its id decides."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._reserved = {code for entry in entries if (code := self._own(entry.value.get("metadata")))}
        self._used: set[str] = set()

    def take(self, task_id: str, metadata: Mapping[str, Any]) -> str:
        """Return a task's code, or an empty string if its own is already another task's."""
        code = self._own(metadata)
        if not code:
            number = int(uniform("code", task_id) * _CODES)
            while (code := f"OT-{number:06d}") in self._reserved or code in self._used:
                number = (number + 1) % _CODES
        elif code in self._used:
            return ""
        self._used.add(code)
        return code

    @staticmethod
    def _own(metadata: Any) -> str:
        code = metadata.get("code") if isinstance(metadata, dict) else None
        return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _task(fields: Fields, entry: Entry, tools: Mapping[str, Tool], codes: _Codes) -> Task | None:
    """Read one task; None if anything is wrong with it."""
    task_id = _id(fields, entry)
    said_type, task_type = _type(fields)
    description = _BLANK_LINES.sub("\n", fields.string("description").strip())
    inputs = fields.mapping(*_INPUTS)
    expected = fields.mapping(*_OUTPUTS)
    metadata = fields.mapping("metadata", default={})
    complexity = _complexity(fields)
    constraints = _constraints(fields)
    names = _required(fields, tools)
    if len(description) + len(json.dumps(inputs, ensure_ascii=False)) > _LONGEST_TASK:
        fields.note("", f"has more than {_LONGEST_TASK:,} characters of description and inputs: no prompt holds that")
    if fields.problems:
        return None
    code = codes.take(task_id, metadata)
    if not code:
        fields.note("metadata.code", f"{metadata['code']} is also the code of an earlier task")
        return None
    subject = _subject(task_id, metadata)
    flow = Flow(task_id, f"{code}: work on {subject}", inputs, tools)
    order = _steps(fields, flow, names, tools)
    if fields.problems:
        return None
    task = Task(
        task_id=task_id,
        task_type=task_type,
        code=code,
        subject=subject,
        steps=tuple(flow.steps),
        inputs=flow.inputs,
        expected_outputs=expected,
        data_needs=tuple(step.sources for step in flow.steps),
        order_needs=tuple(order),
        toolset=tools,
        constraints=constraints,
        complexity=complexity,
        metadata=_metadata(metadata, flow.added, "" if said_type == task_type else said_type),
    )
    return _in_its_words(task, description) if _can_be_done(fields, task) else None


def _subject(task_id: str, metadata: Mapping[str, Any]) -> str:
    said = metadata.get("subject")
    return " ".join(said.split()) if isinstance(said, str) and said.strip() else f"task {task_id}"


def _metadata(said: Mapping[str, Any], added: Sequence[str], renamed: str) -> dict[str, Any]:
    """Return what is to be remembered: the document's own, which inputs were added, and the type before renaming."""
    metadata = {name: value for name, value in said.items() if name not in ("code", "subject")}
    if added:
        before = metadata.get("added_inputs")
        metadata["added_inputs"] = [*(before if isinstance(before, list) else []), *added]
    if renamed:
        metadata["original_task_type"] = renamed
    return metadata


def _in_its_words(task: Task, description: str) -> Task:
    """Return the task with its own description, unless that is what this project would say anyway."""
    if description == task.description("easy"):
        return task
    heading = f"Work order {task.code}: "
    return replace(task, text=description if description.startswith(heading) else heading + description)


def _id(fields: Fields, entry: Entry) -> str:
    value = fields.raw(*_IDS)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    elif value is None and entry.name:
        value = entry.name
    else:
        value = fields.string(*_IDS)
    if entry.name and value and value != entry.name:
        fields.note(fields.spelling(*_IDS), f"{quoted(value)} is not the key it stands under")
    if len(value) > _LONGEST_ID or not value.isprintable() or value != value.strip():
        rule = f"at most {_LONGEST_ID} printable characters, without blanks around them"
        fields.note(fields.spelling(*_IDS), f"{quoted(value)} is no valid id: {rule}")
    return value


def _type(fields: Fields) -> tuple[str, str]:
    """Return a task's type as the document calls it and as this project does."""
    said = fields.string("task_type")
    name = re.sub(r"[\s-]+", "_", said.strip().lower())
    name = RENAMED_TYPES.get(name, name)
    if said and name not in TASK_TYPES:
        fields.note("task_type", f"unknown type {quoted(said)}{nearest(said, (*TASK_TYPES, *RENAMED_TYPES))}")
    return (said if said.strip().lower() in RENAMED_TYPES else name), name


def _complexity(fields: Fields) -> str:
    value = fields.raw("complexity")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return fields.string("complexity", default="")


def _constraints(fields: Fields) -> dict[str, Any]:
    constraints = fields.mapping("constraints", default={})
    for name, kind, least in (("timeout", int | float, 0.001), ("max_retries", int, 0)):
        value = constraints.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, kind):
            fields.note(f"constraints.{name}", f"must be a number, not {called(value)}")
        elif value < least:
            fields.note(f"constraints.{name}", "is too small")
    return constraints


def _required(fields: Fields, tools: Mapping[str, Tool]) -> list[str]:
    """Read the names of the required tools, each known and there once."""
    workflow = fields.raw("workflow")
    steps = _tools_of(workflow) if isinstance(workflow, list) else None
    names = fields.strings("required_tools", default=None if steps is None else steps)
    if steps is not None and (sorted(names) != sorted(steps) or len(steps) != len(workflow)):
        fields.note("workflow", "does not call each of the required_tools once and no others")
    if fields.raw("required_tools") == [] or steps == []:
        fields.note("required_tools", "is empty")
    if len(names) > MOST_TOOLS:
        fields.note("required_tools", f"are {len(names)} tools; at most {MOST_TOOLS} fit into a trial")
        return []
    for at, name in enumerate(names):
        field = f"required_tools[{at}]"
        if name not in tools:
            fields.note(field, f"unknown tool {quoted(name)}{nearest(name, tools)}")
        elif name in names[:at]:
            fields.note(field, f"{quoted(name)} is needed twice; a task here calls each tool once")
        elif not checked(tools[name]):
            fields.note(field, f"{quoted(name)} has no parameter that decides whether a call of it is right")
    return names


def _tools_of(workflow: Sequence[Any]) -> list[str]:
    named = (step.get("tool") if isinstance(step, dict) else step for step in workflow)
    return [one for one in named if isinstance(one, str)]


def _steps(fields: Fields, flow: Flow, names: Sequence[str], tools: Mapping[str, Tool]) -> list[frozenset[int]]:
    """Add the steps to ``flow``, and return for each which ones it has to come after."""
    workflow = fields.raw("workflow")
    if isinstance(workflow, list):
        return _told_steps(fields, flow, tools)
    if workflow is not None and not isinstance(workflow, dict):
        fields.note("workflow", f"must be a list of steps, not {called(workflow)}")
    ordered, cycle = in_order(names, tools)
    if cycle:
        fields.note("required_tools", f"the tools depend on each other in a circle: {cycle}")
    for name in ordered:
        reason = flow.add(name)
        if reason:
            fields.note(f"required_tools[{names.index(name)}]", reason)
            return []
    return [_after_dependencies(ordered, at, tools) for at in range(len(ordered))]


def _after_dependencies(names: Sequence[str], at: int, tools: Mapping[str, Tool]) -> frozenset[int]:
    dependencies = tools[names[at]].dependencies
    return frozenset(other for other in range(at) if names[other] in dependencies)


def _told_steps(fields: Fields, flow: Flow, tools: Mapping[str, Tool]) -> list[frozenset[int]]:
    """Add the steps of the document's own workflow. A step may be a tool's name alone."""
    order: list[frozenset[int]] = []
    steps = fields.sequence("workflow")
    names = _tools_of(steps)
    for at, step in enumerate(steps):
        step = {"tool": step} if isinstance(step, str) else step
        within = fields.within(step, f"workflow[{at}]")
        if within.has("arguments"):
            _told_arguments(within, flow, tools)
        else:
            reason = flow.add(names[at])
            if reason:
                within.note("arguments", reason)
        after = within.sequence("after") if within.has("after") else _after_dependencies(names, at, tools)
        for one in after:
            if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one < at:
                within.note("after", f"{quoted(str(one))} is no earlier step; steps count from 0, here up to {at - 1}")
        if fields.problems:
            return []
        order.append(frozenset(after))
    return order


def _told_arguments(within: Fields, flow: Flow, tools: Mapping[str, Tool]) -> None:
    tool = tools[within.string("tool")]
    arguments: dict[str, Any] = {}
    for name, said in within.mapping("arguments").items():
        parameter = tool.parameter(name)
        value = Reference.read(said)
        if parameter is None:
            known = [one.name for one in tool.parameters]
            within.note("arguments", f"unknown parameter {quoted(name)}{nearest(name, known)}")
        elif isinstance(value, Reference):
            reason = _bad_reference(value, flow.steps, parameter.accepts, tools)
            if reason:
                within.note(f"arguments.{name}", reason)
            arguments[name] = value
        elif (read := usable(parameter, value)) is None:
            within.note(f"arguments.{name}", fits(parameter, value) or "is no value that can be handed over")
        else:
            arguments[name] = read
            if not parameter.free:
                flow.state(tool.name, parameter, read)
    if not any(one.name in arguments for one in checked(tool)):
        within.note("arguments", "hold nothing that decides whether the call is right")
    flow.steps.append(Step(tool=tool.name, arguments=arguments))


def _bad_reference(value: Reference, steps: Sequence[Step], accepts: Sequence[str], tools: Mapping[str, Tool]) -> str:
    """Say why a reference leads nowhere or to something that the parameter does not take."""
    if not 0 <= value.step < len(steps):
        return f"{value.text} is no earlier step; steps count from 1 here, up to {len(steps)}"
    source = steps[value.step].tool
    results = {one.name: one.kind for one in tools[source].returns}
    if value.field not in results:
        return f"{source} returns no {quoted(value.field)}{nearest(value.field, results)}"
    if results[value.field] not in accepts:
        return f"takes no result such as {value.text}"
    return ""


def _can_be_done(fields: Fields, task: Task) -> bool:
    """Carry the task out once, step by step, noting the first call that its tool would not take."""
    outputs: dict[int, dict[str, Any]] = {}
    for index, step in enumerate(task.steps):
        tool = task.toolset[step.tool]
        arguments = task.arguments_for(index, outputs)
        reason = check_arguments(tool, arguments)
        if reason:
            fields.note(f"workflow[{index}].arguments", f"{quoted(step.tool)} would refuse them: {reason}")
            return False
        outputs[index] = payload(tool, arguments, 0, task.task_id, 0)
    return True
