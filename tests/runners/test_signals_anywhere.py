"""A signal at any moment, from a program's first line to its last, ends it as documented; its run resumes."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from real_runs import SHARD, SUPERVISOR, THREE_KEYS, WORKER, House, Running, scores, wait_for
from webhook_listener import Listener

TRIALS = 5
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
pytestmark = pytest.mark.slow


@pytest.fixture
def hook() -> Iterator[Listener]:
    listener = Listener(200)
    yield listener
    listener.close()


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    return (
        "--simulator-url",
        simulator.url,
        "--model",
        THREE_KEYS,
        "--num-instances",
        "1",
        "--qps",
        "1000",
        *arguments,
    )


def wait_until_heeded(running: Running) -> None:
    """Return once the program's first line has run: its process then catches signals."""

    def caught() -> bool:
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            return bool(int(status.split("SigCgt:")[1].split()[0], 16) & 1 << (signal.SIGTERM - 1))
        return False

    wait_for(lambda: caught() or running.process.poll() is not None, "signals are heeded")


def ended_well(running: Running, codes: set[int]) -> None:
    assert running.wait() in codes, running.output + running.complaints
    assert running.complaints == ""


def done(house: House) -> dict:
    (path,) = house.path.glob("logs/*/DONE")
    return json.loads(path.read_text())


@contextlib.contextmanager
def held(house: House) -> Iterator[None]:
    """Keep every merge waiting."""
    store = house.path / "results/simulated"
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(store / ".lock"):
        yield


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("program", [SUPERVISOR, SHARD, WORKER])
def test_while_it_is_still_being_imported(house, simulator, program, number, code):
    running = house.start(*ask(simulator), program=program)
    wait_until_heeded(running)
    running.send(number)
    ended_well(running, {code})
    house.run(*ask(simulator))
    assert len(scores(house.rows())) == TRIALS


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_before_the_first_trial(house, simulator, hook, number, code):
    with held(house):
        running = house.start(*ask(simulator, "--notify", hook.url.reveal()))
        wait_for(lambda: list(house.path.glob("logs/*/run.lock")), "the run has begun")
        time.sleep(0.5)  # on its way to the merge it cannot have
        running.send(number)
        ended_well(running, {code})
    assert simulator.stats()["requests"] == 0
    assert (done(house)["outcome"], done(house)["exit_code"]) == ("interrupted", code)
    assert hook.bodies == [done(house)]
    house.run(*ask(simulator))
    assert len(scores(house.rows())) == TRIALS


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_in_the_last_merge(house, slow_simulator, hook, number, code):
    running = house.start(*ask(slow_simulator, "--notify", hook.url.reveal()))
    slow_simulator.wait_for_requests(1)
    with held(house):
        wait_for(running.shards, "there are shards")
        wait_for(lambda: not running.shards(), "all shards have left")
        wait_for(lambda: not psutil.Process(running.process.pid).children(), "and so has everybody")
        time.sleep(0.3)  # on its way to the merge it cannot have
        running.send(number)
        ended_well(running, {code})
    told = done(house)
    assert (told["outcome"], told["exit_code"]) == ("interrupted", code)
    assert (told["scored"], told["pending"]) == (TRIALS, 0)  # in the journals, and only to be merged
    assert hook.bodies == [told]
    before = slow_simulator.stats()["requests"]
    house.run(*ask(slow_simulator))
    assert slow_simulator.stats()["requests"] == before
    assert len(scores(house.rows())) == TRIALS
    house.run("verify")


def test_while_the_webhook_is_told_it_is_told_and_a_second_signal_does_not_wait(house, simulator):
    silent = Listener(None)
    try:
        for signals in (1, 2):
            running = house.start(*ask(simulator, "--notify", silent.url.reveal()))
            wait_for(lambda: running.process.poll() is not None or len(silent.bodies) >= 1, "the webhook is asked")  # noqa: B023
            for _ in range(signals):
                running.send(signal.SIGTERM)
                time.sleep(0.3)
            if signals == 2:
                assert running.wait(5) == 143
            else:
                assert running.wait() == 143
                assert "no answer within" in running.complaints
            assert done(house)["outcome"] == "finished"
            silent.bodies.clear()
    finally:
        silent.close()


@pytest.mark.parametrize("program", [SUPERVISOR, SHARD])
def test_at_random_moments_over_its_whole_life(house, simulator, program):
    dice = random.Random(7)
    codes = set()
    for nth in range(5):
        number, code = dice.choice(SIGNALS)
        running = house.start(*ask(simulator, "--seed", str(nth)), program=program)
        wait_until_heeded(running)
        time.sleep(dice.uniform(0, 1.6))
        with contextlib.suppress(ProcessLookupError):
            running.send(number)
        ended_well(running, {code, 0} | ({1} if program == SHARD else set()))
        codes.add(running.process.returncode)
        house.wait_until_empty()
    assert codes - {0, 1}, "no signal has come in time"
    for nth in range(5):
        house.run(*ask(simulator, "--seed", str(nth)))
    assert len(scores(house.rows())) == 5 * TRIALS
    assert simulator.stats()["repeated"] == 0
    house.run("verify")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_who_watches_leaves_by_ctrl_c_and_is_ended_by_a_request_to_end(house, slow_simulator, number, code):
    run = house.start(*ask(slow_simulator, "--num-instances", "20"))
    slow_simulator.wait_for_requests(5)
    watching = house.start("status", "--watch")
    wait_for(lambda: watching.output, "it shows the run")
    watching.send(number)
    ended_well(watching, {code})
    run.send(signal.SIGTERM)
    run.wait()
