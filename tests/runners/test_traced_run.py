"""Whole runs traced to a real OTLP receiver: what arrives, what never does, and that a bad endpoint costs nothing."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from otlp_receiver import ERROR, Receiver, receiving
from real_runs import SHARD, THREE_KEYS, wait_for

TOP_SECRET = "t0p-s3cret-header"
pytestmark = pytest.mark.slow


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    url = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--qps", "1000", "--stagger", "0")
    return (*url, "--num-instances", "4", *arguments)


def nested(receiver: Receiver, parent) -> list:
    """A span's children, each of which must lie within it."""
    found = receiver.below(parent)
    assert all(parent.start_ns <= one.start_ns <= one.end_ns <= parent.end_ns for one in found)
    return found


def secrets_seen(house, receiver: Receiver, *secrets: str) -> list[str]:
    files = [path for path in house.path.rglob("*") if path.is_file()]
    texts = {str(path): path.read_bytes() for path in files} | {"the wire": b"".join(receiver.bodies)}
    return [where for where, text in texts.items() if any(secret.encode() in text for secret in secrets)]


def test_a_run_with_faults_is_traced_whole_and_its_tries_are_told_apart(house, simulate, receiver):
    storm = simulate("--latency", "0.005", "--fault", "500=0.2", "--fault", "429=0.1")
    house.run(
        *ask(storm, "--max-attempts", "9", "--balance", "even"),  # no trial moves: each has one span
        env=receiver.environment(OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{TOP_SECRET}"),
    )
    rows = {row["trial_key"]: row for row in house.rows()}
    (run,) = receiver.named("run")
    shards = nested(receiver, run)
    assert [span.attributes["eval.shard"] for span in shards] == [1, 2, 3]
    assert run.attributes["eval.scored"] == run.attributes["eval.planned"] == len(rows) == 20
    by_shard = {(span.trace_id, span.span_id): span for span in shards}
    assert sum(span.attributes["eval.trials_ended"] for span in shards) == 20

    trials = receiver.named("trial")
    assert len(trials) == len({span.trace_id for span in trials}) == 20
    for trial in trials:
        row = rows.pop(trial.attributes["eval.trial_key"])
        (link,) = trial.links
        assert by_shard[link].attributes["eval.deployment"] == row["deployment"]
        assert (trial.attributes["eval.outcome"], trial.attributes["eval.status"]) == (row["outcome"], "scored")
        turns = nested(receiver, trial)
        assert [turn.attributes["eval.turn"] for turn in turns] == list(range(row["requests"]))
        tries = [nested(receiver, turn) for turn in turns]
        assert [len(some) for some in tries] == [turn.attributes["eval.attempts"] for turn in turns]
        assert sum(map(len, tries)) == row["attempts"]
        for some in tries:
            assert [one.attributes["eval.attempt"] for one in some] == list(range(1, len(some) + 1))
            assert some[-1].attributes["http.response.status_code"] == 200
        assert sum(turn.attributes["gen_ai.usage.output_tokens"] for turn in turns) == row["completion_tokens"]
    assert rows == {}
    posts = receiver.named("POST")
    assert len(posts) == storm.stats()["requests"]
    errors = Counter(post.attributes.get("error.type") for post in posts if post.status == ERROR)
    assert errors["server_error"] > 0
    assert errors["rate_limited"] > 0
    for post in posts:
        assert post.attributes["eval.phase.first_byte_ms"] > 0
        assert ("eval.phase.connect_ms" in post.attributes) is not post.attributes["eval.connection_reused"]
    assert receiver.headers[0]["authorization"] == f"Bearer {TOP_SECRET}"
    assert secrets_seen(house, receiver, TOP_SECRET) == []
    assert secrets_seen(house, receiver, "sim-qwen-key") == []
    assert b"gen_ai.input.messages" not in b"".join(receiver.bodies)


@pytest.mark.parametrize("transport", ["curl", "requests"])
def test_questions_are_traced_with_what_was_said_on_request(house, simulator, receiver, transport):
    bank = house.path / "bank.jsonl"
    bank.write_text('{"id": "q1", "question": "What is 17 + 4?", "answer": "21"}\n')
    url = ("--simulator-url", simulator.url, "--model", "deepseek-v3.1", "--questions", str(bank))
    house.run(*url, "--scorer", "numeric", "--trace-content", "--transport", transport, env=receiver.environment())
    (trial,) = receiver.named("trial")
    (turn,) = nested(receiver, trial)
    (post,) = nested(receiver, turn)
    assert "What is 17 + 4?" in turn.attributes["gen_ai.input.messages"]
    assert '"role":"assistant"' in turn.attributes["gen_ai.output.messages"]
    assert trial.attributes["eval.target"] == "21"
    assert trial.attributes["eval.task_id"] == "q1"
    assert post.attributes["eval.phase.connect_ms"] > 0
    assert post.attributes["eval.phase.first_byte_ms"] + post.attributes["eval.phase.body_ms"] < (
        (post.end_ns - post.start_ns) / 1e6
    )
    assert receiver.named("run")[0].attributes["eval.kind"] == "questions"


def test_a_share_of_trials_is_traced_whole_and_the_others_not_at_all(house, simulator, receiver):
    share = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    house.run(*ask(simulator), env=receiver.environment(**share))
    trials = receiver.named("trial")
    rows = {row["trial_key"]: row for row in house.rows()}
    assert 0 < len(trials) < len(rows)
    assert all(int(trial.trace_id[16:], 16) < 2**63 for trial in trials)
    traced = sum(rows[key]["attempts"] for key in {trial.attributes["eval.trial_key"] for trial in trials})
    assert len(receiver.named("POST")) == traced < simulator.stats()["requests"]


def test_both_halves_of_a_trial_meet_in_one_trace_when_its_shard_is_killed(house, slow_simulator, receiver):
    def under_way(shard: str) -> bool:
        """Whether a trial of this shard has been seen to have had a turn, and not to have ended."""
        ended = {(trial.trace_id, trial.span_id) for trial in receiver.named("trial")}
        turns = [turn for turn in receiver.named("chat") if turn.resource["service.instance.id"].endswith(shard)]
        return any((turn.trace_id, turn.parent_id) not in ended for turn in turns)

    at_once = receiver.environment(OTEL_BSP_SCHEDULE_DELAY="20")
    running = house.start(*ask(slow_simulator, "--balance", "even"), env=at_once)
    receiver.wait_for(lambda _: under_way("shard-02"))
    running.kill_shard(2)
    assert running.wait() == 0, running.output + running.complaints
    parents = {(turn.trace_id, turn.parent_id) for turn in receiver.named("chat")}
    trials = {(trial.trace_id, trial.span_id) for trial in receiver.named("trial")}
    halves = {trace_id for trace_id, _ in parents - trials}  # turns of trials whose own span died with the process
    assert halves
    assert halves <= {trace_id for trace_id, _ in trials}
    rows = {row["trial_key"] for row in house.rows()}
    assert len(rows) == 20
    assert {trial.attributes["eval.trial_key"] for trial in receiver.named("trial")} <= rows
    killed = next(span for span in receiver.named("shard") if span.attributes["eval.shard"] == 2)
    assert [name for name, _ in killed.events] == ["started", "started"]
    assert killed.attributes["eval.restarts"] == 1


def test_a_run_that_is_drained_and_resumed_sends_all_it_has_each_time(house, slow_simulator, receiver):
    running = house.start(*ask(slow_simulator), env=receiver.environment(OTEL_BSP_SCHEDULE_DELAY="60000"))
    slow_simulator.wait_for_requests(20)
    running.send(signal.SIGTERM)
    assert running.wait() == 143, running.output + running.complaints
    assert receiver.named("run")[0].attributes["eval.signal"] == signal.SIGTERM
    pending = {one.trace_id for one in receiver.named("trial") if one.attributes["eval.status"] == "pending"}
    assert pending
    assert len(receiver.named("POST")) == slow_simulator.stats()["requests"]
    house.run(*ask(slow_simulator), env=receiver.environment())
    scored = {one.trace_id for one in receiver.named("trial") if one.attributes["eval.status"] == "scored"}
    assert pending < scored
    assert len(scored) == 20


def test_an_endpoint_that_is_down_costs_one_warning_a_process_and_nothing_else(house, simulator):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    ended = house.run(*ask(simulator, "--balance", "even"), env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert "20 planned = 20 scored" in ended.stdout
    assert ended.stderr == ""
    assert ended.stdout.count("Connection refused") == 1
    for log in (house.path / "logs").rglob("shard.log"):
        (told,) = [line for line in log.read_text().splitlines() if "WARNING" in line]
        assert "spans did not reach" in told
        assert (log.parent / "stderr.log").read_text() == ""


def test_an_endpoint_that_hangs_does_not_hold_up_the_end(house, simulator, receiver):
    receiver.hold = True
    ended = house.run(*ask(simulator), env=receiver.environment(OTEL_EXPORTER_OTLP_TIMEOUT="3600000"))
    assert "20 planned = 20 scored" in ended.stdout
    assert "did not reach" in ended.stdout


def test_a_shard_alone_traces_its_trials(house, simulator, receiver):
    house.run(*ask(simulator, "--shards", "1"), program=SHARD, env=receiver.environment())
    trials = receiver.named("trial")
    assert len(trials) == 20
    assert {len(trial.links) for trial in trials} == {0}


def test_replies_from_the_cache_are_marked(house, simulator, receiver):
    command = ask(simulator, "--cache", f"sqlite:{house.path}/replies.db", "--temperature", "0")
    house.run(*command)
    wait_for(lambda: simulator.stats()["requests"] > 0, "it was asked")
    house.run(*command, "--fresh", env=receiver.environment())
    turns = receiver.named("chat")
    hits = [turn for turn in turns if turn.attributes["eval.cached"]]
    assert hits
    assert all(receiver.below(hit) == [] for hit in hits)


def test_a_wrong_endpoint_is_refused_before_anything_starts(command, house):
    said = command("--simulate", "--model", THREE_KEYS, env={"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, code=2)
    assert said.stderr.startswith("error: OTEL_EXPORTER_OTLP_ENDPOINT must be a URL like http://127.0.0.1:4318")
    assert said.stderr.count("\n") == 1
    assert house.files() == set()
