"""Faults: what a network and those behind it can do to an exchange (network_faults.py), done to a run for a while."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random

import auditor
from fault_cycle import Cycle, Fault, Strike
from fault_proxy import ACCEPT, NetworkFault
from fault_world import Scenario, wait_for
from io_shim import NAME_LATER, NAME_UNKNOWN
from network_faults import CONNECTION, NETWORK_FAULTS, TIMEOUT

FAILED = frozenset({0, 1})
"""A run may end with trials that its endpoint failed at."""

FROM_S, TO_S = 0.5, 4.0
MINUTE_S = 60.0


def _for_a_while(fault: NetworkFault, from_s: float = FROM_S, to_s: float = TO_S) -> Strike:
    """Let it meet every exchange or some of them, for a while; the run goes on, and tells what became of it."""

    def strike(cycle: Cycle) -> None:
        assert cycle.proxy is not None
        cycle.await_moment(most=0.7, may_be_early=fault.when == ACCEPT)
        share = cycle.rng.choice([1.0, 1.0, 0.4])
        cycle.proxy.begin(fault, share, Random(cycle.rng.random()))
        time.sleep(cycle.rng.uniform(from_s, to_s))
        proxy = cycle.proxy
        wait_for(lambda: proxy.met or fault.act is None or not cycle.running.alive(), "something meets the fault")
        proxy.heal()
        _look_at(cycle, fault.becomes)

    return strike


def _look_at(cycle: Cycle, becomes: frozenset[str]) -> None:
    """Wait for the run's end: nothing has a score that should have none, and what failed is filed for what it was."""
    assert cycle.proxy is not None
    healed_at = time.monotonic()
    cycle.running.wait()
    # A request that was cut short by another one's fault is one of a broken connection, or was late for its sake.
    fitting = becomes | {CONNECTION, TIMEOUT} if becomes else becomes
    cycle.outcome.complaints += auditor.audit_failures(cycle.house.results, fitting)
    cycle.outcome.notes.append(
        f"{cycle.proxy.met} met it, {cycle.proxy.swallowed} replies swallowed, "
        f"over {time.monotonic() - healed_at:.1f} s after it ended"
    )


def _nameless(cycle: Cycle) -> None:
    """The endpoint's name is not known for a while, from the start of a run on or in the middle of it."""
    assert cycle.shim is not None
    assert cycle.proxy is not None
    error = cycle.rng.choice([NAME_UNKNOWN, NAME_LATER])
    if cycle.rng.random() < 0.5:
        cycle.kill_everything()
        cycle.allowed += cycle.scenario.in_flight
        cycle.shim.set(name_error=error)
        cycle.start()
    else:
        cycle.await_moment(most=0.7)
        cycle.shim.set(name_error=error)
    cycle.proxy.cut()
    time.sleep(cycle.rng.uniform(FROM_S, TO_S))
    cycle.shim.heal()
    _look_at(cycle, frozenset({CONNECTION}))


def _unhedged(scenario: Scenario, _: Random) -> Scenario:
    """Nothing is asked twice but for the fault's sake: whoever waits for another attempt would be hedged."""
    return replace(scenario, extra=tuple(one for one in scenario.extra if one != "--hedge"))


def _patient_or_not(scenario: Scenario, rng: Random) -> Scenario:
    """Half of the runs have attempts enough to outlast the fault, half lose trials to it; none waits for long."""
    return replace(_unhedged(scenario, rng), timeout_s=1.5, attempts=rng.choice([2, 9]))


FAULTS = (
    *(
        Fault(
            family="network",
            name=fault.name,
            strike=_for_a_while(fault),
            codes=FAILED if fault.becomes else frozenset({0}),
            drains=True,
            needs_proxy=True,
            adapt=_patient_or_not if fault.becomes else _unhedged,
        )
        for fault in NETWORK_FAULTS
    ),
    Fault(
        family="network",
        name="gone for a minute",
        strike=_for_a_while(NETWORK_FAULTS[0], MINUTE_S, MINUTE_S),
        codes=FAILED,
        slow=True,
        drains=True,
        needs_proxy=True,
        adapt=_unhedged,
    ),
    Fault(
        family="network",
        name="the endpoint's name is not known",
        strike=_nameless,
        codes=FAILED,
        drains=True,
        needs_shim=True,
        needs_proxy=True,
        needs_name=True,
        adapt=_patient_or_not,
    ),
)
