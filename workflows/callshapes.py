"""The shapes in which a call stands in a JSON value, whatever tag or token it came with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workflows.literals import encodable, read_json, read_value

_LONGEST_NAME = 100
NAME_KEYS = ("name", "tool_name", "tool", "function", "action", "function_name")
ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "action_input", "params")
_WRAPPINGS = ("tool_calls", "function_call", "function", "tool_call")


def calls_in(value: Any, *, loose: bool, depth: int = 6) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield the calls that a JSON value stands for; ``loose`` also takes a name without arguments.

    Wrappings such as ``{"tool_calls": [{"function": {…}}]}`` are followed, but not for ever.
    """
    if depth == 0:
        return
    if isinstance(value, list):
        for one in value:
            yield from calls_in(one, loose=loose, depth=depth - 1)
    if not isinstance(value, dict):
        return
    inner = next((value[key] for key in _WRAPPINGS if isinstance(value.get(key), list | dict)), None)
    if inner is not None:
        if isinstance(inner, dict) and "arguments" in value:
            inner = {"arguments": value["arguments"], **inner}
        yield from calls_in(inner, loose=loose, depth=depth - 1)
        return
    name = next((value[key] for key in NAME_KEYS if isinstance(value.get(key), str)), None)
    given = next((key for key in ARGUMENT_KEYS if key in value), None)
    if name and (given or loose):
        yield name, as_object(value[given]) if given else {}


def as_object(value: Any) -> dict[str, Any] | None:
    """Return arguments as a dict: themselves, or read from JSON text; None if they are neither."""
    if isinstance(value, str):
        text = encodable(value).strip()
        if not text:
            return {}
        read = read_json(text, 0) or read_value(text, 0)
        value = read.value if read else None
    if value is None or isinstance(value, dict):
        return value
    return None


def tool_name(text: Any) -> str:
    """Return a tool's name without its trimmings."""
    name = str(encodable(str(text))).strip().strip("`\"'").strip()
    return name.lower().removeprefix("functions.").partition(":")[0][:_LONGEST_NAME]


def unquoted(text: str) -> str:
    for entity, char in (
        ("&quot;", '"'),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ):
        text = text.replace(entity, char)
    return text
