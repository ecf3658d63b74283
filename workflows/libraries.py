"""Which tasks there are: the built-in ones, or those of documents that a user brings."""

from __future__ import annotations

from dataclasses import dataclass

from trials.errors import UsageError
from workflows.task_files import MOST_BYTES, library_of, load_tasks
from workflows.tasks import TaskLibrary, builtin_library
from workflows.tool_files import load_tools, tools_of
from workflows.tools import builtin_tools

__all__ = ["MOST_BYTES", "Document", "library_from"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's content and its name, for messages."""

    content: bytes
    source: str


def library_from(tasks: Document | None, tools: Document | None, *, skip_invalid: bool) -> TaskLibrary:
    """Return the built-in tasks, or those of a document, over the built-in tools and those of another.

    Raises UsageError that names what is wrong by file, index and field.
    """
    if tasks is None:
        if tools is not None:
            raise UsageError("--tool-registry goes with --task-library: the built-in tasks use the built-in tools only")
        return builtin_library()
    known = builtin_tools()
    if tools is not None:
        known = {**known, **tools_of(load_tools(tools.content, tools.source), skip_invalid=skip_invalid)}
    return library_of(load_tasks(tasks.content, tasks.source, known), skip_invalid=skip_invalid)
