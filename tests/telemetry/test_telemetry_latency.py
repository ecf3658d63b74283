from __future__ import annotations

import threading
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pseudo_terminal import FakeClock

from telemetry.latency import LONGEST_MS, RELATIVE_ERROR, LatencyHistogram, RateMeter


@given(st.lists(st.floats(1, LONGEST_MS), min_size=1), st.floats(0, 100))
def test_percentile_is_within_two_percent_of_the_exact_one(values: list[float], q: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(1, ceil(q / 100 * len(values))) - 1]
    assert histogram.percentile(q) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)


def test_what_is_out_of_range_counts_as_the_nearest_end() -> None:
    for value, shown in ((0.0, 1.0), (-5.0, 1.0), (float("nan"), 1.0), (1e12, LONGEST_MS), (float("inf"), LONGEST_MS)):
        histogram = LatencyHistogram()
        histogram.record(value)
        assert histogram.percentile(50) == pytest.approx(shown, rel=RELATIVE_ERROR)


def test_nothing_recorded_is_zero_and_no_percentile_is_refused() -> None:
    assert LatencyHistogram().percentile(99) == 0.0
    with pytest.raises(ValueError, match="between 0 and 100"):
        LatencyHistogram().percentile(101)


@given(st.lists(st.floats(1, 1e6)), st.lists(st.floats(1, 1e6)), st.floats(0, 100))
def test_merged_histograms_equal_one_of_all_values(left: list[float], right: list[float], q: float) -> None:
    parts = [LatencyHistogram(), LatencyHistogram()]
    whole = LatencyHistogram()
    for part, values in zip(parts, (left, right), strict=True):
        for value in values:
            part.record(value)
            whole.record(value)
    parts[0].merge(parts[1])
    assert parts[0].percentile(q) == whole.percentile(q)
    assert len(parts[0]) == len(left) + len(right)


def test_no_count_is_lost_between_threads() -> None:
    histogram = LatencyHistogram()
    threads = [
        threading.Thread(target=lambda: [histogram.record(ms) for ms in range(1, 5001)] and None) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(histogram) == 20_000


def test_rate_is_that_of_the_last_seconds(clock: FakeClock) -> None:
    meter = RateMeter(5.0, clock)
    for tenth in range(400):
        meter.record(1 if tenth < 200 else 3)
        clock.now += 0.1
    assert meter.rate() == pytest.approx(30, rel=0.02)


def test_rate_falls_to_nothing_when_nothing_happens(clock: FakeClock) -> None:
    meter = RateMeter(5.0, clock)
    meter.record(100)
    clock.now += 6
    assert meter.rate() == 0.0


def test_first_seconds_are_not_thinned_by_a_window_that_has_not_passed(clock: FakeClock) -> None:
    meter = RateMeter(5.0, clock)
    for _ in range(20):
        clock.now += 0.1
        meter.record()
    assert meter.rate() == pytest.approx(10, rel=0.1)


def test_one_first_event_is_no_storm(clock: FakeClock) -> None:
    meter = RateMeter(5.0, clock)
    meter.record()
    assert meter.rate() <= 1.0
