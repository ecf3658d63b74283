"""The parts that the built-in tools are put together from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workflows.tools import INVALID_INPUT, Parameter, ReturnField, Tool, ToolFault

VERSION = "1.0.0"

_COMMON = {
    INVALID_INPUT: "An argument is missing, of the wrong type, or outside its limits.",
    "OPERATION_FAILED": "The operation was begun and did not complete.",
    "TIMEOUT": "The operation took longer than it may.",
}
_OWN = {
    "file_operations": {
        "FILE_NOT_FOUND": "No file or folder has this path.",
        "PERMISSION_DENIED": "The file or folder may not be used.",
    },
    "network": {
        "NETWORK_ERROR": "The host could not be reached.",
        "INVALID_RESPONSE": "The host's reply could not be understood.",
    },
    "computation": {
        "CALCULATION_ERROR": "The numbers do not allow this calculation.",
        "OVERFLOW": "A value became too large.",
    },
}
_REFERENCES = {
    "content": "Reference to a text",
    "records": "Reference to a set of records",
    "report": "Reference to a report",
    "url": "Full address",
    "path": "Absolute path",
    "token": "Access token",
    "connection": "Reference to an open connection",
    "number": "The number",
    "receipt": "Receipt",
}


def tool(
    name: str,
    description: str,
    parameters: Iterable[Parameter],
    returns: Iterable[ReturnField],
    after: tuple[str, ...] = (),
) -> Tool:
    category, operation = name.rsplit("_", 1)
    faults = {**_COMMON, **_OWN.get(category, {})}
    return Tool(
        name=name,
        description=description,
        parameters=tuple(parameters),
        returns=tuple(returns),
        errors=tuple(ToolFault(code=code, description=text) for code, text in faults.items()),
        dependencies=after,
        metadata={"category": category, "operation": operation, "version": VERSION},
    )


def given(name: str, description: str, type_: str = "string", **constraints: Any) -> Parameter:
    """A required parameter whose value the task states."""
    return Parameter(name=name, type=type_, description=description, constraints=constraints)


def option(name: str, description: str, type_: str, default: Any, **constraints: Any) -> Parameter:
    return Parameter(
        name=name,
        type=type_,
        description=description,
        required=False,
        default=default,
        constraints=constraints,
    )


def words(name: str, description: str) -> Parameter:
    """A required parameter that takes the model's own words."""
    limits = {"min_length": 1, "max_length": 500}
    return Parameter(name=name, type="string", description=description, constraints=limits, free=True)


def data(name: str, *accepts: str, required: bool = True, **constraints: Any) -> Parameter:
    """A parameter that takes what another tool returned."""
    what = " or ".join(_REFERENCES[kind][0].lower() + _REFERENCES[kind][1:] for kind in accepts)
    return Parameter(
        name=name,
        type="number" if accepts == ("number",) else "string",
        description=f"{what[0].upper()}{what[1:]}, as returned by another tool or given.",
        required=required,
        constraints=constraints or ({} if accepts == ("number",) else {"min_length": 1}),
        accepts=accepts,
    )


def result(name: str, kind: str) -> ReturnField:
    type_ = "number" if kind == "number" else "string"
    return ReturnField(name=name, type=type_, description=f"{_REFERENCES[kind]}.", kind=kind)


def count(name: str, description: str) -> ReturnField:
    return ReturnField(name=name, type="integer", description=description, kind="count")


def flag(name: str, description: str) -> ReturnField:
    return ReturnField(name=name, type="boolean", description=description, kind="flag")
