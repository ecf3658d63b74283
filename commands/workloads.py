"""Which workload a run's trials come from, opened the same way by the supervisor, by every shard, and by reports."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trials.errors import UsageError
from trials.spec import RunSpec
from workflows.libraries import MOST_BYTES, Document, library_from
from workflows.tasks import TaskLibrary
from workflows.workload import WorkflowWorkload


def open_workload(spec: RunSpec) -> WorkflowWorkload:
    """Return the workload of a spec. Raises UsageError if a file it names cannot be used."""
    library = open_library(spec.task_library, spec.tool_registry, skip_invalid=spec.skip_invalid)
    return WorkflowWorkload(library, control_for=spec.drawn_for)


@lru_cache(maxsize=8)
def open_library(task_library: str, tool_registry: str, *, skip_invalid: bool) -> TaskLibrary:
    """Return the tasks of a run; empty paths stand for what is built in. Raises UsageError."""
    tasks = _read("--task-library", task_library)
    return library_from(tasks, _read("--tool-registry", tool_registry), skip_invalid=skip_invalid)


def _read(flag: str, path: str) -> Document | None:
    if not path:
        return None
    try:
        size_bytes = Path(path).stat().st_size
        if size_bytes > MOST_BYTES:
            raise UsageError(f"{flag}: {path} has {size_bytes:,} bytes, more than the {MOST_BYTES:,} that are read")
        return Document(content=Path(path).read_bytes(), source=path)
    except OSError as problem:
        raise UsageError(f"{flag}: cannot read {path}: {problem.strerror}") from problem
