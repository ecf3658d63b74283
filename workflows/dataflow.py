"""Works out how data flows through a task that says which tools it needs and no more.

For each parameter of each tool, the first of these that there is:

1. the latest result of a fitting kind from a tool that this one depends on;
2. the input of the same name, if it fits;
3. the latest result of a fitting kind from any other earlier tool;
4. for a required parameter, an input of a similar name, or the only one that its limits let through;
5. for a required parameter, a value within its limits, which is added to the inputs: what a call has to say must
   stand in the prompt, or nobody could know it.

A parameter that takes the model's own words gets some. Tools come in the order that the task names them, each after
those it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trials.digest import choose, digest
from workflows.documents import blemish
from workflows.tasks import Reference, Step
from workflows.tool_files import fits, kind_named, on_cycles, outward, ring, words_of
from workflows.tools import Parameter, Tool, coerced

_NESTING = 3
"""Levels of objects within the inputs that are searched for a value."""

_TEXTS: Mapping[str, str] = {
    "path": "/data/{slug}",
    "file": "/data/{slug}",
    "directory": "/data/{slug}",
    "folder": "/data/{slug}",
    "destination": "/reports/{slug}",
    "url": "https://api.example.com/{slug}",
    "uri": "https://api.example.com/{slug}",
    "endpoint": "https://api.example.com/{slug}",
    "email": "{slug}@example.com",
    "recipient": "{slug}@example.com",
    "date": "2025-01-15",
    "time": "12:00",
    "at": "12:00",
}
"""Values by the last word of a parameter's name."""


def in_order(names: Sequence[str], tools: Mapping[str, Tool]) -> tuple[list[str], str]:
    """Return the tools with each after those it depends on, else as they come; or none and the cycle they make."""
    needs = {name: [one for one in tools[name].dependencies if one in names] for name in names}
    cycles = on_cycles(needs)
    if cycles:
        return [], ring(cycles, next(iter(cycles)))
    ordered: list[str] = []
    while len(ordered) < len(names):
        ordered.append(next(one for one in names if one not in ordered and set(needs[one]) <= set(ordered)))
    return ordered, ""


class Flow:
    """Builds the steps of one task. ``inputs`` are the task's own and those that were added, named in ``added``."""

    def __init__(self, task_id: str, words: str, inputs: Mapping[str, Any], tools: Mapping[str, Tool]) -> None:
        self._task_id = task_id
        self._words = words
        self._tools = tools
        self._given = list(_flat(inputs))
        self.inputs = dict(inputs)
        self.added: list[str] = []
        self.steps: list[Step] = []

    def add(self, name: str) -> str:
        """Add the step that calls a tool. Return why that cannot be done, or an empty string."""
        tool = self._tools[name]
        arguments: dict[str, Any] = {}
        for parameter in tool.parameters:
            value = self._value(tool, parameter)
            if value is not None:
                arguments[parameter.name] = value
            elif parameter.required:
                return f"no value was found for parameter '{parameter.name}' of '{name}': state one in the inputs"
        if not any(parameter.name in arguments for parameter in checked(tool)):
            for parameter in checked(tool):
                value = self._similar(parameter)
                value = self._made_up(tool, parameter) if value is None else value
                if value is not None:
                    arguments[parameter.name] = value
                    break
        self.steps.append(Step(tool=name, arguments=arguments))
        return ""

    def state(self, tool: str, parameter: Parameter, value: Any) -> None:
        """See to it that a parameter's value stands in the inputs, in whatever way a call may write it."""
        stated = (*(one for _, one in self._given), *self.inputs.values())
        if any(same(value, one) or same(value, usable(parameter, one)) for one in stated):
            return
        name = next(one for one in _free_names(tool, parameter.name) if one not in self.inputs)
        self.inputs[name] = value
        self.added.append(name)

    def _value(self, tool: Tool, parameter: Parameter) -> Any:
        sources = [index for index, step in enumerate(self.steps) if step.tool in tool.dependencies]
        value: Any = self._result(parameter, sources)
        if value is None:
            value = self._of_the_name(parameter)
        if value is None:
            value = self._result(parameter, range(len(self.steps)))
        if value is None and parameter.free and parameter.required:
            value = usable(parameter, self._words)
        if value is None and parameter.required:
            value = self._similar(parameter)
        if value is None and parameter.required:
            value = self._made_up(tool, parameter)
        return value

    def _result(self, parameter: Parameter, sources: Sequence[int]) -> Reference | None:
        for index in reversed(sources):
            for result in self._tools[self.steps[index].tool].returns:
                if result.kind in parameter.accepts:
                    return Reference(step=index, field=result.name)
        return None

    def _of_the_name(self, parameter: Parameter) -> Any:
        words = words_of(parameter.name)
        named = [value for name, value in self._given if name == parameter.name or (words and words_of(name) == words)]
        return self._first_usable(parameter, named)

    def _similar(self, parameter: Parameter) -> Any:
        """Return an input whose name has the same words and more, or fewer, or that is the only one to fit."""
        words = set(words_of(parameter.name))
        kind = kind_named(parameter.name)
        close = [value for name, value in self._given if _near(words, set(words_of(name)))]
        close += [value for name, value in self._given if kind and kind_named(name) == kind]
        value = self._first_usable(parameter, close)
        if value is None and {"enum", "prefix"} & parameter.constraints.keys():
            loose = [one for name, one in self._given if _may_mean(parameter.name, name)]
            fitting = [usable(parameter, one) for one in loose]
            distinct = [one for at, one in enumerate(fitting) if one is not None and one not in fitting[:at]]
            value = distinct[0] if len(distinct) == 1 else None
        return value

    def _first_usable(self, parameter: Parameter, values: Sequence[Any]) -> Any:
        return next((one for value in values if (one := usable(parameter, value)) is not None), None)

    def _made_up(self, tool: Tool, parameter: Parameter) -> Any:
        shared = usable(parameter, self.inputs.get(parameter.name)) if parameter.name in self.added else None
        value = shared if shared is not None else usable(parameter, likely(parameter, self._task_id))
        if value is not None:
            self.state(tool.name, parameter, value)
        return value


