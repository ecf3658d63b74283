from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import knowing, make_trial, saying, spoken

from trials.words import FAILURE, FULL, PARTIAL
from workflows.dialects import write_call
from workflows.dialogue import FINISHED, OUT_OF_TURNS, Transcript, converse
from workflows.reliability import payload
from workflows.sandbox import (
    ARGUMENTS,
    DEPENDENCY,
    ENDS,
    OK,
    UNKNOWN,
    UNLUCKY,
    CallRecord,
)
from workflows.scoring import CALL_KINDS, ERROR_CATEGORIES, Score, closure, outcome_of, score
from workflows.tasks import Task, builtin_library


@pytest.fixture(scope="module")
def chain() -> Task:
    """Five steps, each of which needs the one before."""
    return next(
        task
        for task in builtin_library()
        if len(task.steps) == 5 and all(index - 1 in task.needs[index] for index in range(1, 5))
    )


def call(step: int | None, end: str = OK, *, in_order: bool = True, code: str = "") -> CallRecord:
    drawn = 0.5 if end in (OK, UNLUCKY) else None
    return CallRecord(
        turn=1, tool="t", arguments={}, end=end, step=step, in_order=in_order, error_code=code, draw=drawn
    )


def marked(task: Task, *calls: CallRecord, ended: str = FINISHED, **more: int) -> Score:
    return score(task, Transcript(messages=(), calls=calls, turns=len(calls), ended=ended, **more))


@pytest.mark.parametrize(
    ("succeeded", "in_order", "outcome"),
    [
        (5, 5, FULL),
        (5, 4, PARTIAL),
        (5, 0, PARTIAL),
        (4, 3, PARTIAL),
        (3, 3, PARTIAL),
        (4, 2, FAILURE),
        (0, 0, FAILURE),
    ],
)
def test_the_success_rule(succeeded: int, in_order: int, outcome: str) -> None:
    assert outcome_of(5, succeeded, in_order) == outcome


def test_a_single_tool_is_all_or_partial_or_nothing() -> None:
    assert [outcome_of(1, 1, 1), outcome_of(1, 1, 0), outcome_of(1, 0, 0)] == [FULL, PARTIAL, FAILURE]


def test_perfect_work_scores_one_throughout(chain: Task) -> None:
    perfect = marked(chain, *(call(step) for step in range(5)))
    assert (perfect.outcome, perfect.error_category) == (FULL, "")
    assert (perfect.coverage, perfect.order, perfect.execution, perfect.efficiency) == (1, 1, 1, 1)
    assert perfect.recovery is None


def test_no_call_at_all_scores_zero(chain: Task) -> None:
    nothing = marked(chain)
    assert (nothing.coverage, nothing.order, nothing.execution, nothing.efficiency) == (0, 0, 0, 0)


def test_bad_luck_on_the_way_costs_neither_execution_nor_efficiency(chain: Task) -> None:
    tried = marked(chain, call(0, UNLUCKY), call(0), *(call(step) for step in range(1, 5)))
    assert (tried.outcome, tried.execution, tried.efficiency, tried.recovery) == (FULL, 1, 1, 1)


def test_repeated_foreign_and_refused_calls_cost_efficiency(chain: Task) -> None:
    work = [call(step) for step in range(5)]
    for extra in (call(0), call(None), call(4, ARGUMENTS), call(None, UNKNOWN)):
        assert marked(chain, *work[:1], extra, *work[1:]).efficiency == pytest.approx(5 / 6)


def test_order_counts_the_longest_part_in_an_allowed_order(chain: Task) -> None:
    early = [call(step, in_order=step == 0) for step in (4, 3, 2, 1, 0)]
    assert marked(chain, *early).order == 1 / 5
    swapped = [call(0), call(2, in_order=False), call(1), call(3), call(4)]
    assert marked(chain, *swapped).order == 4 / 5
    repaired = [*swapped[:3], call(2), *swapped[3:]]
    assert marked(chain, *repaired).order == 1


def test_any_order_that_needs_allow_is_right() -> None:
    free = next(task for task in builtin_library() if len(task.steps) == 2 and not any(task.needs))
    for order in ((0, 1), (1, 0)):
        assert marked(free, *(call(step) for step in order)).order == 1


@pytest.mark.parametrize(
    ("category", "calls", "ended", "more"),
    [
        ("tool_call_format", (), OUT_OF_TURNS, {"idle": 10}),
        ("tool_call_format", (), OUT_OF_TURNS, {"unreadable": 3}),
        ("max_turns", (), OUT_OF_TURNS, {}),
        ("other", (), FINISHED, {}),
        ("timeout", (call(0, UNLUCKY, code="TIMEOUT"),), FINISHED, {}),
        ("max_turns", (call(0, UNLUCKY, code="OVERFLOW"),), OUT_OF_TURNS, {}),
        ("other", (call(0, UNLUCKY, code="OVERFLOW"),), FINISHED, {}),
        ("tool_selection", (call(None),), FINISHED, {}),
        ("tool_selection", (call(None, UNKNOWN),), OUT_OF_TURNS, {}),
        ("parameter_config", (call(0, ARGUMENTS),), OUT_OF_TURNS, {}),
        ("sequence_order", tuple(call(step, in_order=step != 3) for step in range(5)), FINISHED, {}),
        ("dependency", (call(0), call(1, DEPENDENCY)), FINISHED, {}),
        ("dependency", (call(0), call(1, UNLUCKY, in_order=False)), FINISHED, {}),
        ("max_turns", (call(0),), OUT_OF_TURNS, {}),
        ("other", (call(0),), FINISHED, {}),
    ],
)
def test_the_first_missing_tool_decides_the_error_category(
    chain: Task, category: str, calls: tuple[CallRecord, ...], ended: str, more: dict[str, int]
) -> None:
    assert marked(chain, *calls, ended=ended, **more).error_category == category
    assert category in ERROR_CATEGORIES


