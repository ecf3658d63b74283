from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pseudo_terminal import FakeClock

from telemetry.eta import Eta

RAMPS = {"constant": (1.0, 1.0), "from nothing": (0.0, 1.0), "doubling": (1.0, 2.0), "fourfold": (1.0, 4.0)}


def history(first: float, last: float, trials: int, lasts_s: float) -> Callable[[float], int]:
    """Return trials done as a function of time when the rate goes in a straight line from ``first`` to ``last``."""

    def done(at_s: float) -> int:
        x = min(at_s / lasts_s, 1.0)
        return int(trials * (first * x + (last - first) * x * x / 2) / ((first + last) / 2) + 1e-9)

    return done


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize(("trials", "lasts_s"), [(3_000, 120.0), (100_000, 3600.0)])
def test_estimate_is_right_within_a_fifth_from_a_quarter_on(ramp: str, trials: int, lasts_s: float) -> None:
    clock, done = FakeClock(), history(*RAMPS[ramp], trials, lasts_s)
    eta, start = Eta(clock), clock.now
    looked = 0
    while (at_s := clock.now - start) < lasts_s:
        left_s = eta.update(done(at_s), trials - done(at_s))
        if at_s >= lasts_s / 4:
            looked += 1
            assert left_s is not None
            assert abs(left_s - (lasts_s - at_s)) <= 0.2 * (lasts_s - at_s) + 1
        clock.now += 0.5
    assert looked > 100


@pytest.mark.parametrize("factor", [0.1, 0.25, 0.5, 2.0, 4.0, 10.0])
@pytest.mark.parametrize("at_work", [0.02, 0.1, 0.3, 0.6])
def test_after_a_step_in_speed_the_estimate_is_right_again_within_a_third_of_the_time_so_far(
    factor: float, at_work: float
) -> None:
    trials, before = 6000, 50.0
    clock, left, luck = FakeClock(), 6000.0, Random(7)
    eta, start = Eta(clock), clock.now
    looks: list[tuple[float, float | None]] = []
    stepped_s = 0.0
    while left > 0:
        clock.now += 0.25
        stepped = left <= trials * (1 - at_work)
        stepped_s = stepped_s or (clock.now - start if stepped else 0.0)
        mean = before * (factor if stepped else 1.0) * 0.25
        left -= max(0.0, luck.gauss(mean, mean**0.5))  # as chance would have it
        done = min(trials, int(trials - left))
        looks.append((clock.now - start, eta.update(done, trials - done)))
    lasts_s = looks[-1][0]
    judged = [look for look in looks if look[0] >= max(lasts_s / 4, stepped_s * 4 / 3)]
    for at_s, left_s in judged:
        assert left_s is not None
        assert abs(left_s - (lasts_s - at_s)) <= 0.2 * (lasts_s - at_s) + 1, f"{left_s} at {at_s} of {lasts_s}"


def test_a_part_that_the_cache_answers_at_once_does_not_count_as_the_pace_of_the_rest(clock: FakeClock) -> None:
    eta, done = Eta(clock), 0
    for half_second in range(4 * 60):
        done += 500 if half_second < 8 else 5
        clock.now += 0.5
        left_s = eta.update(done, 10_000 - done)
    assert left_s == pytest.approx((10_000 - done) / 10, rel=0.2)


def test_estimate_follows_a_rate_that_was_halved(clock: FakeClock) -> None:
    eta, done = Eta(clock), 0
    for second in range(200):
        done += 20 if second < 100 else 10
        clock.now += 1
        left_s = eta.update(done, 6000 - done)
    assert left_s == pytest.approx(300, rel=0.2)


def test_work_that_comes_to_a_standstill_is_not_said_to_be_near_its_end(clock: FakeClock) -> None:
    eta, done = Eta(clock), 0
    for second in range(100):
        done += 100 - second
        clock.now += 1
        left_s = eta.update(done, 5000)
        assert left_s is None or 0 < left_s < 5000
    assert left_s is not None
    assert left_s > 100


def test_nothing_is_claimed_before_there_is_something_to_go_by(clock: FakeClock) -> None:
    eta = Eta(clock)
    for _ in range(60):
        assert eta.update(0, 100) is None
        clock.now += 1
    assert eta.update(4, 96) is None


def test_waiting_for_the_first_trial_is_not_counted_as_slowness(clock: FakeClock) -> None:
    eta = Eta(clock)
    for _ in range(600):
        eta.update(0, 1000)
        clock.now += 1
    for second in range(1, 51):
        left_s = eta.update(second * 10, 1000 - second * 10)
        clock.now += 1
    assert left_s == pytest.approx(50, rel=0.1)


def test_finished_work_takes_no_time(clock: FakeClock) -> None:
    assert Eta(clock).update(0, 0) == 0.0


def test_counts_that_go_back_begin_anew(clock: FakeClock) -> None:
    eta = Eta(clock)
    for done in (0, 50, 100):
        eta.update(done, 100)
        clock.now += 5
    assert eta.update(3, 97) is None


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1000)), max_size=400), st.integers(0, 10**7))
def test_any_history_gives_a_sane_estimate(steps: list[tuple[int, float]], remaining: int) -> None:
    clock, done = FakeClock(), 0
    eta = Eta(clock)
    for more, seconds in steps:
        done += more
        clock.now += seconds
        left_s = eta.update(done, remaining)
        assert left_s is None or 0 <= left_s < float("inf")
