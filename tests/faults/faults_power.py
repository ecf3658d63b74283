"""Faults: the power goes, once, twice, and after a crash whose writes the kernel still had in memory."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random

from fault_cycle import UNSYNCED_S, Cycle, Fault
from fault_world import Scenario
from power_cut import cut


def _cut(cycle: Cycle) -> None:
    """Take the power away: nothing reaches the disk from one moment on, and what was not safe is lost."""
    shim = cycle.shim
    assert shim is not None
    moment = time.monotonic()
    shim.set(frozen=1)
    cycle.kill_everything()
    cycle.simulator.look()
    cycle.allowed += cycle.simulator.served_since(moment - UNSYNCED_S)
    lost = cut(shim.log, shim.stash, cycle.house.roots, cycle.rng)
    shim.heal()
    cycle.outcome.notes.append(f"lost {lost.bytes} bytes, {len(lost.names)} names: {', '.join(lost.names[:40])}")


def _once(cycle: Cycle) -> None:
    cycle.await_moment()
    _cut(cycle)


def _twice(cycle: Cycle) -> None:
    cycle.await_moment(most=0.5)
    _cut(cycle)
    cycle.allowed += cycle.scenario.in_flight
    cycle.start()
    cycle.await_moment(least=0.5)
    _cut(cycle)


def _after_a_crash(cycle: Cycle) -> None:
    """Everyone is killed, the run goes on, and then the power goes: what the first had not synced is lost now."""
    cycle.await_moment(most=0.6)
    cycle.kill_everything()
    cycle.simulator.look()
    cycle.allowed += cycle.scenario.in_flight + cycle.simulator.served_since(time.monotonic() - UNSYNCED_S)
    cycle.start()
    cycle.await_moment(least=0.6)
    _cut(cycle)


def _two_kinds_of_time(scenario: Scenario, _: Random) -> Scenario:
    """Few requests in flight, so that what may be repeated is little against what is asked."""
    return replace(scenario, workers=2, shards=min(scenario.shards, 2), latency_s=0.12)


FAULTS = tuple(
    Fault(
        family="power cut",
        name=name,
        strike=strike,
        codes=frozenset({-9, 0}),
        needs_shim=True,
        needs_log=True,
        tampers=True,
        adapt=_two_kinds_of_time,
    )
    for name, strike in (("once", _once), ("once", _once), ("twice", _twice), ("after a crash", _after_a_crash))
)
