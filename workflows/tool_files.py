"""Reads tools that a user brings, in the form that tool files have everywhere in this field.

Such files say of what type a tool's parameters and results are, but not which of them fit together. That is worked out
here, from names, from types and from dependencies (``_linked``), since tools in this benchmark hand each other
references: a parameter that takes another tool's result takes a short text, whatever type the file gives it. Three
further keys, which other files do not have, say it outright: ``kind`` of a result; ``accepts`` and ``free`` of a
parameter (see ``workflows.tools``).

Limits that a call is not checked against (``pattern``, ``format``) are left out, so that nobody is told of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from workflows.documents import (
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
from workflows.tools import (
    INVALID_INPUT,
    Parameter,
    ReturnField,
    Tool,
    ToolFault,
    builtin_tools,
    check_arguments,
    coerced,
)

TOOL_SHAPE = Shape(noun="tools", wrappers=("tools", "tool_registry"), marks=("parameters", "returns"))

_TOOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")
_RESERVED = ("tool_search", "tool_info", "tool_call", "tool_result", "finish")

_TYPES: Mapping[str, str] = {
    **{name: name for name in ("string", "integer", "number", "boolean", "object", "array")},
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "dict": "object",
    "map": "object",
    "json": "object",
    "list": "array",
}
_LIMITS: Mapping[str, str] = {
    **{name: name for name in ("enum", "minimum", "maximum", "min_length", "max_length", "prefix")},
    "min": "minimum",
    "max": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "choices": "enum",
}
_LONGEST = 10_000
"""No value has to be longer than this."""

_FAULTS = (
    ToolFault(code=INVALID_INPUT, description="An argument is missing, of the wrong type, or outside its limits."),
    ToolFault(code="OPERATION_FAILED", description="The operation was begun and did not complete."),
    ToolFault(code="TIMEOUT", description="The operation took longer than it may."),
)

_SCALARS: Mapping[str, str] = {"boolean": "flag", "integer": "count", "number": "number"}
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("content", "text", "body", "document", "response", "html"), "content"),
    **dict.fromkeys(("records", "rows", "data", "dataset", "table", "items"), "records"),
    **dict.fromkeys(("report", "summary", "analysis", "result", "results"), "report"),
    **dict.fromkeys(("path", "file", "filename", "filepath"), "path"),
    **dict.fromkeys(("token", "credential", "credentials"), "token"),
    **dict.fromkeys(("connection", "session"), "connection"),
    "url": "url",
    "uri": "url",
    "receipt": "receipt",
}
"""What a result is, by the last word of its name."""

_ANY_DATA = ("records", "report", "content")
_TAKES: Mapping[str, tuple[str, ...]] = {
    **{word: (kind,) for word, kind in _KINDS.items()},
    **dict.fromkeys(("data", "dataset", "items", "input", "payload"), _ANY_DATA),
}
"""What may be handed to a parameter, by the last word of its name."""

_OUTWARD = {"output", "destination", "target", "dest", "out", "to"}
"""First words of names that say where something goes: these do not take what another tool returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTools:
    """The tools of a document that can be used, by name, and what is wrong with the rest."""

    tools: Mapping[str, Tool]
    problems: tuple[Problem, ...]


def load_tools(document: bytes, source: str) -> LoadedTools:
    """Read a tool registry. Never raises; ``source`` is what problems call the document.

    A dependency may name a tool of the document or a built-in one.
    """
    entries, problems = read_entries(document, source, TOOL_SHAPE)
    places: dict[str, Fields] = {}
    tools: dict[str, Tool] = {}
    for entry in entries:
        fields = Fields(entry.value, source, entry.place)
        tool = _tool(fields, entry)
        if tool.name in places:
            fields.note("name", f"{quoted(tool.name)} is also the name of an earlier tool")
        else:
            places[tool.name] = fields
        if fields.problems:
            problems.extend(fields.problems)
        else:
            tools[tool.name] = tool
    sound = _without_bad_dependencies(tools, places, problems)
    return LoadedTools(tools=MappingProxyType(_linked(sound)), problems=by_place(problems))


