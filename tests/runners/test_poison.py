"""A trial that kills its process, whichever way, ends as an error of the harness; all others are scored."""

from __future__ import annotations

import json

import pytest
from real_runs import THREE_KEYS, adds_up

from stores.journal import read_events
from stores.run_directory import runs_in

TRIALS = 50
POISON = (3, 20, 21)
pytestmark = pytest.mark.slow

WAYS = {
    "crash": "import ctypes; ctypes.string_at(0)",
    "abort": "os.abort()",
    "exit": "os._exit(0)",
    "hang": "import ctypes; ctypes.PyDLL(None).sleep(600)",
    "kill": "os.kill(os.getpid(), 9)",
}
"""How a trial may end its process; the hang keeps the interpreter's lock, so that no heartbeat comes any more."""

SEAM = '''
import importlib.machinery, importlib.util, os, sys

class Poisoned:
    """Loads the worker's module and lets some trials end the process once they have their replies."""

    def find_spec(self, name, path, target=None):
        if name != "batch_test_runner":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            init = module.TrialRunner.__init__
            def started(self, workload, *more, **named):
                init(self, Workload(workload), *more, **named)
            module.TrialRunner.__init__ = started

        spec.loader.exec_module = exec_module
        return spec

class Workload:
    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def run(self, trial, chat, opening=None):
        marked = self.inner.run(trial, chat, opening)
        if trial.number in {poison}:
            {way}
        return marked

sys.meta_path.insert(0, Poisoned())
'''


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    url = ("--simulator-url", simulator.url, "--model", THREE_KEYS)
    return (*url, "--num-instances", str(TRIALS // 5), "--qps", "1000", "--stagger", "0", *arguments)


@pytest.fixture
def poisoned(house):
    """An environment in which some trials kill their process this way."""

    def make(way: str, poison: tuple[int, ...] = POISON) -> dict[str, str]:
        seam = house.path / "seam"
        seam.mkdir(exist_ok=True)
        text = SEAM.replace("{poison}", repr(set(poison))).replace("{way}", WAYS[way])
        (seam / "sitecustomize.py").write_text(text)
        return {"PYTHONPATH": str(seam)}

    return make


def statuses(house) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in house.rows():
        found.setdefault(row["status"], []).append(row)
    return found


@pytest.mark.parametrize(("way", "shards"), [("crash", "1"), ("abort", "3"), ("exit", "3")])
def test_trials_that_kill_their_process_are_set_aside_and_all_others_scored(house, simulator, poisoned, way, shards):
    command = ask(simulator, "--shards", shards)
    ended = house.run(*command, env=poisoned(way), code=1)
    assert f"{TRIALS} planned = {TRIALS - 3} scored" in ended.stdout
    found = statuses(house)
    assert {status: len(rows) for status, rows in found.items()} == {"scored": TRIALS - 3, "harness_error": 3}
    for row in found["harness_error"]:
        assert row["error_category"] == "KilledProcess"
        assert "--retry-errors" in row["error_message"]
        assert row["requests"] > 0  # what was paid for is counted
    assert adds_up(house.status())
    house.run("verify")
    asked = simulator.stats()["requests"]
    house.run(*command, env=poisoned(way), code=1)
    assert simulator.stats()["requests"] == asked
    house.run(*command, "--retry-errors")
    assert set(statuses(house)) == {"scored"}


def test_every_journal_line_is_written_by_the_shard_itself(house, simulator, poisoned):
    house.run(*ask(simulator), env=poisoned("crash"), code=1)
    (run,) = runs_in(house.path / "logs")
    told = [event for path in run.journals().values() for _, event in read_events(path)]
    ends = [event["number"] for event in told if event["kind"] == "ended"]
    assert sorted(ends) == list(range(TRIALS))
    aside = [event for event in told if event["kind"] == "ended" and event["row"]["status"] == "harness_error"]
    assert sorted(event["number"] for event in aside) == list(POISON)


def test_a_trial_that_hangs_its_process_is_set_aside(house, simulator, poisoned):
    command = ask(simulator, "--shards", "1", "--stall-timeout", "2")
    ended = house.run(*command, env=poisoned("hang", (7,)), code=1)
    assert "was silent" in ended.stdout
    (row,) = statuses(house)["harness_error"]
    assert "was silent" in row["error_message"]
    assert len(statuses(house)["scored"]) == TRIALS - 1


def test_one_whose_process_is_killed_from_outside_is_never_blamed(house, simulator, poisoned):
    ended = house.run(*ask(simulator, "--shards", "1"), env=poisoned("kill", (7,)), code=1)
    assert "trial 7 is put off to the next start" in ended.stdout
    assert set(statuses(house)) == {"scored"}
    (done,) = house.path.glob("logs/*/DONE")
    assert json.loads(done.read_text())["pending"] == 1
    house.run(*ask(simulator))
    assert len(house.rows()) == TRIALS
