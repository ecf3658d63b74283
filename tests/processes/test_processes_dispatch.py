"""Work is handed out evenly, moves to who is idle, and is never in two places."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_specs import Numbers, spec_of

from processes.dispatch import Dispatcher, even_split
from trials.plan import TrialPlan


def plan_of(instances: int, *, models: Iterable[str] = ("m",), rates: Iterable[float] = (0.8,)) -> TrialPlan:
    return TrialPlan(spec_of(models=tuple(models), tool_success_rates=tuple(rates), num_instances=instances), Numbers())


def test_the_even_split_gives_a_remainder_to_the_first():
    assert even_split(plan_of(11), {1: "m", 2: "m", 3: "m"}) == {1: 4, 2: 4, 3: 3}
    assert even_split(plan_of(2), {1: "m", 2: "m", 3: "m"}) == {1: 1, 2: 1, 3: 0}


def test_models_keep_to_their_own_trials():
    plan = plan_of(4, models=("a", "b"))
    work = Dispatcher(plan, {1: "a", 2: "b"})
    assert {plan.trial(number).cell.model for number in work.take(1, 99)} == {"a"}
    assert {plan.trial(number).cell.model for number in work.take(2, 99)} == {"b"}
    assert work.take(1, 99) == []


def test_with_even_nothing_moves():
    work = Dispatcher(plan_of(10), {1: "m", 2: "m"}, balance="even")
    assert len(work.take(1, 99)) == 5
    assert work.take(1, 99) == []
    assert work.share_now(1) == 5


def test_with_pull_an_idle_shard_takes_from_the_fullest():
    work = Dispatcher(plan_of(30), {1: "m", 2: "m", 3: "m"})
    own = work.take(1, 99)
    work.take(2, 8)
    work.ended(1, own)
    moved = work.take(1, 99)
    assert len(moved) == 5  # half of the third shard's ten
    assert work.share_now(1) == 15
    assert work.share_now(3) == 5


def test_what_a_dead_shard_held_is_handed_out_again_first():
    work = Dispatcher(plan_of(10), {1: "m"})
    held = work.take(1, 4)
    work.ended(1, held[:1])
    assert work.returned(1) == held[1:]
    assert work.take(1, 3) == held[1:]


def test_phases_run_one_after_another():
    plan = plan_of(4, rates=(0.9, 0.8))
    work = Dispatcher(plan, {1: "m", 2: "m"})
    first = work.take(1, 99) + work.take(1, 99)
    second = work.take(2, 99)
    assert {plan.trial(number).cell.tool_success_rate for number in first + second} == {0.9}
    assert work.take(2, 99) == []
    assert not work.exhausted(2)
    work.ended(1, first)
    work.ended(2, second)
    assert {plan.trial(number).cell.tool_success_rate for number in work.take(2, 99)} == {0.8}


def test_what_is_done_is_not_handed_out():
    work = Dispatcher(plan_of(6), {1: "m", 2: "m"}, done=[0, 1, 2])
    assert sorted(work.take(1, 9) + work.take(2, 9)) == [3, 4, 5]
    assert work.earlier == {1: 2, 2: 1}


@pytest.mark.parametrize(("balance", "left"), [("pull", 8), ("even", 4)])
def test_the_share_of_a_closed_shard_goes_to_siblings_only_with_pull(balance, left):
    work = Dispatcher(plan_of(8), {1: "m", 2: "m"}, balance=balance)
    work.take(1, 2)
    work.close(1)
    assert work.take(1, 9) == []
    taken: list[int] = []
    while more := work.take(2, 9):
        taken += more
    assert len(taken) == left
    work.ended(2, taken)
    assert work.exhausted(1)
    assert work.exhausted(2)


def test_closing_the_last_shard_of_a_model_strands_no_other_model():
    work = Dispatcher(plan_of(4, models=("a", "b")), {1: "a", 2: "b"})
    work.close(1)
    taken = work.take(2, 9)
    assert len(taken) == 4
    work.ended(2, taken)
    assert work.exhausted(1)
    assert work.exhausted(2)


@given(
    instances=st.integers(1, 40),
    shards=st.integers(1, 4),
    rates=st.integers(1, 3),
    balance=st.sampled_from(["pull", "even"]),
    random=st.integers(0, 2**32).map(Random),
)
def test_every_trial_ends_exactly_once_whatever_dies(instances, shards, rates, balance, random):
    plan = plan_of(instances, rates=[0.1 * n for n in range(rates)])
    numbers = range(1, shards + 1)
    work = Dispatcher(plan, dict.fromkeys(numbers, "m"), balance=balance)
    ended: list[int] = []
    for _ in range(10_000):
        if all(work.exhausted(shard) for shard in numbers):
            break
        shard = random.choice(numbers)
        work.take(shard, random.randint(1, 5))
        if random.random() < 0.1:
            work.returned(shard)
        else:
            some = sorted(work.held(shard))[: random.randint(0, 5)]
            ended += some
            work.ended(shard, some)
    assert sorted(ended) == list(range(len(plan)))


def hedged() -> Dispatcher:
    dispatcher = Dispatcher(plan_of(2), {1: "m", 2: "m"})
    assert (dispatcher.take(1, 1), dispatcher.take(2, 1)) == ([0], [1])
    dispatcher.ended(2, [1])
    dispatcher.hedge(2, [0])
    return dispatcher


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_trial_that_two_shards_try_ends_with_the_first_answer_and_counts_once(first: int, second: int):
    dispatcher = hedged()
    assert not dispatcher.exhausted(1)
    assert dispatcher.ended(first, [0]) == ([0], {0: second})
    assert dispatcher.ended(second, [0]) == ([], {})
    assert dispatcher.exhausted(1)
    assert dispatcher.exhausted(2)
    assert dispatcher.share_now(first) == (1 if first == 1 else 2)
    assert dispatcher.share_now(1) + dispatcher.share_now(2) == 2


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_failure_of_one_attempt_leaves_the_trial_to_the_other(first: int, second: int):
    dispatcher = hedged()
    assert dispatcher.ended(first, [0], answered=False) == ([], {})
    assert not dispatcher.exhausted(second)
    assert dispatcher.ended(second, [0], answered=False) == ([0], {})
    assert dispatcher.exhausted(second)


@pytest.mark.parametrize(("gone", "left"), [(1, 2), (2, 1)])
def test_death_of_one_of_two_leaves_the_trial_to_the_other_alone(gone: int, left: int):
    dispatcher = hedged()
    assert dispatcher.returned(gone) == []
    assert dispatcher.take(gone, 1) == []
    assert dispatcher.ended(left, [0]) == ([0], {})


def test_ending_of_a_trial_that_is_not_held_counts_for_nobody():
    dispatcher = Dispatcher(plan_of(4), {1: "m", 2: "m"})
    dispatcher.take(1, 1)
    assert dispatcher.ended(2, [0]) == ([], {})
    assert dispatcher.ended(1, [0]) == ([0], {})
    assert dispatcher.ended(1, [0]) == ([], {})