def tools_of(loaded: LoadedTools, *, skip_invalid: bool = False) -> Mapping[str, Tool]:
    """Return the tools by name. Raises UsageError if any is invalid, unless these may be skipped and some are left."""
    refuse(loaded.problems, "tools", len(loaded.tools), skip_invalid=skip_invalid)
    return loaded.tools


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in snake case or camel case, in lower case."""
    return tuple(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name))


def kind_named(name: str) -> str:
    """Return the kind of result that a name speaks of, or an empty string."""
    words = words_of(name)
    return _KINDS.get(words[-1], "") if words else ""


def outward(name: str) -> bool:
    """Whether a name says where something goes, rather than what comes in."""
    return bool(_OUTWARD & set(words_of(name)[:1]))


def fits(parameter: Parameter, value: Any) -> str:
    """Return why a value does not fit a parameter, or an empty string."""
    lone = replace(_LONE, parameters=(parameter,))
    return check_arguments(lone, {parameter.name: value})


_LONE = Tool(name="", description="", parameters=(), returns=(), errors=(), dependencies=(), metadata={})


def ring(needs: Mapping[str, Collection[str]], name: str) -> str:
    """Return how something on a cycle of needs comes back to itself, shortened if that is long."""
    path = [name]
    while len(path) < 8:
        path.append(next(iter(needs[path[-1]])))
        if path[-1] == name:
            return " → ".join(path)
    return f"{' → '.join(path)} → … → {name}"


def on_cycles(needs: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return what needs itself in the end, with those of its needs that lie on the same way. Takes linear time."""
    known = {name: [one for one in dict.fromkeys(these) if one in needs] for name, these in needs.items()}
    stuck = _stuck(known)
    left = {name: [one for one in known[name] if one in stuck] for name in known if name in stuck}
    users: dict[str, list[str]] = {name: [] for name in left}
    for name, these in left.items():
        for one in these:
            users[one].append(name)
    core = _stuck(users)
    return {name: [one for one in left[name] if one in core] for name in left if name in core}


