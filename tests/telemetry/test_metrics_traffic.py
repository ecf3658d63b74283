"""What a shard counts: bounds, sums that never fall, reasons of limits, and counts under many threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from providers.rate_control import FAILED, REJECTED, RateControl
from providers.rate_control import OK as ADMITTED
from providers.rate_hints import TOKENS, Hints
from telemetry.attempts import Meter
from telemetry.traffic import CALL_BOUNDS_S, OTHER, REASONS, SLOW_S, Histogram, Traffic, reason_label
from trials.words import Completion


@dataclass
class Seen:
    kind: str = "ok"
    status: int | None = 200
    latency_ms: float = 100.0
    rate_wait_ms: float = 5.0

    def request_text(self) -> str:
        return ""

    def reply_text(self) -> str:
        return ""


def test_a_value_at_a_bound_is_below_it():
    histogram = Histogram((1.0, 2.0))
    for value in (0.0, 1.0, 1.01, 2.0, 3.0):
        histogram.record(value)
    assert histogram.to_json() == {"counts": [2, 2, 1], "sum": pytest.approx(7.01)}


def test_bounds_rise_and_hold_the_threshold_of_the_alert():
    assert list(CALL_BOUNDS_S) == sorted(set(CALL_BOUNDS_S))
    assert SLOW_S in CALL_BOUNDS_S


def test_a_clock_that_steps_back_makes_no_sum_fall():
    histogram = Histogram((1.0,))
    histogram.record(-5.0)
    assert histogram.to_json() == {"counts": [1, 0], "sum": 0.0}


def test_attempts_of_many_threads_are_all_counted():
    meter = Meter(None)

    def work() -> None:
        for _ in range(500):
            meter.seen(Seen())
            meter.seen(Seen(kind="timeout", status=None))
            meter.answered(Completion(text="", prompt_tokens=3, completion_tokens=2))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = meter.traffic()
    assert {kind: sum(one["counts"]) for kind, one in told["calls"].items()} == {"ok": 4000, "timeout": 4000}
    assert sum(told["limiter"]["counts"]) == meter.requests == 8000
    assert told["tokens"]["input"]["sum"] == 12_000
    assert told["tokens"]["output"]["sum"] == 8_000


def test_a_cached_reply_is_no_usage_of_tokens():
    meter = Meter(None)
    meter.answered(Completion(text="", prompt_tokens=3, completion_tokens=2, cached=True))
    assert meter.traffic()["tokens"]["input"]["sum"] == 0


def test_cost_is_told_once_a_price_is_known():
    traffic = Traffic()
    traffic.answered(1, 1)
    assert "cost_usd" not in traffic.to_json()
    traffic.answered(1, 1, 0.5)
    traffic.answered(1, 1, 0.25)
    assert traffic.to_json()["cost_usd"] == 0.75


def test_words_that_nobody_knows_are_other():
    assert reason_label("the moon is full") == OTHER
    assert OTHER in REASONS


def test_every_reason_that_the_rate_control_gives_has_a_label():
    """Its words are for people, and may change: then this says that the labels have to follow."""
    changes = []
    now = 0.0

    def run(control: RateControl, ends: list[tuple[str, Hints]]) -> None:
        nonlocal now
        for outcome, hints in ends:
            waited_from = now
            while not hasattr(permit := control.try_acquire(now, 50.0), "number") and now < waited_from + 30:
                now += 0.05
            if not hasattr(permit, "number"):
                return
            now += 0.02
            control.settle(now, permit, outcome, hints, tokens=40.0)

    told = Hints(requests_per_s=3.0)
    for adaptive in (True, False):
        control = RateControl(20.0, now, adaptive=adaptive, on_change=changes.append)
        run(control, [(ADMITTED, Hints())] * 200 + [(REJECTED, Hints())] * 3 + [(ADMITTED, Hints())] * 100)
        run(control, [(ADMITTED, told)] * 5 + [(FAILED, Hints())] * 60 + [(ADMITTED, Hints())] * 60)
        run(control, [(REJECTED, Hints(cause=TOKENS))] * 3 + [(ADMITTED, Hints())] * 20)
        run(control, [(REJECTED, Hints(cause="concurrency"))] * 3 + [(ADMITTED, Hints())] * 20)
        run(control, [(REJECTED, Hints())] * 60 + [(ADMITTED, Hints())] * 60)
        control.go_on(now)
        run(control, [(ADMITTED, Hints())] * 5)
    found = {reason_label(change.reason) for change in changes}
    assert OTHER not in found, [one.reason for one in changes if reason_label(one.reason) == OTHER]
    assert {"start", "unrefused", "refused", "outage", "failures", "fixed"} <= found, found
