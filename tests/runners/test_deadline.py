"""``--deadline`` drains a run in time, says so everywhere, and the same command goes on, asking nothing twice."""

from __future__ import annotations

import json

import pytest
from real_runs import SHARD, THREE_KEYS, WORKER, House, adds_up, wait_for

TRIALS = 50
pytestmark = pytest.mark.slow


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    url = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--shards", "1", "--max-workers", "2")
    return (*url, "--num-instances", str(TRIALS // 5), "--qps", "1000", *arguments)


def done(house: House) -> dict:
    (path,) = house.path.glob("logs/*/DONE")
    return json.loads(path.read_text())


def test_a_run_drains_at_its_deadline_and_goes_on_without_repeating_a_request(house, slow_simulator):
    ended = house.run(*ask(slow_simulator, "--deadline", "4s"), code=1)
    assert "--deadline is reached: nothing more is asked" in ended.stdout
    assert ended.stdout.rstrip().endswith("trials are left; the same command goes on")
    assert ended.stderr == ""
    view = house.status()
    assert adds_up(view)
    assert view["state"] == "stopped"
    assert "--deadline" in view["message"]
    assert 0 < view["pending"] < TRIALS
    assert view["deadline_s"] is None
    told = done(house)
    assert (told["outcome"], told["exit_code"], told["pending"]) == ("deadline", 1, view["pending"])
    assert "stopped at its --deadline" in told["text"]
    house.run(*ask(slow_simulator, "--deadline", "1h"))
    assert done(house)["outcome"] == "finished"
    assert len(house.rows()) == TRIALS
    assert slow_simulator.stats()["repeated"] == 0


def test_the_time_left_is_shown_while_it_runs(house, slow_simulator):
    running = house.start(*ask(slow_simulator, "--deadline", "30m"))
    slow_simulator.wait_for_requests(5)
    left_s = wait_for(lambda: house.status()["deadline_s"], "the time left is shown")
    assert 1000 < left_s < 1800
    assert "deadline in " in house.run("status").stdout
    assert running.wait() == 0


def test_a_deadline_that_has_passed_by_the_start_asks_nothing(house, simulator):
    ended = house.run(*ask(simulator, "--deadline", "0.1"), code=1)
    assert "--deadline was reached before this start: nothing is asked" in ended.stdout
    assert simulator.stats()["requests"] == 0
    assert done(house)["outcome"] == "deadline"
    assert "rows      none in results" in ended.stdout
    assert "summary  " not in ended.stdout  # there is none


def test_a_run_that_is_finished_by_then_has_not_met_it(house, simulator):
    house.run(*ask(simulator))
    ended = house.run(*ask(simulator, "--deadline", "0.1"))
    assert "deadline" not in ended.stdout
    assert done(house)["outcome"] == "finished"


def test_a_deadline_holds_for_all_suites_of_a_call(house, slow_simulator):
    url = ("--simulator-url", slow_simulator.url, "--model", THREE_KEYS, "--shards", "1", "--max-workers", "2")
    suites = ("--suite", "5.1,5.2", "--num-instances", "10", "--qps", "1000")
    ended = house.run(*url, *suites, "--deadline", "4s", code=1)
    assert "suite 5.1" in ended.stdout
    assert "suite 5.2" not in ended.stdout
    assert "trials are left; the same command goes on\nnot begun 5.2" in ended.stdout


def test_it_is_no_part_of_what_is_asked(house, simulator):
    for deadline in ("1h", "2d"):
        house.run(*ask(simulator, "--deadline", deadline))
    (manifest,) = house.path.glob("logs/*/manifest.json")
    assert "deadline" not in json.loads(manifest.read_text())["options"]


MISTAKES = {
    "soon": "--deadline: 'soon' is not a time such as 90s, 30m, 1h or 2d",
    "0": "--deadline: 0 is outside 0.1s to 366d",
    "-5m": "--deadline: -5m is outside 0.1s to 366d",
    "nan": "--deadline: nan is outside",
    "": "--deadline: the value is empty",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_what_is_no_time_is_refused_in_one_line(command, text):
    ended = command("--simulate", "--model", THREE_KEYS, f"--deadline={text}", code=2)
    assert MISTAKES[text] in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("program", [SHARD, WORKER])
def test_only_the_supervisor_keeps_it(house, program):
    ended = house.run("--simulate", "--model", THREE_KEYS, "--deadline", "1h", program=program, code=2)
    assert ended.stderr == "error: --deadline is an option of ultra_parallel_runner.py alone; leave it out here\n"
