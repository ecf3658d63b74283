"""The shapes in which a call stands in a JSON value, whatever tag or token it came with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workflows.literals import encodable, read_json, read_value

_LONGEST_NAME = 100
NAME_KEYS = ("name", "tool_name", "tool", "function", "action", "function_name")
ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "action_input", "params")


def calls_in(value: Any, *, loose: bool) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield the calls that a JSON value stands for; ``loose`` also takes a name without arguments."""
    if isinstance(value, list):
        for one in value:
            if isinstance(one, dict):
                yield from calls_in(one, loose=loose)
        return
    if not isinstance(value, dict):
        return
    for key in ("tool_calls", "function_call", "function", "tool_call"):
        inner = value.get(key)
        if isinstance(inner, list | dict):
            if isinstance(inner, dict) and "arguments" not in inner and "arguments" in value:
                inner = {**inner, "arguments": value["arguments"]}
            yield from (calls_in(inner, loose=loose) if _shallow(inner) else ())
            return
    name = next((value[key] for key in NAME_KEYS if isinstance(value.get(key), str)), None)
    given = next((key for key in ARGUMENT_KEYS if key in value), None)
    if name and (given or loose):
        yield name, as_object(value[given]) if given else {}


def _shallow(value: Any, depth: int = 8) -> bool:
    """Whether wrappings around a call end soon enough to be followed."""
    while depth and isinstance(value, dict | list) and value:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        depth -= 1
    return depth > 0


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
    name = name.removeprefix("functions.").partition(":")[0]
    return name[:_LONGEST_NAME].lower()


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
