"""After ``kill -9`` of any process the same command finishes the run, repeats next to nothing, and leaves nobody."""

from __future__ import annotations

import psutil
import pytest
from real_runs import SHARD, THREE_KEYS, WORKERS, House, Simulator, adds_up, scores, wait_for

INSTANCES = 5
TRIALS = 5 * INSTANCES
EARLY, HALF_WAY = 15, 45
"""Requests; the whole run makes some 90."""

pytestmark = pytest.mark.slow


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    """A command line whose run can be caught in its middle."""
    url = ("--simulator-url", simulator.url)
    return (*url, "--model", THREE_KEYS, "--num-instances", str(INSTANCES), "--qps", "1000", *arguments)


def all_scored(house: House) -> dict:
    assert adds_up(house.status())
    found = scores(house.rows())
    assert len(found) == TRIALS
    assert {row["status"] for row in house.rows()} == {"scored"}
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    """The scores of the same run when nothing happens to it."""
    house, simulator = House(tmp_path_factory.mktemp("undisturbed")), Simulator("--latency", "0")
    try:
        house.run(*ask(simulator, "--shards", "1"))
    finally:
        simulator.close()
    return all_scored(house)


def test_a_killed_shard_is_started_again_and_the_run_ends_by_itself(house, slow_simulator, undisturbed):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(HALF_WAY)
    running.kill_shard(2)
    assert running.wait() == 0, running.output + running.complaints
    assert "shard 2 was killed by signal 9; starting it again" in running.output
    assert f"{TRIALS} planned = {TRIALS} scored" in running.output
    assert all_scored(house) == undisturbed
    assert slow_simulator.stats()["repeated"] <= WORKERS // 3


def test_shards_killed_again_and_again_lose_nothing(house, slow_simulator, undisturbed):
    running = house.start(*ask(slow_simulator))
    for nth, requests in enumerate((EARLY, 30, HALF_WAY, 60)):
        slow_simulator.wait_for_requests(requests)
        running.kill_shard(nth % 3 + 1)
    assert running.wait() == 0, running.output + running.complaints
    assert all_scored(house) == undisturbed
    assert slow_simulator.stats()["repeated"] <= 4 * WORKERS // 3


def test_after_a_killed_supervisor_nobody_is_left_and_the_same_command_finishes(house, slow_simulator, undisturbed):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(HALF_WAY)
    running.process.kill()
    running.wait()
    house.wait_until_empty()
    view = house.status()
    assert adds_up(view)
    assert view["planned"] == TRIALS
    assert 0 < view["pending"] < TRIALS
    house.run(*ask(slow_simulator))
    assert all_scored(house) == undisturbed
    assert slow_simulator.stats()["repeated"] <= WORKERS


def test_after_everything_was_killed_at_once_the_same_command_finishes(house, slow_simulator, undisturbed):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(HALF_WAY)
    house.kill_everything()
    running.wait()
    house.run(*ask(slow_simulator))
    assert all_scored(house) == undisturbed
    assert slow_simulator.stats()["repeated"] <= WORKERS


def test_begun_trials_go_on_where_they_were_when_others_take_them_over(house, slow_simulator, undisturbed):
    """Killed with three shards, resumed with one, killed, resumed with two: each reply is paid for once."""
    for shards, requests in (("3", EARLY), ("1", 30), ("2", HALF_WAY)):
        running = house.start(*ask(slow_simulator, "--shards", shards))
        slow_simulator.wait_for_requests(requests)
        house.kill_everything()
        running.wait()
    house.run(*ask(slow_simulator, "--shards", "3"))
    assert all_scored(house) == undisturbed
    assert slow_simulator.stats()["repeated"] <= 15 + 5 + 10


def test_after_a_killed_supervisor_its_own_simulator_leaves_too(house, undisturbed):
    command = ("--simulate", "--model", THREE_KEYS, "--num-instances", str(INSTANCES), "--qps", "1000")
    running = house.start(*command)
    wait_for(lambda: len(house.processes()) == 5 and list(house.path.glob("logs/*/shards/03/shard.log")), "all are up")
    family = psutil.Process(running.process.pid).children()
    assert sum("simulator" in child.cmdline() for child in family) == 1
    running.process.kill()
    running.wait()
    house.wait_until_empty()
    house.run(*command)
    assert all_scored(house) == undisturbed


def test_a_shard_that_is_killed_whenever_it_starts_is_given_up_and_its_siblings_do_its_work(
    house, slow_simulator, undisturbed
):
    running = house.start(*ask(slow_simulator))
    killed: set[int] = set()

    def ended() -> bool:
        process = running.shards().get(1)
        if process is not None and process.pid not in killed:
            killed.add(process.pid)
            process.kill()
        return running.process.poll() is not None

    wait_for(ended, "the run has ended")
    assert running.wait() == 0, running.output + running.complaints
    assert len(killed) == 4
    assert "without progress" in running.output
    assert all_scored(house) == undisturbed


@pytest.mark.parametrize(("shards", "mode"), [("1", "fixed"), ("2", "adaptive"), ("2", "fixed"), ("3", "fixed")])
def test_scores_do_not_depend_on_shards_rate_mode_or_a_kill(house, slow_simulator, undisturbed, shards, mode):
    running = house.start(*ask(slow_simulator, "--shards", shards, "--rate-mode", mode))
    slow_simulator.wait_for_requests(EARLY)
    running.kill_shard(1)
    assert running.wait() == 0, running.output + running.complaints
    assert all_scored(house) == undisturbed


def test_a_killed_shard_that_ran_alone_is_resumed_by_the_supervisor(house, slow_simulator, undisturbed):
    running = house.start(*ask(slow_simulator, "--deployment", "qwen-key1"), program=SHARD)
    slow_simulator.wait_for_requests(EARLY)
    running.process.kill()
    running.wait()
    house.run(*ask(slow_simulator))
    assert all_scored(house) == undisturbed
    assert slow_simulator.stats()["repeated"] <= WORKERS // 3
