from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import knowing, make_cell, make_trial, obeying, spoken

from trials.words import FULL, Marked
from workflows.flaws import FLAWS, SEVERITIES, damage
from workflows.plans import Plan, optimal_plan, read_steps, write_plan
from workflows.prompts import plan_diff
from workflows.tasks import TASK_TYPES, Task, builtin_library
from workflows.workload import WorkflowWorkload

SAMPLE = 25
"""Tasks of each type that the played tests use."""


def damaged_plans(flaw: str, severity: str) -> Iterator[tuple[Task, Plan, Plan]]:
    for task in builtin_library():
        plan = optimal_plan(task, 0.8, 10)
        damaged = damage(task, plan, flaw, severity)
        if damaged is not None:
            yield task, plan, damaged


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("flaw", FLAWS)
def test_no_damage_is_a_placebo(flaw: str, severity: str) -> None:
    count = 0
    for _, plan, damaged in damaged_plans(flaw, severity):
        count += 1
        assert write_plan(damaged) != write_plan(plan)
        assert read_steps(write_plan(damaged)) == damaged.steps != plan.steps
        assert plan_diff(plan, damaged)
    assert count > 600


@pytest.mark.parametrize("flaw", FLAWS)
def test_damage_is_not_disclosed(flaw: str) -> None:
    for task, plan, damaged in damaged_plans(flaw, "severe"):
        lines = write_plan(damaged).split("\n")
        assert [line.split(".")[0] for line in lines[: len(damaged.steps)]] == [
            str(number) for number in range(1, len(damaged.steps) + 1)
        ]
        assert lines[-1] == write_plan(plan).split("\n")[-1]
        assert {step.tool for step in damaged.steps} <= set(task.visible_tools("very_easy"))


@pytest.mark.parametrize("flaw", FLAWS)
def test_severer_damage_changes_no_less(flaw: str) -> None:
    sizes = dict.fromkeys(SEVERITIES, 0)
    for severity in SEVERITIES:
        for _, plan, damaged in damaged_plans(flaw, severity):
            sizes[severity] += (
                len(plan.steps) - len(damaged.steps)
                if flaw == "missing_step"
                else len(plan_diff(plan, damaged).split("\n"))
            )
    assert sizes["light"] < sizes["medium"] < sizes["severe"]


def test_eligibility_is_the_same_at_every_severity_and_depends_on_length_alone() -> None:
    for flaw in FLAWS:
        eligible = [{task.task_id for task, _, _ in damaged_plans(flaw, one)} for one in SEVERITIES]
        assert eligible[0] == eligible[1] == eligible[2]
    for task in builtin_library():
        plan = optimal_plan(task, 0.8, 10)
        able = {flaw for flaw in FLAWS if damage(task, plan, flaw, "severe")}
        assert {"tool_misuse", "parameter_error", "redundant_operations"} <= able
        assert ("missing_step" in able) == (len(task.steps) >= 3)
        assert ("logical_inconsistency" in able) == ("semantic_drift" in able) == (len(task.steps) >= 2)
        assert ("sequence_disorder" in able) == any(task.needs)


def test_tool_misuse_changes_tools_only_and_parameter_error_arguments_only() -> None:
    for _, plan, damaged in damaged_plans("tool_misuse", "severe"):
        assert [step.arguments for step in damaged.steps] == [step.arguments for step in plan.steps]
        assert not {step.tool for step in damaged.steps} & {step.tool for step in plan.steps}
    for _, plan, damaged in damaged_plans("parameter_error", "severe"):
        assert [step.tool for step in damaged.steps] == [step.tool for step in plan.steps]
        assert all(a.arguments != b.arguments for a, b in zip(damaged.steps, plan.steps, strict=True))


def test_missing_step_keeps_both_ends_and_drift_keeps_the_beginning() -> None:
    for _, plan, damaged in damaged_plans("missing_step", "severe"):
        assert [step.tool for step in damaged.steps] == [plan.steps[0].tool, plan.steps[-1].tool]
    for _, plan, damaged in damaged_plans("semantic_drift", "severe"):
        kept = (len(plan.steps) + 1) // 2
        assert damaged.steps[:kept] == plan.steps[:kept]
        assert not {step.tool for step in damaged.steps[kept:]} & {step.tool for step in plan.steps}


def played(flaw: str, mind: object) -> tuple[list[Marked], list[Marked]]:
    """Play the same tasks under the flawed and under the optimal prompt."""
    workload = WorkflowWorkload()
    flawed, control = [], []
    for task_type in TASK_TYPES[2:]:
        cell = make_cell(task_type=task_type, prompt_type=f"flawed_{flaw}", severity="severe")
        for instance in range(SAMPLE):
            trial = workload.nth(cell, instance, instance)
            flawed.append(workload.run(trial, spoken(mind)))  # type: ignore[arg-type]
            task = workload.library.get(trial.task_id)
            control.append(workload.run(make_trial(task), spoken(mind)))  # type: ignore[arg-type]
    return flawed, control


def full(marks: list[Marked]) -> int:
    return sum(mark.outcome == FULL for mark in marks)


@pytest.mark.parametrize("flaw", FLAWS)
def test_who_obeys_a_severe_flaw_does_worse_and_is_seen_to_follow_it(flaw: str) -> None:
    flawed, control = played(flaw, obeying)
    if flaw == "redundant_operations":
        assert sum(mark.efficiency for mark in flawed) < 0.8 * sum(mark.efficiency for mark in control)
    else:
        assert full(flawed) == 0 < full(control)
    assert sum(mark.followed_flaw is True for mark in flawed) > 0.9 * len(flawed)
    assert all(mark.followed_flaw is None and mark.recovered is None for mark in control)
    for mark in flawed:
        assert mark.recovered == ((mark.outcome == FULL) if mark.followed_flaw else None)


@pytest.mark.parametrize("flaw", FLAWS)
def test_who_ignores_plans_is_never_said_to_have_followed_one_and_scores_the_same(flaw: str) -> None:
    flawed, control = played(flaw, knowing)
    assert not any(mark.followed_flaw for mark in flawed)
    assert [(one.outcome, one.coverage, one.efficiency, one.turns) for one in flawed] == [
        (one.outcome, one.coverage, one.efficiency, one.turns) for one in control
    ]
