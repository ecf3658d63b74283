"""The sub-command ``tasks``: list, filter, show and export the tasks of the benchmark."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import click

from commands.options import EXIT_SCORED
from commands.values import name_of, names_of, nearest, split
from commands.workloads import open_library
from trials.errors import UsageError
from workflows.plans import optimal_plan, write_plan
from workflows.task_files import export_tasks
from workflows.tasks import DIFFICULTIES, TASK_TYPES, Task, TaskLibrary

RATE, MAX_TURNS = 0.8, 10


def list_tasks(
    wanted: tuple[str, ...],
    *,
    task_types: str,
    tools: str | None,
    difficulty: str,
    export_to: str | None,
    task_library: str | None,
    tool_registry: str | None,
    skip_invalid: bool,
) -> int:
    """Print tasks, one a line; named ones whole; or write them to a file."""
    name_of("--difficulty", difficulty, DIFFICULTIES)
    library = open_library(task_library or "", tool_registry or "", skip_invalid=skip_invalid)
    found = [_named(library, task_id) for task_id in wanted] or _filtered(library, task_types, tools)
    if export_to is not None:
        _export(library, found, Path(export_to))
    elif wanted:
        click.echo("\n\n".join(_whole(task, difficulty) for task in found))
    else:
        for task in found:
            click.echo(f"{task.task_id:26}  {', '.join(task.required_tools)}")
        sequences = len({task.required_tools for task in found})
        types = Counter(task.task_type for task in found)
        told = ", ".join(f"{count} {name}" for name, count in types.items())
        click.echo(f"{len(found)} tasks ({told}), {sequences} distinct tool sequences")
    return EXIT_SCORED


def _named(library: TaskLibrary, task_id: str) -> Task:
    known = {task.task_id: task for task in library}
    if task_id not in known:
        raise UsageError(f"unknown task {task_id!r}; {_near(task_id, known)}")
    return known[task_id]


def _near(task_id: str, known: dict[str, Task]) -> str:
    hint = nearest(task_id, known)
    return hint if hint.startswith("did") else f"for example {', '.join(itertools.islice(known, 3))}"


def _filtered(library: TaskLibrary, task_types: str, tools: str | None) -> list[Task]:
    types = names_of("--task-types", task_types, TASK_TYPES, {"all": TASK_TYPES})
    known = sorted({name for task in library for name in task.toolset})
    needed = {name_of("--tools", name, known) for name in split(tools)}
    return [task for task in library if task.task_type in types and needed <= set(task.required_tools)]


def _whole(task: Task, difficulty: str) -> str:
    lines = [f"{task.task_id} ({task.task_type}, {difficulty})", "", task.description(difficulty), ""]
    lines += [f"tools shown: {', '.join(task.visible_tools(difficulty))}", ""]
    lines += [f"optimal plan at tool success rate {RATE}:", write_plan(optimal_plan(task, RATE, MAX_TURNS))]
    lines += ["", f"expected outputs: {dict(task.expected_outputs)}"]
    return "\n".join(lines)


def _export(library: TaskLibrary, tasks: list[Task], target: Path) -> None:
    try:
        target.write_bytes(export_tasks(library, [task.task_id for task in tasks]))
    except OSError as problem:
        raise UsageError(f"--export: cannot write {target}: {problem.strerror}") from problem
    click.echo(f"{len(tasks)} tasks written to {target}")
