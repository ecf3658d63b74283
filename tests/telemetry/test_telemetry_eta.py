from __future__ import annotations

from collections.abc import Callable

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
