"""The solver against the rules written down a second time, against a closed form, and against play."""

from __future__ import annotations

from math import comb, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import knowing, make_trial, obeying, spoken

from workflows.dialogue import DONE, converse
from workflows.plans import optimal_plan
from workflows.process import Process, solve
from workflows.reliability import UNMET
from workflows.tasks import builtin_library


def brute_force(process: Process, horizon: int) -> float:
    """Play out every sequence of calls, also foolish ones, with histories in place of states."""
    count = len(process.data_needs)

    def best(history: tuple[tuple[int, bool], ...]) -> float:
        ran, right = 0, 0
        for step, ok in history:
            if ok:
                needs = process.data_needs[step] | process.order_needs[step]
                right |= (1 << step) if needs & ran == needs else 0
                ran |= 1 << step
        if right == (1 << count) - 1:
            return 1.0
        if len(history) == horizon:
            return 0.0
        worth = 0.0
        for step in range(count):
            data, needs = process.data_needs[step], process.data_needs[step] | process.order_needs[step]
            rate = 0.0 if data & ran != data else process.rate if needs & ran == needs else UNMET * process.rate
            won = best((*history, (step, True))) if rate > 0 else 0.0
            lost = best((*history, (step, False))) if rate < 1 else 0.0
            worth = max(worth, rate * won + (1 - rate) * lost)
        return worth

    return best(())


def at_least(successes: int, tries: int, rate: float) -> float:
    return sum(comb(tries, k) * rate**k * (1 - rate) ** (tries - k) for k in range(successes, tries + 1))


@st.composite
def processes(draw: st.DrawFn) -> Process:
    count = draw(st.integers(1, 3))
    masks = [draw(st.integers(0, 2**step - 1)) for step in range(count)]
    orders = [draw(st.integers(0, 2**step - 1)) for step in range(count)]
    rate = draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    return Process(data_needs=tuple(masks), order_needs=tuple(orders), rate=rate)


@settings(max_examples=60, deadline=None)
@given(processes(), st.integers(0, 5))
def test_value_equals_brute_force_on_small_processes(process: Process, horizon: int) -> None:
    assert solve(process).choice((0, 0), horizon).value == pytest.approx(brute_force(process, horizon))


def test_value_equals_brute_force_on_small_tasks() -> None:
    small = [task for task in builtin_library() if len(task.steps) <= 3]
    for process in {Process.of(task, 0.8) for task in small}:
        assert solve(process).choice((0, 0), 5).value == pytest.approx(brute_force(process, 5))


@pytest.mark.parametrize("rate", [0.0, 0.6, 0.8, 1.0])
def test_value_equals_the_closed_form_on_all_tasks(rate: float) -> None:
    for task in builtin_library():
        assert optimal_plan(task, rate, 10).value == pytest.approx(at_least(len(task.steps), 10, rate))


def test_no_plan_succeeds_in_fewer_turns_than_steps() -> None:
    for task in builtin_library():
        assert optimal_plan(task, 1.0, len(task.steps) - 1).value == 0
        assert optimal_plan(task, 1.0, len(task.steps)).value == 1


@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_value_agrees_with_play_on_all_tasks(rate: float) -> None:
    value, spread, won = 0.0, 0.0, 0
    for epoch, task in enumerate(builtin_library()):
        trial = make_trial(task, epoch % 3, tool_success_rate=rate)
        one = optimal_plan(task, rate, 10).value
        value, spread = value + one, spread + one * (1 - one)
        won += converse(task, trial, spoken(knowing)).ended == DONE
    assert abs(won - value) < 4 * sqrt(spread)


def test_whoever_obeys_the_plan_succeeds_if_tools_never_fail() -> None:
    for task in builtin_library():
        trial = make_trial(task, tool_success_rate=1.0)
        transcript = converse(task, trial, spoken(obeying))
        assert (transcript.ended, transcript.turns) == (DONE, len(task.steps))


def test_nothing_ever_succeeds_at_rate_zero() -> None:
    for task in builtin_library().of_type("api_integration"):
        transcript = converse(task, make_trial(task, tool_success_rate=0.0), spoken(knowing))
        assert not any(call.ok for call in transcript.calls)
        assert len(transcript.calls) == 10
