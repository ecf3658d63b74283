"""One signal drains, a second stops at once, a hang-up under nohup does neither; every run resumes."""

from __future__ import annotations

import signal

import pytest
from real_runs import SHARD, SUPERVISOR, THREE_KEYS, House, adds_up, scores

TRIALS = 25
pytestmark = pytest.mark.slow


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    """A command line whose run can be caught in its middle."""
    return (
        "--simulator-url",
        simulator.url,
        "--model",
        THREE_KEYS,
        "--num-instances",
        "5",
        "--qps",
        "1000",
        *arguments,
    )


def resumes(house: House, simulator, *, repeated: int) -> None:
    view = house.status()
    assert adds_up(view)
    assert 0 < view["pending"] < TRIALS
    assert f"{TRIALS} planned = {TRIALS} scored" in house.run(*ask(simulator)).stdout
    assert len(scores(house.rows())) == TRIALS
    assert simulator.stats()["repeated"] <= repeated


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_one_signal_drains_so_that_no_request_is_ever_repeated(house, slow_simulator, number, code):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(30)
    running.send(number)
    assert running.wait() == code, running.output + running.complaints
    assert "draining" in running.output
    assert f"{TRIALS} planned = " in running.output
    assert running.complaints == ""
    house.wait_until_empty()
    resumes(house, slow_simulator, repeated=0)


def test_a_second_signal_stops_at_once(house, simulate, slow_simulator):
    hanging = simulate("--latency", "0", "--fault", "hang=0.2")
    running = house.start(*ask(hanging))
    hanging.wait_for_requests(30)
    running.send(signal.SIGINT)
    running.wait_to_say("draining")
    running.send(signal.SIGINT)
    assert running.wait(20) == 130, running.output + running.complaints  # a drain would wait for 30 s
    house.wait_until_empty()
    resumes(house, slow_simulator, repeated=0)


def test_a_signal_to_the_whole_terminal_drains_too(house, slow_simulator):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(30)
    for process in house.processes():
        process.send_signal(signal.SIGINT)
    assert running.wait() == 130
    resumes(house, slow_simulator, repeated=0)


def test_a_nohup_run_outlives_a_hang_up_and_leaves_plain_lines(house, slow_simulator):
    running = house.start(*ask(slow_simulator), before=("nohup",))
    slow_simulator.wait_for_requests(20)
    for process in house.processes():
        process.send_signal(signal.SIGHUP)
    assert running.wait() == 0, running.output + running.complaints
    assert f"{TRIALS} planned = {TRIALS} scored" in running.output
    assert "\x1b" not in running.output
    assert "\r" not in running.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_shard_alone_drains_at_a_signal_and_merges_what_it_has(house, slow_simulator, number, code):
    running = house.start(*ask(slow_simulator), program=SHARD)
    slow_simulator.wait_for_requests(25)
    running.send(number)
    assert running.wait() == code, running.output + running.complaints
    assert running.complaints == ""
    assert house.rows()
    resumes(house, slow_simulator, repeated=0)


def test_a_second_supervisor_of_the_same_run_stops_and_the_first_is_unharmed(house, simulate):
    simulator = simulate("--latency", "0.8")
    first = house.start(*ask(simulator))
    simulator.wait_for_requests(5)
    others = [house.start(*ask(simulator), program=program) for program in (SUPERVISOR, SHARD)]
    assert [other.wait() for other in others] == [2, 2]
    for other in others:
        assert "is being worked on by another process" in other.complaints
        assert other.complaints.count("\n") == 1
        assert other.output == ""
    assert first.wait() == 0, first.output + first.complaints
    assert len(scores(house.rows())) == TRIALS
    assert simulator.stats()["repeated"] == 0


def test_status_adds_up_at_every_moment_of_a_run(house, slow_simulator):
    running = house.start(*ask(slow_simulator))
    slow_simulator.wait_for_requests(1)
    seen = []
    while running.process.poll() is None:
        seen.append(house.status())
    assert running.wait() == 0
    seen.append(house.status())
    assert all(map(adds_up, seen))
    assert [view["scored"] for view in seen] == sorted(view["scored"] for view in seen)
    assert seen[-1]["state"] == "finished"
    assert seen[-1]["scored"] == TRIALS
