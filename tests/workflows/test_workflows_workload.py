from __future__ import annotations

from collections.abc import Mapping

import pytest
from scripted import knowing, make_cell, spoken

from trials.digest import canonical
from trials.errors import UsageError
from trials.words import FULL, Cell, Sampling, Workload
from workflows import prompts
from workflows.flaws import FLAWS
from workflows.prompts import PROMPT_TYPES
from workflows.reliability import luck
from workflows.tasks import TASK_TYPES, TaskLibrary, builtin_library
from workflows.workload import WorkflowWorkload


@pytest.fixture(scope="module")
def workload() -> WorkflowWorkload:
    return WorkflowWorkload()


def first_key(workload: WorkflowWorkload, **changes: object) -> str:
    return workload.nth(make_cell(**changes), 0, 0).trial_key


def test_it_is_a_workload(workload: WorkflowWorkload) -> None:
    one: Workload = workload
    assert one.definition == WorkflowWorkload().definition


def test_a_trial_depends_on_its_cell_and_instance_alone(workload: WorkflowWorkload) -> None:
    for task_type in TASK_TYPES:
        cell = make_cell(task_type=task_type)
        first = workload.nth(cell, 7, 3)
        again = WorkflowWorkload().nth(cell, 7, 3)
        assert first == again
        assert workload.nth(cell, 7, 99).trial_key == first.trial_key


def test_tasks_are_drawn_without_replacement_and_then_repeated(workload: WorkflowWorkload) -> None:
    cell = make_cell()
    trials = [workload.nth(cell, instance, instance) for instance in range(450)]
    assert len({trial.trial_key for trial in trials}) == 450
    assert [trial.epoch for trial in trials] == [0] * 200 + [1] * 200 + [2] * 50
    assert len({trial.task_id for trial in trials[:200]}) == 200
    assert [trial.task_id for trial in trials[200:]] == [trial.task_id for trial in trials[:250]]


def test_prompt_types_rates_difficulties_and_models_share_tasks_and_luck(workload: WorkflowWorkload) -> None:
    plain = [workload.nth(make_cell(), instance, 0).task_id for instance in range(50)]
    for changes in (
        {"prompt_type": "baseline"},
        {"prompt_type": "flawed_tool_misuse", "severity": "severe"},
        {"tool_success_rate": 0.6},
        {"difficulty": "very_hard"},
        {"model": "other"},
        {"tool_protocol": "native"},
    ):
        cell = make_cell(**changes)
        trials = [workload.nth(cell, instance, 0) for instance in range(50)]
        assert [trial.task_id for trial in trials] == plain
    draws = set()
    for prompt_type in ("baseline", "optimal"):
        trial = workload.nth(make_cell(prompt_type=prompt_type), 0, 0)
        marked = workload.run(trial, spoken(knowing))
        draws.add(tuple(call["draw"] for call in marked.detail["calls"]))
        first = marked.detail["calls"][0]
        assert first["draw"] == luck(42, trial.task_id, 0, first["tool"], 0)
    assert len(draws) == 1


def test_every_part_of_the_condition_is_part_of_the_key(workload: WorkflowWorkload) -> None:
    flawed = {"prompt_type": "flawed_redundant_operations", "task_type": "multi_stage_pipeline"}
    keys = [
        first_key(workload),
        *(first_key(workload, prompt_type=one) for one in PROMPT_TYPES if one != "optimal"),
        *(first_key(workload, **flawed, severity=one) for one in ("light", "medium", "severe")),
        first_key(workload, model="n"),
        first_key(workload, tool_success_rate=0.9),
        first_key(workload, difficulty="hard"),
        first_key(workload, tool_protocol="native"),
        first_key(workload, sampling=Sampling(temperature=0.5)),
        first_key(workload, sampling=Sampling(extra={"top_p": 0.9})),
        first_key(workload, max_turns=9),
        first_key(workload, seed=43),
        first_key(workload, task_type="simple_task"),
    ]
    assert len(set(keys)) == len(keys)


def test_one_word_of_one_prompt_changes_that_prompts_keys_and_the_definition(
    workload: WorkflowWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {one: first_key(workload, prompt_type=one) for one in PROMPT_TYPES}
    changed: Mapping[str, str] = {
        **prompts.TEMPLATES,
        "cot": prompts.TEMPLATES["cot"].replace("think", "reason", 1),
    }
    monkeypatch.setattr(prompts, "TEMPLATES", changed)
    other = WorkflowWorkload()
    after = {one: first_key(other, prompt_type=one) for one in PROMPT_TYPES}
    assert {one for one in PROMPT_TYPES if before[one] != after[one]} == {"cot"}
    assert other.definition != workload.definition


def test_ineligible_tasks_are_replaced_by_the_next_eligible_ones(workload: WorkflowWorkload) -> None:
    for task_type in TASK_TYPES:
        order = [task.task_id for task in workload.library.order(task_type, 42)]
        for flaw in FLAWS:
            cell = make_cell(task_type=task_type, prompt_type=f"flawed_{flaw}", severity="light")
            eligible, total = workload.eligible(cell)
            assert 0 < eligible <= total == 200
            drawn = [workload.nth(cell, instance, 0).task_id for instance in range(eligible)]
            places = [order.index(task_id) for task_id in drawn]
            assert places == sorted(set(places))
            assert workload.nth(cell, eligible, 0).epoch == 1


def test_a_control_stands_on_the_very_same_tasks_as_every_flaw() -> None:
    workload = WorkflowWorkload(control_for=FLAWS)
    cells = [make_cell(), *(make_cell(prompt_type=f"flawed_{flaw}", severity="severe") for flaw in FLAWS)]
    for instance in range(30):
        assert len({workload.nth(cell, instance, 0).task_id for cell in cells}) == 1


def test_a_library_without_eligible_tasks_is_told() -> None:
    short = TaskLibrary(task for task in builtin_library() if len(task.steps) == 1)
    cell = make_cell(task_type="simple_task", prompt_type="flawed_missing_step")
    with pytest.raises(UsageError, match="no task of type simple_task"):
        WorkflowWorkload(short).nth(cell, 0, 0)


def test_a_run_is_deterministic_and_explains_itself(workload: WorkflowWorkload) -> None:
    cell: Cell = make_cell(prompt_type="flawed_parameter_error", severity="medium")
    trial = workload.nth(cell, 0, 0)
    marked = workload.run(trial, spoken(knowing))
    assert marked == workload.run(trial, spoken(knowing))
    assert marked.outcome == FULL
    assert marked.plan_diff
    assert marked.conversation[0]["role"] == "system"
    assert set(marked.detail) >= {"plan", "calls", "breakdown", "optimal_value"}
    canonical([list(marked.conversation), dict(marked.detail)])
