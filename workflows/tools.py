"""What a tool is, and whether a call's arguments fit it.

A tool's data parameters take references (short strings such as ``rec_5f0c9a21``) that other tools returned:
``Parameter.accepts`` and ``ReturnField.kind`` say which fit together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

INVALID_INPUT = "INVALID_INPUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a tool.

    ``type`` is a JSON type name. ``constraints`` may hold ``enum``, ``minimum``, ``maximum``, ``min_length``,
    ``max_length`` and ``prefix``. ``accepts`` names the kinds of results that may be handed on to it; it is empty if
    the value is given by the task. A ``free`` parameter takes the model's own words: any valid value will do.
    """

    name: str
    type: str
    description: str
    required: bool = True
    default: Any = None
    constraints: Mapping[str, Any] = field(default_factory=dict)
    accepts: tuple[str, ...] = ()
    free: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnField:
    """One field of a tool's result. ``kind`` says what it refers to; ``count`` and ``flag`` are never handed on."""

    name: str
    type: str
    description: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFault:
    """One way in which a tool says that it failed."""

    code: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool. ``dependencies`` name tools that should have succeeded before, where a task needs both.

    ``kinds`` are those of all values that it takes or gives.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    returns: tuple[ReturnField, ...]
    errors: tuple[ToolFault, ...]
    dependencies: tuple[str, ...]
    metadata: Mapping[str, str]
    kinds: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        taken = (kind for one in self.parameters for kind in one.accepts)
        object.__setattr__(self, "kinds", frozenset([*taken, *(one.kind for one in self.returns)]))

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of this name, if there is one."""
        return next((one for one in self.parameters if one.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return the tool as tool files spell it; what only the generator needs is left out."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": [_parameter_json(one) for one in self.parameters],
            "returns": [{"name": one.name, "type": one.type, "description": one.description} for one in self.returns],
            "errors": [{"code": one.code, "description": one.description} for one in self.errors],
            "dependencies": list(self.dependencies),
            "metadata": dict(self.metadata),
        }


@cache
def builtin_tools() -> Mapping[str, Tool]:
    """Return the thirty built-in tools by name, in a stable order."""
    from workflows.toolset import thirty_tools

    return MappingProxyType({tool.name: tool for tool in thirty_tools()})


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Return why ``arguments`` do not fit the tool, or an empty string if they do.

    Values are read as ``coerced`` reads them, so that ``"10"`` passes for an integer: dialects that write arguments as
    XML cannot tell the two apart.
    """
    for name in arguments:
        if tool.parameter(name) is None:
            known = ", ".join(one.name for one in tool.parameters)
            return f"unknown parameter '{name[:40]}' (known: {known})"
    for parameter in tool.parameters:
        if parameter.name not in arguments:
            if parameter.required:
                return f"missing required parameter '{parameter.name}'"
            continue
        reason = _misfit(parameter, coerced(parameter, arguments[parameter.name]))
        if reason:
            return f"parameter '{parameter.name}' {reason}"
    return ""


def coerced(parameter: Parameter, value: Any) -> Any:
    """Return ``value`` as the parameter's type if it can mean nothing else, unchanged otherwise."""
    if parameter.type == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    if parameter.type == "string" or not isinstance(value, str):
        return value.strip() if isinstance(value, str) else value
    try:
        meant = json.loads(value.strip().lower() if parameter.type == "boolean" else value)
    except (ValueError, RecursionError):
        return value
    return meant if _TYPES[parameter.type](meant) else value


def similar_tools(tools: Mapping[str, Tool], name: str) -> list[str]:
    """Return the other tools, those most easily taken for ``name`` first; ties go by name."""
    this = tools[name]

    def likeness(other: Tool) -> tuple[int, str]:
        same_operation = other.metadata.get("operation") == this.metadata.get("operation")
        same_category = other.metadata.get("category") == this.metadata.get("category")
        return -(4 * same_operation + 3 * same_category + len(this.kinds & other.kinds)), other.name

    return sorted((other for other in tools if other != name), key=lambda other: likeness(tools[other]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return _is_number(value) and value == value // 1


_TYPES: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "string": lambda value: isinstance(value, str),
        "integer": _is_integer,
        "number": _is_number,
        "boolean": lambda value: isinstance(value, bool),
        "object": lambda value: isinstance(value, dict),
        "array": lambda value: isinstance(value, list),
    }
)


def _misfit(parameter: Parameter, value: Any) -> str:
    """Say how a value breaks the parameter's type or constraints, or return an empty string."""
    if not _TYPES[parameter.type](value):
        return f"must be of type {parameter.type}"
    bounds = parameter.constraints
    if "enum" in bounds and value not in bounds["enum"]:
        return f"must be one of {', '.join(map(str, bounds['enum']))}"
    if "minimum" in bounds and value < bounds["minimum"]:
        return f"must be at least {bounds['minimum']}"
    if "maximum" in bounds and value > bounds["maximum"]:
        return f"must be at most {bounds['maximum']}"
    if "min_length" in bounds and len(value) < bounds["min_length"]:
        return f"must have at least {bounds['min_length']} characters"
    if "max_length" in bounds and len(value) > bounds["max_length"]:
        return f"must have at most {bounds['max_length']} characters"
    if "prefix" in bounds and not value.startswith(tuple(bounds["prefix"])):
        return f"must start with {' or '.join(bounds['prefix'])}"
    return ""


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "type": parameter.type,
        "description": parameter.description,
        "required": parameter.required,
        "default": parameter.default,
        "constraints": dict(parameter.constraints),
    }
