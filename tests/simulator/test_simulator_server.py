"""The server as a client sees it: routes, keys, refusals and counts."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from running_simulators import until

from simulator.ledger import key_name

HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello."}]}
BEARER = {"Authorization": "Bearer sim-key"}
AZURE = "/openai/deployments/any-name-2/chat/completions"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/agent/v3/chat/completions", "/chat/completions"])
def test_any_prefix_of_the_openai_form_answers(plain: Any, path: str) -> None:
    reply = plain.send("POST", path, HELLO, BEARER)
    assert reply.status == 200
    choice = reply.value["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    usage = reply.value["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_azure_form_takes_any_deployment_and_its_own_key_header(launch: Callable[..., Any]) -> None:
    server = launch()
    path = AZURE + "?api-version=2024-10-21"
    assert server.send("POST", path, {"messages": HELLO["messages"]}, {"api-key": "k"}).status == 200
    assert server.send("POST", path, {"messages": HELLO["messages"]}, BEARER).status == 401
    assert server.send("POST", AZURE, {"messages": HELLO["messages"]}, {"api-key": "k"}).status == 404
    assert server.stats()["by_deployment"] == {"any-name-2": 1}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer "}])
def test_request_without_a_key_is_refused_in_openais_shape(plain: Any, headers: dict[str, str]) -> None:
    reply = plain.send("POST", "/v1/chat/completions", HELLO, headers)
    assert reply.status == 401
    assert reply.value["error"]["code"] == "invalid_api_key"


def test_denied_keys_and_models_are_refused_and_others_are_not(launch: Callable[..., Any]) -> None:
    server = launch("--deny-key", "bad", "--deny-model", "gone")
    assert server.ask(key="bad").status == 401
    assert server.ask(model="gone").status == 404
    assert server.ask().status == 200


MALFORMED = [
    b"{",
    b"[]",
    b"{}",
    b'{"model":"m","messages":[]}',
    b'{"model":"m","messages":["x"]}',
    b'{"model":"m","messages":[{"content":"x"}]}',
    b'{"messages":[{"role":"user","content":"x"}]}',
    b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}',
]


@pytest.mark.parametrize("body", MALFORMED)
def test_malformed_request_is_told_as_400(plain: Any, body: bytes) -> None:
    reply = plain.send("POST", "/v1/chat/completions", body, BEARER)
    assert reply.status == 400
    assert reply.value["error"]["message"]


@pytest.mark.parametrize(
    "header", ["x", "[]", '{"key": "k"}', '{"key":"k","task":"t","epoch":"z","seed":1,"model":"m"}']
)
def test_malformed_trial_header_is_told_as_400(plain: Any, header: str) -> None:
    reply = plain.send("POST", "/v1/chat/completions", HELLO, {**BEARER, "x-simulated-trial": header})
    assert reply.status == 400


def test_odd_message_contents_are_read(plain: Any) -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "Hello."}, {"type": "image_url"}]}
    messages = [parts, {"role": "assistant", "content": None, "tool_calls": 5}, {"role": "tool", "content": "[3"}]
    reply = plain.send("POST", "/v1/chat/completions", {"model": "m", "messages": messages}, BEARER)
    assert reply.status == 200


def test_models_and_health_answer_without_a_key(plain: Any) -> None:
    names = [one["id"] for one in plain.send("GET", "/v1/models").value["data"]]
    assert "qwen2.5-72b-instruct" in names
    assert "default" not in names
    assert plain.send("GET", "/healthz").status == 200
    assert plain.send("GET", "/nothing").status == 404


def test_stats_tell_repeats_by_trial_and_turn(launch: Callable[..., Any]) -> None:
    server = launch()
    for trial, turn in [("a", 0), ("a", 1), ("a", 1), ("b", 0), ("b", 0), ("b", 0)]:
        server.ask(trial, turn=turn)
    stats = server.stats(with_trials=True)
    assert (stats["requests"], stats["served"], stats["repeated"], stats["trials"]) == (6, 6, 3, 2)
    assert stats["by_trial"]["a"] == {"requests": 3, "served": 3, "repeated": 1}
    assert "by_trial" not in server.stats()


def test_stats_never_show_a_key(launch: Callable[..., Any]) -> None:
    server = launch()
    server.ask(key="sim-secret-value")
    server.send("POST", "/v1/chat/completions", HELLO)
    reply = server.send("GET", "/stats?trials=1")
    assert reply.value["by_key"] == {key_name("sim-secret-value"): 1, "none": 1}
    assert b"secret" not in reply.body


def test_refused_requests_are_counted_and_not_served(launch: Callable[..., Any]) -> None:
    server = launch("--deny-key", "bad")
    server.ask(key="bad")
    server.ask()
    stats = server.stats()
    assert stats["by_answer"] == {"401": 1, "200": 1}
    assert (stats["requests"], stats["served"], stats["in_flight"]) == (2, 1, 0)


def test_reset_starts_all_counts_anew(launch: Callable[..., Any]) -> None:
    server = launch()
    server.ask()
    assert server.send("POST", "/stats/reset").status == 200
    stats = server.stats(with_trials=True)
    assert (stats["requests"], stats["served"], stats["by_answer"], stats["by_trial"]) == (0, 0, {}, {})


def test_client_that_gives_up_leaves_nothing_in_flight_and_is_not_served(launch: Callable[..., Any]) -> None:
    server = launch("--latency", "300", "--latency-sigma", "0")
    body = json.dumps(HELLO).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Authorization: Bearer k", f"Content-Length: {len(body)}"]
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        until(lambda: server.stats()["in_flight"] == 1)
    until(lambda: server.stats()["in_flight"] == 0)
    stats = server.stats()
    assert stats["by_answer"] == {"abandoned": 1}
    assert (stats["requests"], stats["served"], stats["max_in_flight"]) == (1, 0, 1)
