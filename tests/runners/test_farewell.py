"""The end of a run is told in a file and to a webhook, however it ends, and changes nothing about it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from real_runs import SHARD, THREE_KEYS, WORKER, House, wait_for
from webhook_listener import SECRET, Listener

COMMAND = ("--model", THREE_KEYS, "--num-instances", "1", "--qps", "1000")
pytestmark = pytest.mark.slow


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def start(*statuses: int | None) -> Listener:
        opened.append(Listener(*statuses))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def done(house: House) -> dict[str, Any]:
    (path,) = house.path.glob("logs/*/DONE")
    return json.loads(path.read_text())


def mentions_the_secret(house: House) -> list[str]:
    return [str(path) for path in house.path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_finished_run_tells_its_outcome_and_one_that_had_nothing_to_do_as_well(house, simulator, listen):
    hook = listen(200)
    for _ in range(2):
        ended = house.run("--simulator-url", simulator.url, *COMMAND, "--notify", hook.url.reveal())
        assert ended.stderr == ""
        assert hook.bodies[-1] == done(house)
    assert len(hook.bodies) == 2
    told = hook.bodies[0]
    assert told["outcome"] == "finished"
    assert told["planned"] == told["scored"] == 5
    assert told["results_dir"] == str(house.path / "results/simulated")
    assert "5 of 5 trials scored" in told["text"]
    assert "simulated" in told["text"]
    assert not mentions_the_secret(house)


def test_the_address_may_stand_in_the_environment(house, simulator, listen):
    hook = listen(200)
    house.run("--simulator-url", simulator.url, *COMMAND, env={"NOTIFY_URL": hook.url.reveal()})
    assert [body["outcome"] for body in hook.bodies] == ["finished"]


@pytest.mark.parametrize("status", [500, 302, 404])
def test_a_webhook_that_fails_is_one_warning_without_the_secret(house, simulator, listen, status):
    hook = listen(status)
    ended = house.run("--simulator-url", simulator.url, *COMMAND, "--notify", hook.url.reveal())
    assert ended.stderr.startswith("warning: --notify: 127.0.0.1 was not told of the end: HTTP ")
    assert ended.stderr.count("\n") == 1
    assert SECRET not in ended.stdout + ended.stderr
    assert done(house)["outcome"] == "finished"


def test_a_webhook_that_hangs_holds_the_run_up_for_ten_seconds_at_most(house, simulator, listen):
    house.run("--simulator-url", simulator.url, *COMMAND)
    hook = listen(None)
    began = time.monotonic()
    ended = house.run("--simulator-url", simulator.url, *COMMAND, "--notify", hook.url.reveal())
    assert time.monotonic() - began < 20
    assert "no answer within" in ended.stderr


def test_an_interrupted_run_says_so_and_the_next_start_takes_it_back(house, slow_simulator, listen):
    hook = listen(200)
    command = ("--simulator-url", slow_simulator.url, *COMMAND, "--num-instances", "20")
    running = house.start(*command, "--notify", hook.url.reveal())
    slow_simulator.wait_for_requests(20)
    assert not list(house.path.glob("logs/*/DONE"))
    running.send(signal.SIGTERM)
    assert running.wait() == 143
    assert done(house)["outcome"] == "interrupted"
    assert done(house)["pending"] > 0
    assert hook.bodies == [done(house)]
    again = house.start(*command)
    wait_for(lambda: not list(house.path.glob("logs/*/DONE")), "the file is gone")
    again.send(signal.SIGTERM)
    again.wait()


def test_a_run_whose_shards_cannot_work_has_failed(house, listen):
    hook = listen(200)
    refused = listen(401)
    url = refused.url.reveal().partition("/hook")[0]
    command = ("--model", "m", "--base-url", url, "--api-key-env", "OPENAI_API_KEY", "--num-instances", "1")
    house.run(*command, "--notify", hook.url.reveal(), env={"OPENAI_API_KEY": "k"}, code=3)
    assert hook.bodies[0]["outcome"] == done(house)["outcome"] == "failed"
    assert hook.bodies[0]["exit_code"] == 3


def test_a_run_that_breaks_off_says_why(house, simulator, listen):
    hook = listen(200)
    command = ("--simulator-url", simulator.url, *COMMAND, "--notify", hook.url.reveal())
    house.run(*command)
    for part in house.path.glob("results/simulated/trials/*.parquet"):
        part.write_bytes(b"no parquet")
    ended = house.run(*command, code=1)
    assert ended.stderr.startswith("error: ")
    assert hook.bodies[-1]["outcome"] == done(house)["outcome"] == "failed"
    assert hook.bodies[-1]["message"] in ended.stderr


def test_who_finds_the_run_at_work_takes_no_leave(house, slow_simulator, listen):
    hook = listen(200)
    command = ("--simulator-url", slow_simulator.url, *COMMAND, "--num-instances", "20")
    running = house.start(*command)
    slow_simulator.wait_for_requests(10)
    house.run(*command, "--notify", hook.url.reveal(), code=2)
    assert not hook.bodies
    assert not list(house.path.glob("logs/*/DONE"))
    running.send(signal.SIGTERM)
    running.wait()


SIMULATED = ("--simulate", "--model", "deepseek-v3.1")
MISTAKES = {
    "negative cost": ((*SIMULATED, "--max-cost", "-1"), "--max-cost: -1 is not above 0"),
    "no cost": ((*SIMULATED, "--max-cost", "0"), "--max-cost: 0 is not above 0"),
    "cost in words": ((*SIMULATED, "--max-cost", "much"), "--max-cost: 'much' is not a number"),
    "cost that is none": ((*SIMULATED, "--max-cost", "nan"), "--max-cost"),
    "endless cost": ((*SIMULATED, "--max-cost", "inf"), "--max-cost"),
    "empty cost": ((*SIMULATED, "--max-cost", ""), "--max-cost: the value is empty"),
    "unknown price": (("--simulate", "--model", THREE_KEYS, "--max-cost", "1"), f'[models."{THREE_KEYS}"]'),
    "unknown price of the judge": (
        (*SIMULATED, "--judge-model", THREE_KEYS, "--questions", "b.jsonl", "--scorer", "numeric", "--max-cost", "1"),
        f'[models."{THREE_KEYS}"]',
    ),
    "other protocol": ((*SIMULATED, "--notify", f"ftp://h/{SECRET}"), "--notify: the address must start with http"),
    "no address": ((*SIMULATED, "--notify", SECRET), "--notify: the address must start with http"),
    "empty address": ((*SIMULATED, "--notify", " "), "--notify: the value is empty"),
    "before a sub-command": (("--max-cost", "1", "status"), "--max-cost goes with the plain call"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line_and_nothing_is_started(command, house, mistake):
    arguments, told = MISTAKES[mistake]
    (house.path / "b.jsonl").write_text('{"question": "2 + 2?", "answer": "4"}\n')
    ended = command(*arguments, code=2)
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert SECRET not in ended.stdout + ended.stderr
    assert not (house.path / "logs").exists() or not list(house.path.glob("logs/*/run.json"))


@pytest.mark.parametrize("program", [SHARD, WORKER])
@pytest.mark.parametrize("option", [("--max-cost", "1"), ("--notify", "http://h/")])
def test_what_only_the_supervisor_can_do_is_refused_elsewhere(house, program, option):
    ended = house.run(*SIMULATED, *option, program=program, code=2)
    assert ended.stderr == f"error: {option[0]} is an option of ultra_parallel_runner.py alone; leave it out here\n"
