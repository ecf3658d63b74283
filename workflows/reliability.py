"""Simulated reliability: whether a call succeeds, how it fails, and what it returns.

Everything is a function of (seed, task, epoch, tool, call index), so it is the same for every model and prompt. The
call index counts the calls of this tool that came as far as trying their luck: refused ones use up none of it.

A call succeeds if its luck is below its chance: the tool success rate ``p`` if everything it depends on has succeeded,
``UNMET * p`` if a tool it depends on has not run or has failed. So 0 never succeeds, and 1 always does with
everything in order; a hasty call can fail at any rate. A call that needs another step's *result* and does not
have it is no matter of luck: it has nothing to work on and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trials.digest import choose, digest, uniform
from workflows.tools import INVALID_INPUT, ReturnField, Tool

VERSION = 1
UNMET = 0.4
"""What is left of a call's chance while a tool it depends on has not succeeded."""

_PREFIXES = {
    "content": "txt",
    "records": "rec",
    "report": "rep",
    "token": "tok",
    "connection": "con",
    "receipt": "rcp",
}


def luck(seed: int, task_id: str, epoch: int, tool: str, call_index: int) -> float:
    """Draw a call's luck from [0, 1)."""
    return uniform("luck", seed, task_id, epoch, tool, call_index)


def chance(rate: float, dependencies_met: bool) -> float:
    """Return the probability that a call succeeds, at a tool success rate in [0, 1]."""
    return rate if dependencies_met else UNMET * rate


def fault(tool: Tool, seed: int, task_id: str, epoch: int, call_index: int) -> str:
    """Draw which of the tool's own errors an unlucky call returns; a bad argument is never one of them."""
    codes = [one.code for one in tool.errors if one.code != INVALID_INPUT]
    return choose(codes, "fault", seed, task_id, epoch, tool.name, call_index) if codes else "OPERATION_FAILED"


def payload(tool: Tool, arguments: Mapping[str, Any], seed: int, task_id: str, epoch: int) -> dict[str, Any]:
    """Return the result of a successful call. References in it cannot be guessed, only carried forward."""
    name = digest(["result", seed, task_id, epoch, tool.name], 4)
    return {field.name: _value(field, name, arguments) for field in tool.returns}


def _value(field: ReturnField, name: str, arguments: Mapping[str, Any]) -> Any:
    number = int(name, 16)
    if field.kind == "flag":
        return True
    if field.kind == "count":
        return 200 if field.name == "status_code" else 1 + number % 5000
    if field.kind == "number":
        return number % 10**6 / 100
    if field.kind == "url":
        return f"https://{name}.example.com"
    if field.kind == "path":
        folder = arguments.get("destination") or arguments.get("file") or arguments.get("directory") or "/data"
        return f"{folder}/{name}" if "directory" in arguments else f"{folder}.{name[:4]}"
    return f"{_PREFIXES.get(field.kind, field.kind)}_{name}"
