"""The spans of one trial: their tree, what stands on them, and what never does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from otlp_receiver import CLIENT, ERROR, Receiver, receiving
from traced_trials import KEY, REPLY, ROW, TRIAL, failed, run_trial, tracer

from telemetry.trace_content import TEXT_CHARS
from trials.errors import Drained
from trials.words import ToolCall

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def test_a_trial_is_a_trace_of_turns_of_attempts(receiver):
    one = tracer(receiver.url)
    run_trial(one)
    one.close()
    (trial,) = receiver.named("trial")
    first, second = receiver.below(trial)
    assert (trial.parent_id, trial.links) == ("", [("ab" * 16, "cd" * 8)])
    assert (first.name, second.name) == ("chat m-api", "chat judge-api")
    assert [len(receiver.below(turn)) for turn in (first, second)] == [2, 1]
    assert {span.trace_id for span in receiver.spans} == {trial.trace_id}
    assert all(span.kind == CLIENT for span in receiver.spans if span is not trial)
    assert trial.start_ns <= first.start_ns <= first.end_ns <= second.start_ns <= second.end_ns <= trial.end_ns


def test_a_turn_speaks_the_words_of_the_genai_conventions(receiver):
    one = tracer(receiver.url)
    run_trial(one)
    one.close()
    first, second = receiver.below(receiver.named("trial")[0])
    assert first.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "m-api",
        "gen_ai.request.max_tokens": 2048,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.seed": 5,
        "gen_ai.response.model": "m-0324",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.conversation.id": "k3",
        "server.address": "127.0.0.1",
        "server.port": 8080,
        "eval.deployment": "m-key0",
        "eval.turn": 0,
        "eval.cached": False,
        "eval.attempts": 2,
        "eval.rate_wait_ms": 0.0,
        "eval.retry_wait_ms": 0.0,
    }
    assert second.attributes["eval.judge"] is True
    assert "gen_ai.request.temperature" not in second.attributes  # it is not told one


def test_an_attempt_has_its_phases_and_its_outcome(receiver):
    one = tracer(receiver.url)
    run_trial(one)
    one.close()
    bad, good = receiver.below(receiver.named("chat m-api")[0])
    assert (bad.attributes["http.response.status_code"], bad.attributes["error.type"]) == (500, "server_error")
    assert (bad.status, bad.message) == (ERROR, "server_error")
    assert good.status != ERROR
    assert good.attributes["http.request.resend_count"] == 1
    assert "http.request.resend_count" not in bad.attributes
    assert good.attributes["url.full"] == "http://127.0.0.1:8080/v1/chat/completions"
    phases = {name.rpartition(".")[2]: value for name, value in good.attributes.items() if ".phase." in name}
    assert phases.pop("parse_ms") >= 0
    assert phases == {
        "limiter_wait_ms": 5.0,
        "lookup_ms": 1.0,
        "connect_ms": 2.0,
        "first_byte_ms": 30.0,
        "body_ms": 4.0,
    }
    assert good.end_ns - good.start_ns == pytest.approx(37e6, abs=10)


def test_a_trial_says_what_it_was_and_how_it_ended(receiver):
    one = tracer(receiver.url)
    run_trial(one)
    one.close()
    (trial,) = receiver.named("trial")
    expected = {
        "eval.run_id": "r1",
        "eval.shard": 2,
        "eval.simulated": False,
        "eval.trial_key": "k3",
        "eval.task_id": "t3",
        "eval.epoch": 1,
        "eval.model": "m",
        "eval.status": "scored",
        "eval.outcome": "full",
        "eval.coverage": 1.0,
        "eval.replayed_turns": 0,
    }
    assert {name: trial.attributes.get(name) for name in expected} == expected
    assert {"eval.phase.prepare_ms", "eval.phase.score_ms", "eval.queue_ms"} < trial.attributes.keys()
    assert trial.resource["service.name"] == "ultra-parallel-runner"
    assert trial.resource["service.instance.id"] == "r1/shard-02"


def test_what_was_said_is_not_told_unless_asked_for(receiver):
    one = tracer(receiver.url)
    run_trial(one, row=ROW | {"status": "provider_error", "error_category": "bad_reply", "error_message": "a quote"})
    one.close()
    sent = b"".join(receiver.bodies)
    assert receiver.named("trial")[0].attributes["error.type"] == "bad_reply"
    for words in ("question", "the reply", "is it right", "forty-two", "quote"):
        assert words.encode() not in sent
    assert b"gen_ai.input.messages" not in sent
    assert KEY.encode() not in sent


def test_what_was_said_is_told_on_request_but_never_a_key(receiver):
    one = tracer(receiver.url, content=True)
    run_trial(one)
    one.close()
    turn = receiver.named("chat m-api")[0]
    assert json.loads(turn.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "a question with **** in it"}]}
    ]
    assert json.loads(turn.attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "the reply"}], "finish_reason": "stop"}
    ]
    assert receiver.named("trial")[0].attributes["eval.answer"] == "forty-two"
    assert "quotes what the model said" in receiver.below(turn)[0].message
    assert KEY.encode() not in b"".join(receiver.bodies)


def test_long_conversations_are_cut_and_stay_json(receiver):
    one = tracer(receiver.url, content=True)
    call = ToolCall(id="c1", name="look", arguments="\ud800" * 9_000)
    long = [{"role": "user", "content": f"{number} {'x' * 10_000}{KEY}"} for number in range(50)]
    tool = {"role": "tool", "tool_call_id": "c0", "content": [{"type": "text", "text": "seen"}, {"type": "image_url"}]}
    with one.trial(TRIAL) as traced:
        asking = traced.asking(lambda *_, **__: replace(REPLY, tool_calls=(call,)))
        asking(TRIAL, [*long, tool], None)
        traced.ended(None)
    one.close()
    (turn,) = receiver.named("chat")
    asked = json.loads(turn.attributes["gen_ai.input.messages"])
    assert "older messages left out" in asked[0]["parts"][0]["content"]
    assert asked[-1]["parts"] == [{"type": "tool_call_response", "id": "c0", "response": "seen\n[image_url]"}]
    assert len(turn.attributes["gen_ai.input.messages"]) < 50_000
    (said,) = json.loads(turn.attributes["gen_ai.output.messages"])
    assert len(said["parts"][1]["arguments"]) < TEXT_CHARS + 100
    assert KEY.encode() not in b"".join(receiver.bodies)


def test_a_trial_that_goes_on_elsewhere_is_pending_and_one_that_fails_says_so(receiver):
    one = tracer(receiver.url)

    def drained(*_, **__):
        raise Drained("stopping")

    def refused(*_, **__):
        raise failed("access", 401)

    with one.trial(TRIAL) as traced:
        with pytest.raises(Drained):
            traced.asking(drained)(TRIAL, [], None)
        traced.ended(None)
    with pytest.raises(Exception, match="HTTP 401"), one.trial(TRIAL) as traced:
        traced.asking(refused)(TRIAL, [], None)
    one.close()
    pending, broken = sorted(receiver.named("trial"), key=lambda span: span.start_ns)
    assert (pending.attributes["eval.status"], pending.status) == ("pending", 0)
    assert receiver.below(pending)[0].attributes["eval.drained"] is True
    assert (broken.status, broken.attributes["error.type"]) == (ERROR, "access")
    assert receiver.below(broken)[0].attributes["error.type"] == "access"
    assert pending.trace_id == broken.trace_id


def test_replies_from_the_cache_are_marked_and_earlier_ones_counted(receiver):
    one = tracer(receiver.url)
    run_trial(one, earlier=(REPLY, replace(REPLY, cached=True, attempts=0)))
    one.close()
    (trial,) = receiver.named("trial")
    turns = {turn.attributes["eval.turn"]: turn for turn in receiver.below(trial)}
    assert set(turns) == {1, 2, 3}
    assert (turns[1].attributes["eval.cached"], turns[2].attributes["eval.cached"]) == (True, False)
    assert trial.attributes["eval.replayed_turns"] == 1


def test_a_provider_that_writes_nonsense_costs_no_span(receiver):
    one = tracer(receiver.url, content=True)
    reply = replace(REPLY, text="\ud800\x00", reported_model="m" * 10_000, finish_reason="\n" * 10_000)
    error = failed()
    error.args = ("\udfff" * 10_000,)

    def refused(*_, **__):
        raise error

    with one.trial(TRIAL) as traced:
        traced.asking(lambda *_, **__: reply)(TRIAL, [{"role": None, "content": "\ud800"}], None)
        with pytest.raises(type(error)):
            traced.asking(refused)(TRIAL, [{}], None)
        traced.ended(ROW | {"status": "harness_error", "error_message": "\ud800", "answer": "\ud800"})
    one.close(10)
    (trial,) = receiver.named("trial")
    said, failure = receiver.below(trial)
    assert len(said.attributes["gen_ai.response.model"]) == 200
    assert len(failure.message) < TEXT_CHARS + 100


def test_every_process_takes_the_same_share_of_trials(receiver):
    trials = [replace(TRIAL, trial_key=f"key-{number}", number=number) for number in range(1000)]
    one, other = tracer(receiver.url, ratio=0.25), tracer(receiver.url, ratio=0.25)
    chosen = {trial.number for trial in trials if one.trial(trial)}
    assert chosen == {trial.number for trial in trials if other.trial(trial)}
    assert 200 < len(chosen) < 300
    more = tracer(receiver.url, ratio=0.5)
    assert chosen < {trial.number for trial in trials if more.trial(trial)}
    none = tracer(receiver.url, ratio=0.0)
    assert not any(none.trial(trial) for trial in trials)
    for each in (one, other, more, none):
        each.close()


def test_an_attempt_outside_of_a_sampled_trial_makes_no_span(receiver):
    one = tracer(receiver.url, ratio=0.0)
    run_trial(one)
    one.watching(lambda attempt: None)(attempt_outside())
    one.close()
    assert receiver.spans == []


def attempt_outside():
    from traced_trials import Tried

    return Tried()


def test_trials_of_many_threads_do_not_mix(receiver):
    one = tracer(receiver.url)
    trials = [replace(TRIAL, trial_key=f"key-{number}", number=number) for number in range(40)]
    queue = iter(trials)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                trial = next(queue, None)
            if trial is None:
                return
            run_trial(one, trial)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.close(10)
    roots = receiver.named("trial")
    assert {root.trace_id for root in roots} == {f"{one.trace_id(trial.trial_key):032x}" for trial in trials}
    for root in roots:
        turns = receiver.below(root)
        assert [len(receiver.below(turn)) for turn in turns] == [2, 1]
        assert {turn.attributes["gen_ai.conversation.id"] for turn in turns} == {root.attributes["eval.trial_key"]}


def test_nothing_of_opentelemetry_is_imported_while_traces_are_off():
    code = (
        "import sys, smart_batch_runner, batch_test_runner, ultra_parallel_runner, processes.asking, commands.run\n"
        "import telemetry.tracing, telemetry.run_trace\n"
        "from telemetry.trace_settings import read_settings\n"
        "assert read_settings({}) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
