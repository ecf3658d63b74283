"""The backoff formula."""

from __future__ import annotations

import pytest

from providers.retry import Backoff


def test_wait_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_s=0.5, cap_s=3.0, draw=lambda: 1.0)
    assert [backoff.delay_s(attempts) for attempts in (1, 2, 3, 4, 5000)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize(("drawn", "wait_s"), [(0.0, 0.0), (0.25, 0.5), (1.0, 2.0)])
def test_jitter_spreads_over_the_whole_wait(drawn: float, wait_s: float) -> None:
    assert Backoff(base_s=0.5, draw=lambda: drawn).delay_s(3) == wait_s


def test_server_is_given_at_least_the_time_it_asked_for() -> None:
    backoff = Backoff(base_s=0.5, draw=lambda: 1.0)
    assert backoff.delay_s(1, 20.0) == 20.0
    assert backoff.delay_s(4, 1.0) == 4.0
