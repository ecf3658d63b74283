"""What a run of the tool-use benchmark asks, read from its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.values import name_of, names_of, number, split, whole
from trials.spec import WorkflowSpec

MOST_INSTANCES = 100_000
TOOL_PROTOCOLS = ("tags", "native")


def workflow_spec(values: Mapping[str, Any]) -> WorkflowSpec:
    """Return what is asked. Raises UsageError for the first option that is wrong."""
    from workflows.flaws import SEVERITIES
    from workflows.prompts import PROMPT_GROUPS, PROMPT_TYPES
    from workflows.tasks import DIFFICULTIES

    rates = split(values["tool_success_rates"]) or ("0.8",)
    return WorkflowSpec(
        prompt_types=names_of("--prompt-types", values["prompt_types"] or "optimal", PROMPT_TYPES, PROMPT_GROUPS),
        difficulties=names_of("--difficulty", values["difficulty"] or "easy", DIFFICULTIES, {"all": DIFFICULTIES}),
        task_types=_task_types(values),
        tool_success_rates=tuple(dict.fromkeys(number("--tool-success-rate", rate, 0, 1) for rate in rates)),
        num_instances=whole("--num-instances", values["num_instances"] or "20", 1, MOST_INSTANCES),
        severity=name_of("--severity", values["severity"] or "severe", SEVERITIES),
        tool_protocol=name_of("--tool-protocol", values["tool_protocol"] or "tags", TOOL_PROTOCOLS),
        drawn_for=values.get("drawn_for", ()),
        task_library=_absolute(values["task_library"]),
        tool_registry=_absolute(values["tool_registry"]),
        skip_invalid=values["skip_invalid"],
    )


def _task_types(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the types that were named; without a name all, as far as a library of the user's own has tasks of them."""
    from commands.workloads import open_library
    from workflows.tasks import TASK_TYPES

    if values["task_types"] is not None or not values["task_library"]:
        return names_of("--task-types", values["task_types"] or "all", TASK_TYPES, {"all": TASK_TYPES})
    files = _absolute(values["task_library"]), _absolute(values["tool_registry"])
    library = open_library(*files, skip_invalid=values["skip_invalid"])
    return tuple(name for name in TASK_TYPES if library.of_type(name))


def _absolute(path: str | None) -> str:
    return str(Path(path).resolve()) if path else ""
