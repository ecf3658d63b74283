"""Injected faults: which requests meet one, and what a client sees of each."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from running_simulators import until

from simulator.asked import Asked, Identity
from simulator.faults import KINDS, FaultPlan, fault_rates


def asked(trial: str, turn: int = 0) -> Asked:
    identity = Identity(trial_key=trial, task_id="", epoch=0, seed=42, model="m")
    return Asked(key="k", deployment="m", identity=identity, messages=(), tools=(), turn=turn)


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [("429", 429, "1"), ("429-bare", 429, None), ("500", 500, None), ("503", 503, None)],
)
def test_fault_with_a_status_has_openais_error_shape(
    launch: Callable[..., Any], kind: str, status: int, retry_after: str | None
) -> None:
    server = launch("--fault", f"{kind}=1")
    reply = server.ask()
    assert reply.status == status
    assert reply.headers.get("retry-after") == retry_after
    assert reply.value["error"]["message"]
    assert server.stats()["by_answer"] == {f"fault-{kind}": 1}
    assert server.stats()["served"] == 0


@pytest.mark.parametrize(("kind", "content_type"), [("non-json", "application/json"), ("html", "text/html")])
def test_unreadable_body_comes_with_status_200(launch: Callable[..., Any], kind: str, content_type: str) -> None:
    server = launch("--fault", f"{kind}=1")
    reply = server.ask()
    assert reply.status == 200
    assert reply.headers["content-type"].startswith(content_type)
    with pytest.raises(ValueError):  # noqa: PT011 (whatever the JSON reader says)
        _ = reply.value
    assert server.stats()["served"] == 0


def test_truncated_body_ends_before_its_content_length(launch: Callable[..., Any]) -> None:
    server = launch("--fault", "truncated=1")
    with pytest.raises(http.client.IncompleteRead) as caught:
        server.ask()
    assert caught.value.partial
    assert server.stats()["by_answer"] == {"fault-truncated": 1}


def test_cut_connection_is_reset_before_or_within_the_body(launch: Callable[..., Any]) -> None:
    server = launch("--fault", "cut=1")
    for number in range(12):
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            server.ask(f"trial-{number}")
    stats = server.stats()
    assert stats["by_answer"] == {"fault-cut": 12}
    assert stats["in_flight"] == 0


def test_hanging_request_never_answers_and_is_let_go_with_its_client(launch: Callable[..., Any]) -> None:
    server = launch("--fault", "hang=1")
    with pytest.raises(TimeoutError):
        server.ask(timeout=0.3)
    until(lambda: server.stats()["in_flight"] == 0)
    assert server.stats()["by_answer"] == {"fault-hang": 1}


def test_hanging_request_is_dropped_after_its_time(launch: Callable[..., Any]) -> None:
    server = launch("--fault", "hang=1", "--hang-s", "0.05")
    with pytest.raises(ConnectionError):
        server.ask()


def test_retries_get_through_and_every_answer_is_accounted_for(launch: Callable[..., Any]) -> None:
    server = launch("--fault-rate", "0.5", "--fault", "hang=0", "--fault", "cut=0")
    for number in range(20):
        for _attempt in range(40):
            try:
                if "choices" in server.ask(f"trial-{number}").value:
                    break
            except (ValueError, http.client.IncompleteRead):
                continue
        else:
            pytest.fail("no attempt got through")
    stats = server.stats()
    assert stats["served"] == 20
    assert stats["repeated"] == 0
    assert sum(stats["by_answer"].values()) == stats["requests"]
    assert len(stats["by_answer"]) > 4


def test_the_same_requests_meet_the_same_faults_in_any_order() -> None:
    rates = fault_rates(0.4, {})
    requests = [asked(f"t{number}", turn) for number in range(50) for turn in range(3)]
    forwards, backwards = FaultPlan(rates), FaultPlan(rates)
    drawn = [forwards.draw(one) for one in requests]
    assert list(reversed([backwards.draw(one) for one in reversed(requests)])) == drawn
    assert [forwards.draw(one) for one in requests] != drawn


def test_kinds_come_at_their_rates() -> None:
    plan = FaultPlan(fault_rates(0.45, {"hang": 0.2}))
    drawn = Counter(plan.draw(asked(f"t{number}")) for number in range(20_000))
    for kind in KINDS:
        assert drawn[kind] / 20_000 == pytest.approx(0.2 if kind == "hang" else 0.05, abs=0.01)


def test_no_rate_means_no_fault() -> None:
    plan = FaultPlan(fault_rates(0.0, {}))
    assert {plan.draw(asked(f"t{number}")) for number in range(1000)} == {None}
