from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scripted import make_cell

from workflows.plans import (
    FAILED,
    SUCCEEDED,
    Condition,
    Plan,
    PlanStep,
    optimal_plan,
    read_steps,
    write_plan,
)
from workflows.prompts import opening, read_plan
from workflows.tasks import Reference, builtin_library

names = st.from_regex(r"[a-z]{1,9}_[a-z]{1,9}", fullmatch=True)
references = st.builds(Reference, step=st.integers(0, 20), field=st.from_regex(r"[a-z_]{1,12}", fullmatch=True))
literals = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.lists(st.text()))
steps = st.builds(
    PlanStep,
    tool=names,
    arguments=st.dictionaries(names, st.one_of(references, literals)),
    when=st.lists(
        st.builds(Condition, step=st.integers(0, 20), outcome=st.sampled_from([SUCCEEDED, FAILED])),
        unique=True,
    ).map(tuple),
    note=st.from_regex(r"[A-Za-z ,|'-]{0,40}", fullmatch=True),
)


@given(st.lists(steps, max_size=8))
def test_any_plan_is_read_as_it_was_written(plan: list[PlanStep]) -> None:
    assert read_steps(write_plan(Plan(steps=tuple(plan), swaps=((0, 1),), spare=2))) == tuple(plan)


def test_the_plan_is_read_out_of_every_opening_that_has_one() -> None:
    for task in builtin_library():
        plan = optimal_plan(task, 0.8, 10)
        assert read_plan(opening(task, make_cell(task_type=task.task_type))) == plan.steps
        for prompt_type in ("baseline", "cot"):
            cell = make_cell(task_type=task.task_type, prompt_type=prompt_type)
            assert read_plan(opening(task, cell)) == ()


def test_the_plan_calls_every_required_tool_once_after_all_it_needs() -> None:
    for task in builtin_library():
        plan = optimal_plan(task, 0.8, 10)
        order = [task.step_of(step.tool) for step in plan.steps]
        assert sorted(one for one in order if one is not None) == list(range(len(task.steps)))
        for place, step in enumerate(plan.steps):
            assert all(condition.step < place for condition in step.when)
            assert {one.step for one in step.arguments.values() if isinstance(one, Reference)} <= {
                condition.step for condition in step.when
            }


def test_the_plan_is_worded_the_same_at_every_tool_success_rate() -> None:
    for task in builtin_library():
        assert len({write_plan(optimal_plan(task, rate, 10)) for rate in (0.0, 0.3, 0.6, 0.8, 0.9, 1.0)}) == 1


def test_steps_that_may_change_places_do_not_need_each_other() -> None:
    found = 0
    for task in builtin_library():
        plan = optimal_plan(task, 0.8, 10)
        for first, second in plan.swaps:
            found += 1
            assert first not in {condition.step for condition in plan.steps[second].when}
    assert found > 50


def test_the_plan_says_how_many_turns_are_left_for_retries() -> None:
    for task in builtin_library():
        assert f"({10 - len(task.steps)} spare turns" in write_plan(optimal_plan(task, 0.8, 10))
