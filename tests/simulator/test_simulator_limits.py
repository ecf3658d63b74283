"""Hidden limits, with a clock that the test turns; and the 429 that a client sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.asked import Asked, Identity
from simulator.limits import Limits, TokenBuckets, named, per_key_and_deployment, retry_after_headers


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(key: str = "k", deployment: str = "d") -> Asked:
    identity = Identity(trial_key="t", task_id="", epoch=0, seed=42, model="m")
    return Asked(key=key, deployment=deployment, identity=identity, messages=(), tools=(), turn=0)


def test_bucket_admits_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    limits = Limits([TokenBuckets(10, 5, per_key_and_deployment)], clock)
    assert [limits.admit(asked()) for _ in range(5)] == [None] * 5
    assert limits.admit(asked()) == pytest.approx(0.1)
    admitted = 0
    for tick in range(1, 1001):
        clock.now = tick / 100
        admitted += limits.admit(asked()) is None
    assert admitted == pytest.approx(100, abs=1)


def test_waiting_as_long_as_told_is_long_enough_and_less_is_not() -> None:
    clock = Clock()
    limits = Limits([TokenBuckets(4, 1, per_key_and_deployment)], clock)
    assert limits.admit(asked()) is None
    wait_s = limits.admit(asked())
    assert wait_s is not None
    clock.now = wait_s * 0.9
    assert limits.admit(asked()) is not None
    clock.now = wait_s * 1.001
    assert limits.admit(asked()) is None


def test_each_key_on_each_deployment_has_its_own_bucket() -> None:
    limits = Limits([TokenBuckets(1, 1, per_key_and_deployment)], Clock())
    pairs = [("k1", "d1"), ("k1", "d2"), ("k2", "d1")]
    assert [limits.admit(asked(*pair)) for pair in pairs] == [None] * 3
    assert all(limits.admit(asked(*pair)) is not None for pair in pairs)


def test_named_limit_is_joint_over_what_it_names_and_leaves_the_rest_alone() -> None:
    limits = Limits([TokenBuckets(1, 1, named("k1")), TokenBuckets(1, 1, named("d9"))], Clock())
    assert limits.admit(asked("k1", "d1")) is None
    assert limits.admit(asked("k1", "d2")) is not None
    assert limits.admit(asked("k2", "d9")) is None
    assert limits.admit(asked("k3", "d9")) is not None
    assert [limits.admit(asked("k2", "d1")) for _ in range(9)] == [None] * 9


def test_retry_after_is_absent_right_or_claimed() -> None:
    assert retry_after_headers(0.25, "none") == {}
    assert retry_after_headers(0.25, "right") == {"Retry-After": "1", "retry-after-ms": "250"}
    assert retry_after_headers(0.25, "60") == {"Retry-After": "60"}


def test_server_answers_429_above_the_hidden_limit(launch: Callable[..., Any]) -> None:
    server = launch("--limit-qps", "0.001", "--limit-burst-s", "2000", "--retry-after", "7")
    replies = [server.ask(f"trial-{number}") for number in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].headers["retry-after"] == "7"
    assert replies[2].value["error"]["code"] == "rate_limit_exceeded"
    assert server.ask(key="another").status == 200
    assert server.stats()["by_answer"] == {"200": 3, "429": 1}


def test_server_takes_limits_by_name(launch: Callable[..., Any]) -> None:
    server = launch("--limit", "slow-key=0.001", "--limit-burst-s", "1000")
    assert [server.ask(key="slow-key").status for _ in range(2)] == [200, 429]
    assert [server.ask(key="other").status for _ in range(2)] == [200, 200]
