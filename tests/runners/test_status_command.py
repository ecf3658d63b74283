"""``status`` from another terminal: one run or all, by a part of its name, watched, and after it was killed."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import pytest
from real_runs import ROOT, SUPERVISOR, THREE_KEYS, House, adds_up, wait_for

TRIALS = 60
pytestmark = pytest.mark.slow


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    """A command line whose run can be caught in its middle."""
    where = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--qps", "1000")
    return (*where, "--num-instances", str(TRIALS // 5), *arguments)


def kill(house: House, running) -> None:
    running.process.kill()
    running.wait()
    house.wait_until_empty()


class Screen:
    """A program on a terminal of its own, to press keys at."""

    def __init__(self, house: House, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / SUPERVISOR), *arguments],
            cwd=house.path,
            env={**house.environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that its Ctrl-C is a signal
        )
        os.close(slave)
        self.text = ""

    def read(self) -> str:
        while select.select([self._master], [], [], 0.05)[0]:
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                break
            if not piece:
                break
            self.text += piece.decode(errors="replace")
        return self.text

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def wait(self) -> int:
        wait_for(lambda: self.read() is None or self.process.poll() is not None, "the program has ended")
        self.read()
        os.close(self._master)
        return self.process.wait()


def test_a_crashed_run_says_so_and_how_to_go_on_and_that_works(house, slow_simulator):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(40)
    wait_for(lambda: list(house.path.glob("logs/*/status.json")), "a picture of the run is there")
    kill(house, running)
    view = house.status()
    assert adds_up(view)
    assert view["state"] == "crashed"
    assert view["planned"] == TRIALS
    assert view["pending"] > 0
    assert {shard["progress"]["state"] for shard in view["shards"]} <= {"died", "waiting", "done"}
    assert {shard["progress"]["requests_per_s"] for shard in view["shards"]} == {0.0}
    assert "crashed" in house.run("status").stdout
    how = view["message"].partition("ultra_parallel_runner.py ")[2].split()
    assert how[0] == "--from-manifest"
    house.run(*how)
    assert house.status()["state"] == "finished"
    assert house.status()["message"] == ""
    assert slow_simulator.stats()["repeated"] <= 2 * 15


def test_an_interrupted_run_is_no_crashed_one(house, slow_simulator):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(40)
    running.send(signal.SIGINT)
    assert running.wait() == 130
    view = house.status()
    assert view["state"] == "stopped"
    assert "interrupted" in view["message"]


def test_a_run_is_found_by_the_beginning_of_its_name_if_no_other_begins_so(house, simulator):
    for count in ("1", "2"):
        house.run(*ask(simulator), "--num-instances", count)
    first, second = sorted(path.parent.name for path in house.path.glob("logs/*/run.json"))
    assert json.loads(house.run("status", "--json", first[:-3]).stdout)["run_id"] == first
    assert json.loads(house.run("status", "--json", second[:-3]).stdout)["run_id"] == second
    several = house.run("status", "sim-", code=2).stderr
    assert several.startswith("error: 2 runs in logs begin with 'sim-': ")
    assert first in several
    assert second in several
    assert "did you mean" in house.run("status", f"x{first}", code=2).stderr


def test_all_runs_are_listed_a_line_each_the_newest_first(house, simulator):
    for count in ("1", "2"):
        house.run(*ask(simulator), "--num-instances", count)
    listed = [line for line in house.run("status", "--all").stdout.splitlines() if line.startswith("sim-")]
    assert [line.split()[1:3] for line in listed] == [["finished", "10/10"], ["finished", "5/5"]]
    as_json = json.loads(house.run("status", "--all", "--json").stdout)["runs"]
    assert [run["planned"] for run in as_json] == [10, 5]
    assert all(line.startswith(run["run_id"]) for line, run in zip(listed, as_json, strict=True))


@pytest.mark.parametrize("words", [("--all", "--watch"), ("--all", "sim"), ("--watch", "--json")])
def test_what_excludes_itself_is_told(house, simulator, words):
    house.run(*ask(simulator), "--num-instances", "1")
    assert house.run("status", *words, code=2).stderr.startswith("error: status --")


def test_watching_ends_with_the_run_and_leaves_its_last_picture(house, slow_simulator):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(10)
    watcher = Screen(house, "status", "--watch")
    wait_for(lambda: "q or Ctrl-C leaves" in watcher.read(), "the watcher shows the run")
    assert watcher.wait() == 0
    assert running.wait() == 0
    assert "finished" in watcher.text
    assert f"{TRIALS} planned = {TRIALS} scored" in watcher.text


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_who_watches_may_leave_and_the_run_goes_on(house, slow_simulator, key):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(10)
    watcher = Screen(house, "status", "--watch")
    wait_for(lambda: "q or Ctrl-C leaves" in watcher.read(), "the watcher shows the run")
    watcher.press(key)
    assert watcher.wait() == 0
    assert "Traceback" not in watcher.text
    assert running.process.poll() is None
    assert running.wait() == 0


def test_watching_without_a_terminal_writes_plain_lines(house, slow_simulator):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(10)
    said = house.run("status", "--watch").stdout
    assert running.wait() == 0
    assert "\x1b" not in said
    assert f"{TRIALS}/{TRIALS} scored {TRIALS}" in said


def test_watching_a_run_at_rest_shows_it_once(house, simulator):
    house.run(*ask(simulator), "--num-instances", "1")
    began = time.monotonic()
    assert "5 planned = 5 scored" in house.run("status", "--watch").stdout
    assert time.monotonic() - began < 30
