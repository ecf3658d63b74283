"""Which workload a run's trials come from, opened the same way by the supervisor, by every shard, and by reports."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trials.errors import UsageError
from trials.spec import RunSpec
from workflows.tasks import TaskLibrary, builtin_library
from workflows.workload import WorkflowWorkload


def open_workload(spec: RunSpec) -> WorkflowWorkload:
    """Return the workload of a spec. Raises UsageError if a file it names cannot be used."""
    library = open_library(spec.task_library, spec.tool_registry, skip_invalid=spec.skip_invalid)
    return WorkflowWorkload(library, control_for=spec.drawn_for)


@lru_cache(maxsize=8)
def open_library(task_library: str, tool_registry: str, *, skip_invalid: bool) -> TaskLibrary:
    """Return the built-in tasks, or those of a file, over the built-in tools and those of a file.

    Raises UsageError that names what is wrong by file, index and field.
    """
    if not task_library and not tool_registry:
        return builtin_library()
    from workflows.task_files import library_of, load_tasks, load_tools, tools_of

    from workflows.tools import builtin_tools

    tools = builtin_tools()
    if tool_registry:
        own = load_tools(_read("--tool-registry", tool_registry), tool_registry)
        tools = {**tools, **tools_of(own, skip_invalid=skip_invalid)}
    if not task_library:
        raise UsageError("--tool-registry goes with --task-library: the built-in tasks use built-in tools only")
    return library_of(load_tasks(_read("--task-library", task_library), task_library, tools), skip_invalid=skip_invalid)


def _read(flag: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise UsageError(f"{flag}: cannot read {path}: {problem.strerror}") from problem
