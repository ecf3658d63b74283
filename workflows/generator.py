"""Makes the built-in tasks: a small grammar of tool sequences per task type, filled with a scenario each.

Everything is drawn from one ``random.Random`` per task type with a fixed seed, through ``random()`` alone, the only
method whose sequence Python promises to keep. See https://docs.python.org/3/library/random.html#notes-on-reproducibility
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, product
from random import Random
from typing import Any, TypeVar

from workflows.scenarios import Scenario
from workflows.tasks import TASK_TYPES, Reference, Step, Task
from workflows.tools import Tool

T = TypeVar("T")

TASKS_PER_TYPE = 200
_SEED = 20250819
_REDRAWS = 6
"""How often a sequence that was drawn before is drawn again."""

_LENGTHS = {
    "simple_task": (1, 3),
    "basic_task": (1, 3),
    "data_pipeline": (2, 5),
    "api_integration": (2, 4),
    "multi_stage_pipeline": (3, 7),
}
_CODES = dict(zip(TASK_TYPES, ("ST", "BT", "DP", "AI", "MS"), strict=True))

_F, _D, _N, _C, _I, _U = (
    "file_operations",
    "data_processing",
    "network",
    "computation",
    "integration",
    "utility",
)
Stage = tuple[str, ...]
"""Ways to fill one place of a sequence: tool names joined by ``+``; an empty string leaves the place out."""

_SOURCE: Stage = (
    f"{_F}_reader",
    f"{_N}_fetcher",
    f"{_F}_scanner+{_F}_reader",
    f"{_I}_authenticator+{_N}_fetcher",
)
_RESHAPE: Stage = ("", f"{_D}_transformer", f"{_D}_filter", f"{_I}_mapper", f"{_D}_aggregator")
_COMPUTE: Stage = (
    f"{_C}_analyzer",
    f"{_C}_analyzer+{_C}_optimizer",
    f"{_C}_predictor",
    f"{_C}_predictor+{_C}_simulator",
    f"{_C}_simulator",
    f"{_C}_calculator+{_U}_tracker",
    f"{_U}_helper",
)
_SINK: Stage = (
    f"{_F}_writer",
    f"{_F}_writer+{_F}_compressor",
    f"{_N}_poster",
    f"{_N}_poster+{_N}_monitor",
    f"{_I}_queue",
    f"{_I}_connector+{_I}_queue",
    f"{_U}_cache",
)
_TELL: Stage = ("", f"{_U}_logger", f"{_U}_notifier", f"{_I}_scheduler")

_GRAMMAR: Mapping[str, tuple[Stage, ...]] = {
    "basic_task": (
        ("", f"{_F}_reader", f"{_N}_fetcher", f"{_F}_scanner+{_F}_reader"),
        ("", f"{_D}_parser", f"{_F}_converter", f"{_N}_validator"),
        ("", *(f"{_D}_{name}" for name in ("filter", "aggregator", "transformer", "validator"))),
        ("", f"{_U}_helper", f"{_C}_analyzer", f"{_U}_cache"),
    ),
    "data_pipeline": (
        _SOURCE,
        (f"{_D}_parser",),
        _RESHAPE,
        ("", f"{_D}_validator"),
        ("", *_SINK[:3], f"{_U}_cache"),
    ),
    "api_integration": (
        ("", f"{_N}_fetcher", f"{_I}_authenticator+{_N}_fetcher", f"{_N}_router+{_N}_fetcher"),
        ("", f"{_N}_validator", f"{_D}_parser", f"{_F}_converter", f"{_N}_validator+{_D}_parser"),
        _SINK[2:],
        _TELL,
    ),
    "multi_stage_pipeline": (
        _SOURCE,
        (f"{_D}_parser",),
        _RESHAPE,
        ("", f"{_D}_validator"),
        _COMPUTE,
        ("", *_SINK),
        _TELL,
    ),
}


def generate(task_type: str, tools: Mapping[str, Tool]) -> Iterator[Task]:
    """Yield the built-in tasks of a type, always the same."""
    rng = Random(_SEED + TASK_TYPES.index(task_type))
    for number, names in enumerate(_sequences(task_type, rng, tools), start=1):
        yield _task(task_type, number, names, rng, tools)


def _sequences(task_type: str, rng: Random, tools: Mapping[str, Tool]) -> list[tuple[str, ...]]:
    """Draw the tool sequences of a type: a new one each time, as long as new ones are easily found.

    Lengths take turns, so that short sequences, of which there are few, are repeated rather than crowded out.
    """
    shortest, longest = _LENGTHS[task_type]
    draw = _walker(rng, tools) if task_type == "simple_task" else _stager(_GRAMMAR[task_type], rng)
    drawn: set[tuple[str, ...]] = set()
    sequences = []
    for place in range(TASKS_PER_TYPE):
        wanted = shortest + place % (longest - shortest + 1)
        fitting = (names for names in draw(wanted) if _in_order(names, tools))
        names = next(fitting)
        for _ in range(_REDRAWS):
            names = names if names not in drawn else next(fitting)
        drawn.add(names)
        sequences.append(names)
    return sequences


def _stager(stages: tuple[Stage, ...], rng: Random) -> Callable[[int], Iterator[tuple[str, ...]]]:
    """Return a function that yields sequences of a length, each with one choice from every stage."""
    ways = [dict.fromkeys(tuple(filter(None, way.split("+"))) for way in stage) for stage in stages]
    by_length: dict[int, list[tuple[str, ...]]] = {}
    for picked in product(*ways):
        names = tuple(chain.from_iterable(picked))
        by_length.setdefault(len(names), []).append(names)

    def draw(length: int) -> Iterator[tuple[str, ...]]:
        while True:
            yield _one_of(by_length[length], rng)

    return draw


def _walker(rng: Random, tools: Mapping[str, Tool]) -> Callable[[int], Iterator[tuple[str, ...]]]:
    """Return a function that yields chains of a length in which each tool can take what the one before returns."""
    following = {
        name: [
            other.name
            for other in tools.values()
            if any(result.kind in parameter.accepts for result in tool.returns for parameter in other.parameters)
        ]
        for name, tool in tools.items()
    }
    starts = list(tools)

    def draw(length: int) -> Iterator[tuple[str, ...]]:
        while True:
            names = [_one_of(starts, rng)]
            while len(names) < length and following[names[-1]]:
                names.append(_one_of(following[names[-1]], rng))
            if len(names) == length:
                yield tuple(names)

    return draw


def _one_of(options: Sequence[T], rng: Random) -> T:
    return options[int(rng.random() * len(options))]


def _in_order(names: tuple[str, ...], tools: Mapping[str, Tool]) -> bool:
    """Whether no tool occurs twice or stands before one that it depends on."""
    return len(set(names)) == len(names) and all(
        later not in tools[name].dependencies for at, name in enumerate(names) for later in names[at:]
    )


def _task(task_type: str, number: int, names: tuple[str, ...], rng: Random, tools: Mapping[str, Tool]) -> Task:
    scenario = Scenario(rng, number)
    code = f"{_CODES[task_type]}-{number:03d}"
    inputs: dict[str, Any] = {}
    steps: list[Step] = []
    for name in names:
        steps.append(Step(tool=name, arguments=_arguments(tools[name], steps, code, scenario, inputs, tools)))
    return Task(
        task_id=f"{task_type}-{number:03d}",
        task_type=task_type,
        code=code,
        subject=scenario.subject,
        steps=tuple(steps),
        inputs=inputs,
        expected_outputs=_expected(steps, tools),
        data_needs=tuple(step.sources for step in steps),
        order_needs=tuple(
            frozenset(at for at, other in enumerate(names) if other in tools[name].dependencies) for name in names
        ),
        toolset=tools,
        constraints={"timeout": 300, "max_retries": 3},
        complexity="low" if len(steps) < 3 else "medium" if len(steps) < 5 else "high",
        metadata={"source": "built in"},
    )


def _arguments(
    tool: Tool,
    before: list[Step],
    code: str,
    scenario: Scenario,
    inputs: dict[str, Any],
    tools: Mapping[str, Tool],
) -> dict[str, Any]:
    """Link each parameter to the latest result that fits, or state its value in ``inputs``."""
    arguments: dict[str, Any] = {}
    for parameter in tool.parameters:
        source = _latest(parameter.accepts, before, tools)
        if source is not None:
            arguments[parameter.name] = source
        elif parameter.free:
            arguments[parameter.name] = f"{code}: work on {scenario.subject}"
        elif parameter.required or (not parameter.accepts and scenario.chance(0.3)):
            name, value = scenario.value(parameter)
            inputs[name] = arguments[parameter.name] = value
    return arguments


def _latest(accepts: tuple[str, ...], before: list[Step], tools: Mapping[str, Tool]) -> Reference | None:
    for index in reversed(range(len(before))):
        for result in tools[before[index].tool].returns:
            if result.kind in accepts:
                return Reference(step=index, field=result.name)
    return None


def _expected(steps: list[Step], tools: Mapping[str, Tool]) -> dict[str, Any]:
    """Name the results that no further step takes; where a result is known beforehand, its value."""
    used = {source for step in steps for source in step.sources}
    return {
        result.name: step.arguments.get("destination") if result.name == "written_path" else result.type
        for index, step in enumerate(steps)
        if index not in used
        for result in tools[step.tool].returns
    }