def checked(tool: Tool) -> list[Parameter]:
    """Return the parameters whose values decide whether a call is right, required ones first."""
    decisive = [one for one in tool.parameters if not one.free]
    return sorted(decisive, key=lambda one: not one.required)


def usable(parameter: Parameter, value: Any) -> Any:
    """Return the value as a call would be read, or None if it does not fit or would be taken for a reference."""
    if value is None or fits(parameter, value):
        return None
    read = coerced(parameter, value)
    return None if blemish(read)[1] or isinstance(Reference.read(read), Reference) else read


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; unlike in Python, true is not 1."""
    return type(one) is type(other) and bool(one == other)


def likely(parameter: Parameter, task_id: str) -> Any:
    """Return a sensible value within the limits, the same for the same task; it may not fit if limits are odd."""
    bounds = parameter.constraints
    if parameter.default is not None:
        return parameter.default
    if "enum" in bounds:
        return choose(bounds["enum"], "likely", task_id, parameter.name)
    if parameter.type == "boolean":
        return True
    if parameter.type in ("integer", "number"):
        return _number(bounds, parameter.type)
    slug = f"{'_'.join(words_of(parameter.name)) or 'value'}_{digest([task_id, parameter.name], 3)}"
    if parameter.type == "object":
        return {"name": slug}
    if parameter.type == "array":
        return [slug] * max(1, bounds.get("min_length", 1))
    return _text(parameter, slug)


def _number(bounds: Mapping[str, Any], type_: str) -> int | float:
    low = bounds.get("minimum", min(1, bounds.get("maximum", 1)))
    value = min(bounds.get("maximum", low + 9), low + 9)
    return value if type_ == "number" else int(value // 1)


def _text(parameter: Parameter, slug: str) -> str:
    bounds = parameter.constraints
    words = words_of(parameter.name)
    text = _TEXTS.get(words[-1] if words else "", "{slug}").format(slug=slug)
    prefixes = bounds.get("prefix", [""])
    if not text.startswith(tuple(prefixes)):
        text = prefixes[0] + slug
    text = text.ljust(bounds.get("min_length", 0), "x")
    return text[: bounds.get("max_length", len(text))]


def _near(words: set[str], other: set[str]) -> bool:
    return bool(words and other) and (words <= other or other <= words)


def _may_mean(parameter: str, name: str) -> bool:
    """Whether an input's name does not speak against its meaning a parameter."""
    return kind_named(name) in ("", kind_named(parameter)) and (outward(parameter) or not outward(name))


def _flat(inputs: Mapping[str, Any], levels: int = _NESTING) -> Iterator[tuple[str, Any]]:
    """Yield every input by name, those of nested objects after the others."""
    yield from inputs.items()
    for value in inputs.values() if levels else ():
        if isinstance(value, dict):
            yield from _flat(value, levels - 1)


def _free_names(tool: str, name: str) -> Iterator[str]:
    yield name
    yield f"{tool}.{name}"
    number = 2
    while True:
        yield f"{tool}.{name} ({number})"
        number += 1
