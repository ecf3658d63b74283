"""Faults: signals to supervisor, shard, everyone and the simulator."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from signal import SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM, Signals

import psutil
from fault_cycle import Cycle, Fault
from fault_world import Scenario, wait_for

DEAD_SHARD_S = 2.0
STALL_S = 30.0
"""The product's own, where no option lowers it."""


def _send(number: Signals, *, times: int = 1):  # type: ignore[no-untyped-def]
    def strike(cycle: Cycle) -> None:
        cycle.await_moment()
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                cycle.running.process.send_signal(number)
            time.sleep(cycle.rng.uniform(0.05, 0.3))

    return strike


def _send_to_shard(number: Signals):  # type: ignore[no-untyped-def]
    def strike(cycle: Cycle) -> None:
        cycle.await_moment(most=0.7, may_be_early=False)
        if (found := cycle.await_shard()) is None:
            return
        cycle.allowed = cycle.scenario.workers if number == SIGKILL else 0
        _hit(cycle, *found, number)

    return strike


def _hit(cycle: Cycle, shard: int, process: psutil.Process, number: Signals) -> None:
    """Send a signal to a shard; if that ends it, measure how long nobody notices, and until there is another."""
    before = _times_told(cycle)
    cycle.struck_at = time.monotonic()
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)
    if number not in (SIGKILL, SIGTERM):
        return  # a shard leaves these to its supervisor
    if number == SIGTERM:  # it ends once its requests in flight have
        wait_for(lambda: not _is_there(process), "a shard ends that is told to")
        cycle.struck_at = time.monotonic()
    wait_for(lambda: _times_told(cycle) > before or not cycle.running.alive(), "the supervisor tells of a dead shard")
    if _times_told(cycle) == before:
        return
    detection_s = time.monotonic() - cycle.struck_at
    cycle.outcome.detection_s = max(detection_s, cycle.outcome.detection_s or 0.0)
    cycle.check(detection_s <= DEAD_SHARD_S, f"noticed after {detection_s:.1f} s only")
    back = lambda: _is_new(cycle, shard, process.pid) or not cycle.running.alive()  # noqa: E731
    wait_for(back, "the shard is there again")
    cycle.outcome.recovery_s = time.monotonic() - cycle.struck_at


def _times_told(cycle: Cycle) -> int:
    return cycle.running.said.count("; starting it again")


def _is_new(cycle: Cycle, shard: int, pid: int) -> bool:
    found = cycle.running.shards().get(shard)
    return found is not None and found.pid != pid


def _shards_again_and_again(cycle: Cycle) -> None:
    """Kill shards three times, and count the supervisor's open files before and after."""
    cycle.await_requests(10)
    before = _open_files(cycle)
    for count in (10, 30, 50):
        cycle.await_requests(count)
        if (found := cycle.await_shard()) is not None:
            _hit(cycle, *found, SIGKILL)
    after = _open_files(cycle)
    cycle.allowed = 3 * cycle.scenario.workers
    if before and after:
        cycle.check(after <= before, f"the supervisor had {before} open files, and {after} after three shards died")
        cycle.outcome.notes.append(f"open files {before} → {after}")


def _open_files(cycle: Cycle) -> int:
    """Return the fewest files that the supervisor has open while all shards are there; 0 if it has ended."""
    with contextlib.suppress(OSError):
        wait_for(
            lambda: len(cycle.running.shards()) == cycle.scenario.shards or not cycle.running.alive(), "all shards"
        )
        seen = []
        for _ in range(8):
            time.sleep(0.03)
            files = cycle.running.open_files()
            if len(cycle.running.shards()) == cycle.scenario.shards:
                seen.append(files)
        return min(seen, default=0)
    return 0


def _everyone(cycle: Cycle) -> None:
    cycle.await_moment()
    cycle.kill_everything()


def _supervisor_killed(cycle: Cycle) -> None:
    cycle.await_moment()
    cycle.running.process.kill()
    cycle.running.wait()
    began = time.monotonic()
    cycle.house.wait_until_empty(15)
    cycle.outcome.detection_s = time.monotonic() - began


def _supervisor_stopped(seconds: float | None, number: Signals = SIGCONT):  # type: ignore[no-untyped-def]
    def strike(cycle: Cycle) -> None:
        cycle.await_moment(most=0.6, may_be_early=False)
        cycle.running.process.send_signal(SIGSTOP)
        if seconds is None:
            limit_s = _stall_s(cycle) + 15
            wait_for(lambda: len(cycle.house.processes()) <= 1, "the children of a stopped supervisor leave", limit_s)
            cycle.outcome.detection_s = time.monotonic() - cycle.struck_at
        else:
            time.sleep(seconds)
        cycle.running.process.send_signal(number)

    return strike


def _stall_s(cycle: Cycle) -> float:
    return cycle.scenario.stall_s or STALL_S


def _shard_stopped(cycle: Cycle) -> None:
    """Stop a shard for good: it must be noticed within the stall timeout, and its work go on elsewhere."""
    cycle.await_moment(most=0.5, may_be_early=False)
    if (found := cycle.await_shard()) is None:
        return
    with contextlib.suppress(psutil.Error):
        found[1].send_signal(SIGSTOP)
    shown: set[str] = set()

    def gone() -> bool:
        shown.update(_states(cycle, found[0]))
        return not _is_there(found[1])

    wait_for(gone, "a stopped shard is ended", _stall_s(cycle) + 15)
    cycle.check("silent" in shown, f"the live table showed a stopped shard as {sorted(shown)}")
    cycle.outcome.detection_s = time.monotonic() - cycle.struck_at
    in_time = cycle.outcome.detection_s <= _stall_s(cycle) + DEAD_SHARD_S
    cycle.check(in_time, f"a stopped shard was ended after {cycle.outcome.detection_s:.1f} s only")
    cycle.allowed = cycle.scenario.workers


