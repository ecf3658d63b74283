"""Pacing and the adaptive law, in time turned by hand."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition, Event, Thread
from typing import Any

import pytest

from providers.rates import AdaptiveRate, FixedRate, RateLimiter, limiter_for
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


class HiddenLimit:
    """A provider's token bucket of one second's depth."""

    def __init__(self, qps: float, clock: Any) -> None:
        self.qps, self._clock, self._tokens, self._at = qps, clock, qps, clock.now()

    def accepts(self) -> bool:
        now = self._clock.now()
        self._tokens = min(self.qps, self._tokens + (now - self._at) * self.qps)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def ask_for(
    seconds: float, limiter: RateLimiter, hidden: HiddenLimit, clock: Any, latency_s: float = 0.2
) -> list[bool]:
    """Keep asking, answers coming back after a latency; return whether each request was accepted."""
    end, verdicts = clock.now() + seconds, []
    flying: deque[tuple[float, float, bool]] = deque()
    while clock.now() < end:
        limiter.acquire(STOP)
        flying.append((clock.now() + latency_s, clock.now(), hidden.accepts()))
        while flying and flying[0][0] <= clock.now():
            _, sent_at, accepted = flying.popleft()
            verdicts.append(accepted)
            if accepted:
                limiter.on_success(sent_at)
            else:
                limiter.on_rejected(sent_at, None)
    return verdicts


def wait_until(true: Any) -> None:
    for _ in range(5000):
        if true():
            return
        time.sleep(0.001)
    raise AssertionError("it never came to pass")


@pytest.mark.parametrize("rate_mode", ["fixed", "adaptive"])
def test_tokens_come_at_the_stated_rate(clock, rate_mode: str) -> None:
    limiter = limiter_for(8.0, rate_mode, clock)
    began = clock.now()
    waited = sum(limiter.acquire(STOP) for _ in range(81))
    assert clock.now() - began == pytest.approx(10.0)
    assert waited == pytest.approx(10.0)


def test_quiet_time_saves_up_a_quarter_second_and_no_more(clock) -> None:
    limiter = FixedRate(40.0, clock)
    clock.time += 3600
    free = [limiter.acquire(STOP) for _ in range(11)]
    assert free[:10] == [0.0] * 10
    assert free[10] == pytest.approx(1 / 40)


def test_slow_rate_saves_up_one_token(clock) -> None:
    limiter = FixedRate(0.5, clock)
    clock.time += 3600
    assert [round(limiter.acquire(STOP), 6) for _ in range(3)] == [0.0, 2.0, 2.0]


def test_waiting_threads_are_served_in_the_order_they_came() -> None:
    clock, served, stop = SharedClock(), [], Event()
    limiter = FixedRate(1.0, clock)
    limiter.acquire(stop)
    threads = []
    for number in range(20):
        threads.append(Thread(target=lambda number=number: (limiter.acquire(stop), served.append(number)), daemon=True))
        threads[-1].start()
        wait_until(lambda number=number: limiter.waiting == number + 1)
    for number in range(20):
        turns = 0
        while len(served) == number and turns < 200:
            clock.turn(0.1 if clock.now() < number + 1 else 0.0)
            time.sleep(0.001)
            turns += 1
        assert clock.now() == pytest.approx(number + 1)
    wait_until(lambda: len(served) == 20)
    for thread in threads:
        thread.join(5)
    assert served == list(range(20))
    assert limiter.waiting == 0


def test_rate_that_rises_shortens_the_wait_of_those_already_waiting(clock) -> None:
    limiter = AdaptiveRate(0.1, clock)
    limiter.acquire(STOP)
    clock.on_wait = lambda: [limiter.on_success(clock.now()) for _ in range(40)]
    assert limiter.acquire(STOP) < 9.0


def test_rate_that_falls_lengthens_the_wait_of_those_already_waiting(clock) -> None:
    limiter = AdaptiveRate(1.0, clock)
    limiter.acquire(STOP)
    clock.on_wait = lambda: limiter.on_rejected(clock.now() + 0.001, None)
    assert limiter.acquire(STOP) > 1.2


def test_stop_ends_a_wait_at_once(clock) -> None:
    limiter, stop = FixedRate(0.001, clock), Event()
    limiter.acquire(stop)
    clock.on_wait = stop.set
    with pytest.raises(Drained):
        limiter.acquire(stop)
    assert len(clock.waits) == 1
    assert limiter.waiting == 0
    with pytest.raises(Drained):
        limiter.acquire(stop)


def test_stop_wakes_threads_that_sleep_on_the_real_clock() -> None:
    limiter, stop, drained = FixedRate(0.001), Event(), []

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


def test_token_that_would_come_after_the_deadline_is_not_waited_for(clock) -> None:
    limiter = FixedRate(1.0, clock)
    limiter.acquire(STOP)
    with pytest.raises(ProviderError) as caught:
        limiter.acquire(STOP, deadline=clock.now() + 0.5)
    assert (caught.value.kind, clock.waits) == ("rate_limited", [])
    assert limiter.acquire(STOP, deadline=clock.now() + 1.5) == pytest.approx(1.0)


@pytest.mark.parametrize("qps", [0.0, -1.0])
def test_rate_that_would_never_let_anyone_through_is_refused(qps: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        FixedRate(qps)


def test_fixed_rate_stays_whatever_the_provider_answers(clock) -> None:
    limiter = FixedRate(5.0, clock)
    for _ in range(10):
        sent_at = clock.now()
        limiter.acquire(STOP)
        limiter.on_success(sent_at)
        limiter.on_rejected(clock.now(), 60.0)
        limiter.on_failure(clock.now())
    assert (limiter.limit_qps, limiter.reason) == (5.0, "fixed")


def test_adaptive_rate_grows_from_tens_to_tens_of_requests_within_seconds_and_has_no_bound(clock) -> None:
    limiter = AdaptiveRate(10.0, clock)
    ask_for(15, limiter, HiddenLimit(1e9, clock), clock)
    assert 30 < limiter.limit_qps < 60
    ask_for(120, limiter, HiddenLimit(1e9, clock), clock)
    assert limiter.limit_qps > 300
    assert "raised" in limiter.reason


def test_adaptive_rate_does_not_grow_while_it_is_not_used(clock) -> None:
    limiter = AdaptiveRate(10.0, clock)
    for _ in range(500):
        clock.time += 1.0
        limiter.acquire(STOP)
        limiter.on_success(clock.now())
    assert limiter.limit_qps == 10.0


def test_failures_of_other_kinds_neither_raise_nor_cut(clock) -> None:
    limiter = AdaptiveRate(10.0, clock)
    for _ in range(50):
        limiter.acquire(STOP)
        limiter.on_failure(clock.now())
    assert limiter.limit_qps == 10.0
    assert limiter.reason == "start value 10.0/s"


def test_burst_of_refusals_cuts_once(clock) -> None:
    limiter = AdaptiveRate(100.0, clock)
    sent = [clock.now() + place * 0.01 for place in range(30)]
    clock.time += 1.0
    for sent_at in sent:
        limiter.on_rejected(sent_at, None)
    assert limiter.limit_qps == pytest.approx(70.0)
    assert limiter.reason == "cut from 100.0 to 70.0/s, after a 429"
    clock.time += 1.0
    limiter.on_rejected(clock.now() - 0.5, None)
    assert limiter.limit_qps == pytest.approx(49.0)


def test_answer_to_a_request_from_before_the_cut_does_not_raise(clock) -> None:
    limiter = AdaptiveRate(10.0, clock)
    limiter.acquire(STOP)
    sent_at = clock.now()
    clock.time += 0.05
    limiter.on_rejected(sent_at, None)
    limiter.on_success(sent_at)
    assert limiter.limit_qps == pytest.approx(7.0)


def test_rate_never_falls_to_a_standstill(clock) -> None:
    limiter = AdaptiveRate(5.0, clock)
    for _ in range(200):
        clock.time += 1.0
        limiter.on_rejected(clock.now(), 60.0)
        clock.time += 1.0
    assert limiter.limit_qps == pytest.approx(0.1)


@pytest.mark.parametrize(("start", "hidden"), [(10.0, 20.0), (10.0, 5.0), (200.0, 20.0), (5.0, 50.0)])
def test_adaptive_rate_settles_near_a_hidden_limit(clock, start: float, hidden: float) -> None:
    limiter, limit = AdaptiveRate(start, clock), HiddenLimit(hidden, clock)
    ask_for(60, limiter, limit, clock)
    verdicts = ask_for(120, limiter, limit, clock)
    assert sum(verdicts) / 120 / hidden > 0.75
    assert verdicts.count(False) / len(verdicts) < 0.06


def test_adaptive_rate_follows_a_limit_that_falls_and_rises(clock) -> None:
    limiter = AdaptiveRate(10.0, clock)
    used = []
    for hidden in (20.0, 6.0, 30.0):
        limit = HiddenLimit(hidden, clock)
        ask_for(60, limiter, limit, clock)
        used.append(sum(ask_for(60, limiter, limit, clock)) / 60 / hidden)
    assert min(used) > 0.7
