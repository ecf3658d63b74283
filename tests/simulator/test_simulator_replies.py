"""Replies over HTTP: the same decisions as in process, in the model's dialect, whoever asks and in whatever order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from played_trials import CELL, decisions, play, trial_of, workload
from running_simulators import running_servers

from simulator.asked import Asked, Identity
from simulator.latency import Latency
from simulator.models import Skill
from trials.words import Completion, Message, ToolCall, Trial
from workflows.dialects import DIALECTS
from workflows.parsing import parse_reply
from workflows.prompts import native_tools, opening

FAIR = Skill(p_right=0.8, p_follow=0.8, p_recover=0.7, p_arguments=0.9)
ENTRY = "[{name}]\np_right = 0.8\np_follow = 0.8\np_recover = 0.7\np_arguments = 0.9\ndialect = '{name}'\n"


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A simulator with one model of equal skill per dialect, named like it."""
    path: Path = tmp_path_factory.mktemp("models") / "models.toml"
    path.write_text("".join(ENTRY.format(name=name) for name in DIALECTS))
    with running_servers() as start:
        yield start("--model-file", str(path))


def ask(server: Any, trial: Trial | None, model: str, messages: Sequence[Message], **more: Any) -> dict[str, Any]:
    """Send one request as the runner does or, without a trial, as any client would."""
    headers = {"Authorization": "Bearer sim-key"}
    if trial is not None:
        who = {"key": trial.trial_key, "task": trial.task_id, "epoch": trial.epoch, "seed": 42, "model": model}
        headers["x-simulated-trial"] = json.dumps(who)
    reply = server.send("POST", "/v1/chat/completions", {"model": model, "messages": messages, **more}, headers)
    assert reply.status == 200
    value: dict[str, Any] = reply.value
    return value


def read(reply: dict[str, Any]) -> Completion:
    message = reply["choices"][0]["message"]
    functions = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
    if "function_call" in message:
        functions.append(("", message["function_call"]))
    calls = tuple(ToolCall(id=id_, name=one["name"], arguments=one["arguments"]) for id_, one in functions)
    return Completion(text=message["content"] or "", tool_calls=calls)


@pytest.mark.parametrize("protocol", ["tags", "native"])
def test_trial_over_http_goes_as_in_process_in_every_dialect(speaking: Any, protocol: str) -> None:
    cell = replace(CELL, task_type="multi_stage_pipeline", tool_protocol=protocol)
    for instance, dialect in enumerate(DIALECTS):
        trial = trial_of(cell, instance)

        def chat(messages: Any, tools: Any = None, trial: Trial = trial, dialect: str = dialect) -> Completion:
            return read(ask(speaking, trial, dialect, messages, **({"tools": tools} if tools else {})))

        over_http = workload().run(trial, chat)
        assert decisions(over_http) == decisions(play(trial, FAIR)), dialect
        assert over_http.outcome == play(trial, FAIR).outcome


def test_client_without_trial_header_is_answered_on_the_task_of_its_prompt(speaking: Any) -> None:
    trial = trial_of(CELL, 0)
    task = workload().library.get(trial.task_id)
    messages = opening(task, CELL)
    completion = read(ask(speaking, None, "tag", messages))
    (request,) = parse_reply(completion, "tags").requests
    assert request.name in task.toolset


def test_client_with_another_question_gets_plain_words(speaking: Any) -> None:
    reply = ask(speaking, None, "tag", [{"role": "user", "content": "What is the capital of France?"}])
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert parse_reply(read(reply), "tags").requests == ()


def test_same_request_has_the_same_reply_whatever_came_between(speaking: Any) -> None:
    trials = [trial_of(CELL, instance) for instance in range(4)]
    openings = [opening(workload().library.get(trial.task_id), CELL) for trial in trials]

    def ask_all(order: Sequence[int]) -> dict[int, Any]:
        return {number: ask(speaking, trials[number], "tag", openings[number]) for number in order}

    forwards, backwards = ask_all(range(4)), ask_all(range(3, -1, -1))
    for number in range(4):
        for name in ("id", "choices", "usage", "model"):
            assert forwards[number][name] == backwards[number][name]


def test_offered_functions_are_called_natively_and_tags_in_the_dialect(speaking: Any) -> None:
    trial = trial_of(CELL, 0)
    task = workload().library.get(trial.task_id)
    native = replace(CELL, tool_protocol="native")
    reply = ask(speaking, trial, "pythonic", opening(task, native), tools=native_tools(task, native))
    assert reply["choices"][0]["finish_reason"] == "tool_calls"
    assert reply["choices"][0]["message"]["tool_calls"][0]["type"] == "function"
    in_text = ask(speaking, trial, "pythonic", opening(task, CELL))["choices"][0]
    assert in_text["finish_reason"] == "stop"
    assert in_text["message"]["content"].startswith("[")
    older = ask(speaking, trial, "function_call", opening(task, CELL))["choices"][0]
    assert older["finish_reason"] == "function_call"


def test_usage_grows_with_the_conversation(speaking: Any) -> None:
    short = ask(speaking, None, "tag", [{"role": "user", "content": "x" * 400}])["usage"]
    long = ask(speaking, None, "tag", [{"role": "user", "content": "x" * 4000}])["usage"]
    assert (short["prompt_tokens"], long["prompt_tokens"]) == (100, 1000)
    assert short["completion_tokens"] == long["completion_tokens"] > 0


def asked(trial: str, turn: int = 0) -> Asked:
    identity = Identity(trial_key=trial, task_id="", epoch=0, seed=42, model="m")
    return Asked(key="k", deployment="m", identity=identity, messages=(), tools=(), turn=turn)


def test_latency_has_the_mean_asked_for_and_belongs_to_the_request() -> None:
    latency = Latency(mean_s=0.2, sigma=0.5)
    drawn = [latency.draw_s(asked(f"t{number}")) for number in range(5000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.2, rel=0.03)
    assert latency.draw_s(asked("t7")) == drawn[7] != latency.draw_s(asked("t7", turn=1))
    assert Latency(mean_s=0, sigma=0.5).draw_s(asked("t7")) == 0
    assert Latency(mean_s=0.2, sigma=0).draw_s(asked("t7")) == pytest.approx(0.2)