records = st.builds(call, st.sampled_from([None, 0, 1, 2, 3, 4]), st.sampled_from(ENDS), in_order=st.booleans())


@given(calls=st.lists(records, max_size=12))
def test_the_breakdown_adds_up_and_scores_stay_in_bounds(chain: Task, calls: list[CallRecord]) -> None:
    result = marked(chain, *calls)
    parts = result.breakdown
    assert sum(parts[kind] for kind in CALL_KINDS) == parts["calls"] == len(calls)
    assert parts["in_order"] + parts["out_of_order"] + parts["missing"] == parts["required"] == 5
    for one in (result.coverage, result.order, result.execution, result.efficiency, result.recovery or 0):
        assert 0 <= one <= 1
    assert result.order <= result.coverage
    assert (result.outcome == FULL) == (result.error_category == "")
    assert result.outcome == outcome_of(5, 5 - parts["missing"], parts["in_order"])


@given(calls=st.lists(records, max_size=8))
def test_deviations_change_no_score(chain: Task, calls: list[CallRecord]) -> None:
    plain = Transcript(messages=(), calls=tuple(calls), turns=3, ended=FINISHED)
    assert score(chain, plain) == score(chain, replace(plain, deviations=("think", "tag_unclosed")))


def test_closure_holds_all_that_a_step_needs() -> None:
    needs = [frozenset[int](), frozenset({0}), frozenset({1})]
    assert closure(needs)[2] == {0, 1}


def test_a_hasty_success_out_of_order_is_partial() -> None:
    """Where order alone, and no data, binds two tools, calling them the wrong way round is no full success."""
    task, late = next(
        (task, index)
        for task in builtin_library()
        for index in range(len(task.steps))
        if task.order_needs[index] - task.data_needs[index] and not task.data_needs[index]
    )
    order = [late, *(index for index in range(len(task.steps)) if index != late)]
    for epoch in range(60):
        trial = make_trial(task, epoch, tool_success_rate=1.0, max_turns=len(order) + 1)
        outputs: dict[int, dict[str, object]] = {}
        replies = []
        for index in sorted(order):
            arguments = task.arguments_for(index, outputs)
            tool = task.toolset[task.steps[index].tool]
            outputs[index] = payload(tool, arguments, 42, task.task_id, epoch)
        for index in order:
            tool_name = task.steps[index].tool
            replies.append(write_call("tag", tool_name, task.arguments_for(index, outputs)).text)
        transcript = converse(task, trial, saying(*replies, "<finish>done</finish>"))
        if all(one.ok for one in transcript.calls):
            result = score(task, transcript)
            assert (result.outcome, result.error_category) == (PARTIAL, "sequence_order")
            assert result.coverage == 1 > result.order
            return
    pytest.fail("no epoch had the luck that this test needs")


def test_work_in_any_allowed_order_is_a_full_success() -> None:
    """Steps are called in random orders that data and dependencies allow; tools never fail."""
    rng = Random(1)
    for task in builtin_library().of_type("multi_stage_pipeline"):
        order: list[int] = []
        while len(order) < len(task.steps):
            ready = [step for step in range(len(task.steps)) if step not in order and task.needs[step] <= set(order)]
            order.append(rng.choice(ready))
        outputs: dict[int, dict[str, object]] = {}
        replies = []
        for step in order:
            arguments = task.arguments_for(step, outputs)
            outputs[step] = payload(task.toolset[task.steps[step].tool], arguments, 42, task.task_id, 0)
            replies.append(write_call("tag", task.steps[step].tool, arguments).text)
        transcript = converse(task, make_trial(task, tool_success_rate=1.0), saying(*replies))
        result = score(task, transcript)
        assert (result.outcome, result.order, result.efficiency) == (FULL, 1, 1)


def test_a_wrong_stated_value_is_refused_and_named(chain: Task) -> None:
    def careless(task: Task, messages: object) -> tuple[str, dict[str, object]] | None:
        decision = knowing(task, messages)  # type: ignore[arg-type]
        if decision is None:
            return None
        tool, arguments = decision
        return tool, {name: f"{value}x" for name, value in arguments.items()}

    transcript = converse(chain, make_trial(chain), spoken(careless))
    assert {one.end for one in transcript.calls} == {ARGUMENTS}
    assert all(one.error_code == "INVALID_INPUT" and one.reason for one in transcript.calls)
    assert score(chain, transcript).error_category == "parameter_config"
