"""The line of threads before a rate control: order, ends, and what is shown; in time turned by hand."""

from __future__ import annotations

import time
from threading import Condition, Event, Thread
from typing import Any

import pytest

from providers.rate_control import FAILED, OK, REJECTED, Change
from providers.rates import RateLimiter, limiter_for
from trials.errors import Drained, ProviderError

STOP = Event()


class SharedClock:
    """Stands still until it is turned; many threads may wait on it."""

    def __init__(self) -> None:
        self._time = 0.0
        self._turned = Condition()

    def now(self) -> float:
        return self._time

    def wait(self, stop: Event, seconds: float) -> bool:
        with self._turned:
            due = self._time + seconds
            while self._time < due - 1e-9:
                self._turned.wait(5)
        return stop.is_set()

    def turn(self, seconds: float) -> None:
        with self._turned:
            self._time += seconds
            self._turned.notify_all()


def fixed(qps: float, clock: Any = None) -> RateLimiter:
    return limiter_for(qps, "fixed", clock)


def wait_until(true: Any) -> None:
    for _ in range(5000):
        if true():
            return
        time.sleep(0.001)


def waits_of(count: int, limiter: RateLimiter) -> list[float]:
    return [limiter.acquire(STOP).waited_s for _ in range(count)]


@pytest.mark.parametrize("mode", ["adaptive", "fixed"])
def test_start_value_is_paced_from_the_first_request_on(clock, mode: str) -> None:
    assert waits_of(4, limiter_for(10.0, mode, clock)) == pytest.approx([0.0, 0.1, 0.1, 0.1], abs=0.02)


def test_quiet_scope_saves_up_a_quarter_of_a_second(clock) -> None:
    limiter = fixed(40.0, clock)
    clock.time += 3600
    waits = waits_of(11, limiter)
    assert waits[:10] == [0.0] * 10
    assert waits[10] == pytest.approx(1 / 40)


def test_slow_rate_saves_up_one_request(clock) -> None:
    limiter = fixed(0.5, clock)
    clock.time += 3600
    assert waits_of(3, limiter) == pytest.approx([0.0, 2.0, 2.0])


def test_waiting_threads_are_served_in_the_order_they_came() -> None:
    clock, served, stop = SharedClock(), [], Event()
    limiter = fixed(1.0, clock)
    limiter.acquire(stop)
    threads = []
    for number in range(20):
        threads.append(Thread(target=lambda number=number: (limiter.acquire(stop), served.append(number)), daemon=True))
        threads[-1].start()
        wait_until(lambda number=number: limiter.waiting == number + 1)
    for number in range(20):
        turns = 0
        while len(served) == number and turns < 2000:
            clock.turn(0.05 if clock.now() < number + 1 - 1e-6 else 0.0)
            time.sleep(0.001)
            turns += 1
        assert clock.now() == pytest.approx(number + 1)
    for thread in threads:
        thread.join(5)
    assert served == list(range(20))
    assert limiter.waiting == 0


def test_rate_that_falls_lengthens_the_wait_of_who_already_waits(clock) -> None:
    limiter = limiter_for(1.0, "adaptive", clock)
    first = limiter.acquire(STOP)

    def refuse_once() -> None:
        clock.on_wait = lambda: None
        limiter.settle(first, REJECTED)

    clock.on_wait = refuse_once
    assert limiter.acquire(STOP).waited_s > 1.5


def test_rate_that_rises_shortens_the_wait_of_who_already_waits(clock) -> None:
    limiter = limiter_for(0.01, "adaptive", clock)
    limiter.acquire(STOP)
    assert limiter.acquire(STOP).waited_s < 20


def test_stop_ends_a_wait_at_once(clock) -> None:
    limiter, stop = fixed(0.001, clock), Event()
    limiter.acquire(stop)
    clock.on_wait = stop.set
    with pytest.raises(Drained):
        limiter.acquire(stop)
    assert len(clock.waits) == 1
    assert limiter.waiting == 0
    with pytest.raises(Drained):
        limiter.acquire(stop)


def test_stop_lets_everyone_in_line_go() -> None:
    limiter, stop, drained = fixed(0.001), Event(), []

    def wait() -> None:
        try:
            limiter.acquire(stop)
        except Drained:
            drained.append(1)

    limiter.acquire(stop)
    threads = [Thread(target=wait, daemon=True) for _ in range(50)]
    for thread in threads:
        thread.start()
    wait_until(lambda: limiter.waiting == 50)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert len(drained) == 50


def test_line_gives_up_when_nothing_but_429s_came_for_as_long_as_it_is_patient(clock) -> None:
    limiter = limiter_for(10.0, "adaptive", clock)
    began = clock.now()
    asked = []

    def ask() -> None:
        for _ in range(1000):
            permit = limiter.acquire(STOP, patience_s=100.0, began=began)
            asked.append(permit)
            clock.time += 0.1
            limiter.settle(permit, REJECTED)

    with pytest.raises(ProviderError) as caught:
        ask()
    assert caught.value.kind == "rate_limited"
    assert 100 <= clock.now() - began < 130
    assert len(asked) < 40


def test_slow_pace_is_no_reason_to_give_up(clock) -> None:
    limiter = fixed(0.01, clock)
    waits = [limiter.acquire(STOP, patience_s=5.0).waited_s for _ in range(3)]
    assert waits == pytest.approx([0.0, 100.0, 100.0])


@pytest.mark.parametrize("qps", [0.0, -1.0, float("nan"), float("inf")])
def test_rate_that_is_none_is_refused(qps: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        fixed(qps)


def test_fixed_rate_stays_whatever_the_provider_answers(clock) -> None:
    limiter = fixed(5.0, clock)
    for outcome in (OK, REJECTED, FAILED) * 5:
        limiter.settle(limiter.acquire(STOP), outcome)
    assert (limiter.limit_qps, limiter.reason) == (5.0, "fixed")


def test_changes_are_told_in_words_as_they_happen(clock) -> None:
    changes: list[Change] = []
    limiter = limiter_for(10.0, "adaptive", clock, on_change=changes.append)
    for _ in range(8):
        limiter.settle(limiter.acquire(STOP), OK)
    limiter.settle(limiter.acquire(STOP), REJECTED)
    assert [change.reason.split()[0] for change in changes][:1] == ["start"]
    assert changes[-1].reason.startswith("cut from ")
    assert changes[-1].reason.endswith("/s, after a 429")
    assert changes[-1].rate == limiter.limit_qps
    assert limiter.reason == changes[-1].reason


def test_one_request_can_be_called_back_from_the_middle_of_the_line() -> None:
    limiter, stop, ends = fixed(0.001), Event(), []
    stops = [Event() for _ in range(5)]
    limiter.acquire(stop)

    def wait(number: int) -> None:
        with pytest.raises(Drained):
            limiter.acquire(stops[number])
        ends.append(number)

    threads = [Thread(target=wait, args=(number,), daemon=True) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        wait_until(lambda number=number: limiter.waiting == number + 1)
    stops[3].set()
    limiter.recheck()
    threads[3].join(20)
    assert ends == [3]
    assert limiter.waiting == 4
    stops[0].set()  # the one who leads the line for the others
    threads[0].join(20)
    assert ends == [3, 0]
    for one in stops:
        one.set()
    limiter.recheck()
    for thread in threads:
        thread.join(20)
    assert limiter.waiting == 0