def _stuck(needs: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the names that are left when those without open needs are crossed out again and again."""
    users: dict[str, list[str]] = {name: [] for name in needs}
    for name, these in needs.items():
        for one in these:
            users[one].append(name)
    open_needs = {name: len(these) for name, these in needs.items()}
    ready = [name for name, count in open_needs.items() if not count]
    while ready:
        for user in users[ready.pop()]:
            open_needs[user] -= 1
            if not open_needs[user]:
                ready.append(user)
    return {name for name, count in open_needs.items() if count}


def _without_bad_dependencies(
    tools: Mapping[str, Tool], places: Mapping[str, Fields], problems: list[Problem]
) -> dict[str, Tool]:
    known = (*places, *builtin_tools())
    known_set = set(known)
    cycles = on_cycles({name: tool.dependencies for name, tool in tools.items()})
    sound = {}
    for name, tool in tools.items():
        fields = places[name]
        for at, one in enumerate(tool.dependencies):
            if one not in known_set:
                fields.note(f"dependencies[{at}]", f"unknown tool {quoted(one)}{nearest(one, known)}")
        if name in cycles:
            fields.note("dependencies", f"the tool depends on itself: {ring(cycles, name)}")
        if fields.problems:
            problems.extend(fields.problems)
        else:
            sound[name] = tool
    return sound


def _tool(fields: Fields, entry: Entry) -> Tool:
    name = fields.string("name", default=entry.name or None)
    if entry.name and name != entry.name:
        fields.note("name", f"{quoted(name)} is not the key it stands under")
    _check_name(fields, "name", name, _TOOL_NAME, "a small letter, then small letters, digits and _")
    if name in _RESERVED:
        fields.note("name", f"{quoted(name)} is a word of the tool protocol")
    category, _, operation = name.rpartition("_")
    metadata = {"category": category or operation, "operation": operation, "version": "1.0.0"}
    metadata.update(_texts(fields.mapping("metadata", default={})))
    return Tool(
        name=name,
        description=_one_line(fields.string("description")),
        parameters=tuple(_unique(fields, "parameters", map(_parameter, _fields(fields, "parameters")))),
        returns=tuple(_unique(fields, "returns", map(_return, _fields(fields, "returns")))),
        errors=_faults(fields),
        dependencies=tuple(dict.fromkeys(fields.strings("dependencies", default=()))),
        metadata=metadata,
    )


def _fields(fields: Fields, name: str) -> Iterable[Fields]:
    return (part for _, part in fields.parts(name))


def _unique(fields: Fields, field: str, parts: Iterable[Any]) -> Iterable[Any]:
    seen: set[str] = set()
    for part in parts:
        if part.name in seen:
            fields.note(field, f"{quoted(part.name)} is there more than once")
        seen.add(part.name)
        yield part


def _parameter(fields: Fields) -> Parameter:
    name = _named(fields)
    type_ = _type(fields)
    accepts = tuple(fields.strings("accepts", default=()))
    if accepts and (type_ in ("integer", "boolean") or (type_ == "number") != (accepts == ("number",))):
        fields.note("accepts", f"a parameter of type {type_} cannot take these results")
    parameter = Parameter(
        name=name,
        type=type_,
        description=_one_line(fields.string("description", default="")) or f"The {' '.join(words_of(name))}.",
        required=fields.flag("required", True),
        default=fields.raw("default"),
        constraints=_limits(fields, type_),
        accepts=accepts,
        free=fields.flag("free", False),
    )
    reason = fits(parameter, parameter.default) if parameter.default is not None and not fields.problems else ""
    if reason:
        fields.note("default", reason)
    return parameter


def _return(fields: Fields) -> ReturnField:
    name, type_ = _named(fields), _type(fields)
    kind = fields.string("kind", default="")
    if kind:
        _check_name(fields, "kind", kind, _FIELD_NAME, "a letter or _, then letters, digits and _")
    slug = "_".join(words_of(name)) or "value"
    kind = kind or _SCALARS.get(type_) or kind_named(name) or slug
    return ReturnField(
        name=name,
        type=next((one for one, scalar in _SCALARS.items() if scalar == kind), "string"),
        description=_one_line(fields.string("description", default="")) or f"The {' '.join(words_of(name))}.",
        kind=kind,
    )


def _named(fields: Fields) -> str:
    name = fields.string("name")
    _check_name(fields, "name", name, _FIELD_NAME, "a letter or _, then letters, digits and _")
    return name


def _check_name(fields: Fields, field: str, name: str, pattern: re.Pattern[str], rule: str) -> None:
    if name and not pattern.fullmatch(name):
        fields.note(field, f"{quoted(name)} is no valid name: {rule}, at most 60 in all")


def _type(fields: Fields) -> str:
    said = fields.string("type")
    if said and said.strip().lower() not in _TYPES:
        fields.note("type", f"unknown type {quoted(said)}{nearest(said, _TYPES)}")
    return _TYPES.get(said.strip().lower(), "string")


def _faults(fields: Fields) -> tuple[ToolFault, ...]:
    """Read the errors: objects, or their codes alone; the ones that all tools share if there are none."""
    said = fields.raw("errors")
    if isinstance(said, list) and all(isinstance(one, str) for one in said):
        faults = [ToolFault(code=one, description=one) for one in said]
    else:
        parts = (part for _, part in fields.parts("errors", needed=False))
        faults = [_fault(part) for part in parts]
    return tuple(faults) or _FAULTS


def _fault(fields: Fields) -> ToolFault:
    code = fields.string("code", "name")
    return ToolFault(code=code, description=_one_line(fields.string("description", default="")) or code)


def _limits(fields: Fields, type_: str) -> dict[str, Any]:
    """Read the limits that calls are checked against, each fit for the type."""
    within = fields.within(fields.mapping("constraints", default={}), "constraints")
    limits: dict[str, Any] = {}
    for said, name in _LIMITS.items():
        if within.has(said):
            value = [within.raw(said)] if name == "prefix" and isinstance(within.raw(said), str) else within.raw(said)
            reason = _bad_limit(name, value, type_)
            if reason:
                within.note(said, reason)
            else:
                limits[name] = value
    for low, high in (("minimum", "maximum"), ("min_length", "max_length")):
        if low in limits and high in limits and limits[low] > limits[high]:
            within.note(low, f"is above {high}")
    return limits


def _bad_limit(name: str, value: Any, type_: str) -> str:
    wanted = _FOR_TYPES[name]
    if wanted and type_ not in wanted:
        return f"does not go with type {type_}"
    if name == "enum":
        return _bad_enum(value, type_)
    if name == "prefix":
        good = isinstance(value, list) and value and all(isinstance(one, str) and one for one in value)
        return "" if good else "must be a text, or a list of texts, to begin with"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, not {called(value)}"
    if name.endswith("length") and not (isinstance(value, int) and 0 <= value <= _LONGEST):
        return f"must be a whole number from 0 to {_LONGEST}"
    return ""


_FOR_TYPES: Mapping[str, tuple[str, ...]] = {
    "enum": (),
    "minimum": ("integer", "number"),
    "maximum": ("integer", "number"),
    "min_length": ("string", "array"),
    "max_length": ("string", "array"),
    "prefix": ("string",),
}


def _bad_enum(value: Any, type_: str) -> str:
    if not isinstance(value, list):
        return f"must be a list, not {called(value)}"
    parameter = Parameter(name="value", type=type_, description="")
    odd = next((one for one in value if fits(parameter, one) or coerced(parameter, one) != one), None)
    if odd is not None:
        return f"holds {called(odd)} that is not of type {type_} or has blanks around it"
    # A wrong value has to exist, or a plan could not be given one.
    different = all(one != value[0] for one in value[1:2]) and len(value) > 1
    return "" if different else "must hold two different values at least"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}


def _linked(tools: Mapping[str, Tool]) -> dict[str, Tool]:
    """Say of each parameter what it accepts, where the document does not."""
    all_tools = {**builtin_tools(), **tools}
    made = {one.kind for tool in all_tools.values() for one in tool.returns} - set(_SCALARS.values())
    named = {one.name: one.kind for tool in tools.values() for one in tool.returns if one.kind in made}
    return {
        name: replace(tool, parameters=tuple(_link(one, tool, all_tools, made, named) for one in tool.parameters))
        for name, tool in tools.items()
    }


def _link(
    parameter: Parameter,
    tool: Tool,
    tools: Mapping[str, Tool],
    made: Collection[str],
    named: Mapping[str, str],
) -> Parameter:
    if parameter.free or parameter.type in ("integer", "boolean"):
        return parameter
    before = [one for name in tool.dependencies if name in tools for one in tools[name].returns]
    structured = [one for one in tool.parameters if one.required and one.type in ("object", "array")]
    if parameter.type == "number":
        numbers = [one for one in before if one.kind == "number" and _alike(parameter.name, one.name)]
        return replace(parameter, accepts=("number",)) if numbers and not parameter.constraints else parameter
    by_type = structured == [parameter]
    accepts = parameter.accepts or _accepted(parameter, [one for one in before if one.kind in made], named, by_type)
    accepts = tuple(kind for kind in accepts if kind in made)
    if not accepts:
        return parameter
    limits = parameter.constraints if parameter.accepts and parameter.type == "string" else {"min_length": 1}
    text = parameter.description.rstrip(".")
    return replace(
        parameter,
        type="string",
        description=f"{text}: a reference, as returned by another tool or given.",
        default=None,
        constraints=limits,
        accepts=accepts,
    )


def _accepted(
    parameter: Parameter, before: Sequence[ReturnField], named: Mapping[str, str], by_type: bool
) -> tuple[str, ...]:
    """Work out which kinds of results a parameter takes: by its name, or by what its tool depends on.

    A tool's only structured parameter takes any structured result of a tool that it depends on (``by_type``).
    """
    words = words_of(parameter.name)
    if set(parameter.constraints) - {"min_length"} or not words or outward(parameter.name):
        return ()
    by_name = [*_TAKES.get(words[-1], ()), *([named[parameter.name]] if parameter.name in named else [])]
    by_need = [one.kind for one in before if by_type or _alike(parameter.name, one.name)]
    return tuple(dict.fromkeys(by_name or by_need))


def _alike(one: str, other: str) -> bool:
    return bool(set(words_of(one)) & set(words_of(other)))
