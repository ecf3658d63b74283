from __future__ import annotations

import json
from itertools import combinations

import pytest
from scripted import make_cell

from workflows.flaws import FLAWS, damage
from workflows.plans import optimal_plan
from workflows.prompts import (
    PROMPT_GROUPS,
    PROMPT_TYPES,
    native_tools,
    opening,
    plan_diff,
    plan_for,
    read_plan,
)
from workflows.tasks import DIFFICULTIES, Task, builtin_library


@pytest.fixture(scope="module")
def long_task() -> Task:
    return next(task for task in builtin_library() if len(task.steps) == 7)


def asked(task: Task, **changes: object) -> str:
    return "\n".join(str(one["content"]) for one in opening(task, make_cell(**changes)))


def test_there_are_ten_prompt_types_in_two_groups() -> None:
    assert len(PROMPT_TYPES) == 10
    assert PROMPT_GROUPS["all"] == ("baseline", "cot", "optimal")
    assert PROMPT_GROUPS["flawed"] == tuple(f"flawed_{flaw}" for flaw in FLAWS)


def test_every_pair_of_prompt_types_differs(long_task: Task) -> None:
    texts = {one: asked(long_task, prompt_type=one, severity="severe") for one in PROMPT_TYPES}
    assert all(a != b for a, b in combinations(texts.values(), 2))


def test_all_prompt_types_begin_with_the_baseline(long_task: Task) -> None:
    baseline = asked(long_task, prompt_type="baseline")
    for prompt_type in PROMPT_TYPES:
        assert asked(long_task, prompt_type=prompt_type).startswith(baseline)


def test_a_flawed_prompt_differs_from_the_optimal_one_in_its_plan_alone(long_task: Task) -> None:
    head = asked(long_task, prompt_type="optimal").split("\n1. ")[0]
    for flaw in FLAWS:
        cell = make_cell(prompt_type=f"flawed_{flaw}", severity="severe")
        assert asked(long_task, prompt_type=cell.prompt_type).split("\n1. ")[0] == head
        plan = plan_for(long_task, cell)
        assert plan is not None
        assert read_plan(opening(long_task, cell)) == plan.steps


def test_only_the_inputs_that_the_task_states_and_the_tools_it_shows_are_told() -> None:
    for task in builtin_library():
        for difficulty in DIFFICULTIES:
            text = asked(task, prompt_type="baseline", difficulty=difficulty, task_type=task.task_type)
            assert all(json.dumps(value, ensure_ascii=False) in text for value in task.inputs.values())
            hidden = set(task.toolset) - set(task.visible_tools(difficulty))
            assert all(name in text for name in task.visible_tools(difficulty))
            assert not any(name in text for name in hidden)


def test_openings_stay_small() -> None:
    sizes = [len(asked(task, task_type=task.task_type)) for task in builtin_library()]
    assert sum(sizes) / len(sizes) < 2200
    assert max(sizes) < 3600


def test_native_prompts_explain_no_tags_and_offer_the_shown_tools_as_functions(long_task: Task) -> None:
    cell = make_cell(tool_protocol="native")
    assert "<tool" not in asked(long_task, tool_protocol="native")
    tools = native_tools(long_task, cell)
    assert tools is not None
    names = [one["function"]["name"] for one in tools]
    assert names == [*long_task.visible_tools("easy"), "tool_search", "tool_info", "finish"]
    for one in tools:
        schema = one["function"]["parameters"]
        assert set(schema["required"]) <= set(schema["properties"])
    assert native_tools(long_task, make_cell()) is None
    json.dumps(tools)


def test_a_task_too_short_for_the_flaw_is_refused() -> None:
    short = next(task for task in builtin_library() if len(task.steps) == 1)
    with pytest.raises(ValueError, match="too short"):
        opening(short, make_cell(prompt_type="flawed_missing_step"))


def test_the_diff_shows_what_was_removed_and_what_was_added(long_task: Task) -> None:
    plan = optimal_plan(long_task, 0.8, 10)
    damaged = damage(long_task, plan, "tool_misuse", "light")
    assert damaged is not None
    lines = [line for line in plan_diff(plan, damaged).split("\n") if line[0] in "+-"]
    assert [line[0] for line in lines] == ["-", "+"]
    assert plan_diff(plan, plan) == ""