def _states(cycle: Cycle, shard: int) -> Iterator[str]:
    """Yield what the live table calls a shard now."""
    for path in cycle.house.logs.glob("*/status.json"):
        with contextlib.suppress(OSError, ValueError):
            shards = json.loads(path.read_bytes())["shards"]
            yield from (one["progress"]["state"] for one in shards if one["number"] == shard)


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _shard_stopped_for_a_while(cycle: Cycle) -> None:
    cycle.await_moment(most=0.7, may_be_early=False)
    if (found := cycle.await_shard()) is not None:
        with contextlib.suppress(psutil.Error):
            found[1].send_signal(SIGSTOP)
            time.sleep(cycle.rng.uniform(0.3, 2.0))
            found[1].send_signal(SIGCONT)
    cycle.allowed = 0


def _under_nohup(cycle: Cycle) -> None:
    """A run under nohup outlives a hang-up of everyone."""
    cycle.kill_everything()
    cycle.start(before=("nohup",))
    cycle.await_moment(may_be_early=False)
    for process in cycle.house.processes():
        with contextlib.suppress(psutil.Error):
            process.send_signal(SIGHUP)


def _terminal(cycle: Cycle) -> None:
    """What Ctrl-C does: everyone gets it."""
    cycle.await_moment(may_be_early=False)
    for process in cycle.house.processes():
        with contextlib.suppress(psutil.Error):
            process.send_signal(SIGINT)


def _simulator_gone(cycle: Cycle) -> None:
    cycle.await_moment(may_be_early=False)
    cycle.simulator.kill()
    time.sleep(cycle.rng.uniform(0.2, 2.5))
    cycle.simulator.restart()


def _simulator_sent(number: Signals):  # type: ignore[no-untyped-def]
    def strike(cycle: Cycle) -> None:
        cycle.await_moment(may_be_early=False)
        cycle.simulator.process.send_signal(number)
        with contextlib.suppress(Exception):
            cycle.simulator.process.wait(5)
        if cycle.simulator.process.poll() is not None:
            cycle.simulator.kill()
            cycle.simulator.restart()

    return strike


def _simulator_stopped(cycle: Cycle) -> None:
    cycle.await_moment(may_be_early=False)
    cycle.simulator.process.send_signal(SIGSTOP)
    time.sleep(cycle.rng.uniform(0.5, 4.0))
    cycle.simulator.process.send_signal(SIGCONT)


def _two_shards(scenario: Scenario, _: Random) -> Scenario:
    return replace(scenario, shards=max(2, scenario.shards), latency_s=0.15)


def _slowly(scenario: Scenario, _: Random) -> Scenario:
    return replace(scenario, latency_s=0.3, workers=2)


SIGNALLED = {number: frozenset({128 + number, 0}) for number in (SIGINT, SIGTERM, SIGHUP)}
KILLED = frozenset({-9, 0})

FAULTS = (
    Fault(family="supervisor", name="SIGKILL", strike=_supervisor_killed, codes=KILLED),
    *(
        Fault(family="supervisor", name=number.name, strike=_send(number), codes=codes, drains=True)
        for number, codes in SIGNALLED.items()
    ),
    Fault(family="supervisor", name="SIGINT twice", strike=_send(SIGINT, times=2), codes=SIGNALLED[SIGINT]),
    Fault(family="supervisor", name="SIGTERM twice", strike=_send(SIGTERM, times=2), codes=SIGNALLED[SIGTERM]),
    Fault(family="supervisor", name="SIGSTOP for 2 s", strike=_supervisor_stopped(2.0), drains=True),
    Fault(family="supervisor", name="SIGSTOP beyond stall timeout", strike=_supervisor_stopped(None), slow=True),
    Fault(
        family="supervisor",
        name="SIGSTOP, then SIGKILL",
        strike=_supervisor_stopped(1.0, signal.SIGKILL),
        codes=KILLED,
    ),
    Fault(family="supervisor", name="SIGHUP to all under nohup", strike=_under_nohup, adapt=_slowly),
    Fault(
        family="supervisor",
        name="--deadline",
        strike=lambda cycle: cycle.await_moment(most=0.1, may_be_early=False),
        codes=frozenset({1}),
        drains=True,
        options=("--deadline", "2s"),
        adapt=_slowly,
    ),
    Fault(family="all", name="SIGKILL", strike=_everyone, codes=KILLED),
    Fault(family="all", name="SIGINT", strike=_terminal, codes=SIGNALLED[SIGINT], drains=True),
    *(Fault(family="shard", name=one.name, strike=_send_to_shard(one)) for one in (SIGKILL, SIGTERM, SIGINT, SIGHUP)),
    Fault(family="shard", name="SIGKILL three times", strike=_shards_again_and_again, adapt=_two_shards),
    Fault(family="shard", name="SIGSTOP for up to 2 s", strike=_shard_stopped_for_a_while),
    Fault(family="shard", name="SIGSTOP for ever", strike=_shard_stopped, slow=True),
    Fault(family="simulator", name="killed and back", strike=_simulator_gone, codes=frozenset({0, 1})),
    Fault(family="simulator", name="SIGTERM and back", strike=_simulator_sent(SIGTERM), codes=frozenset({0, 1})),
    Fault(family="simulator", name="SIGHUP and back", strike=_simulator_sent(SIGHUP), codes=frozenset({0, 1})),
    Fault(family="simulator", name="SIGSTOP for up to 4 s", strike=_simulator_stopped),
)
