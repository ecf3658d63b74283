"""Faults: clocks that jump, file descriptors and memory that run out."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path

from fault_cycle import Cycle, Fault, Strike

RESUMABLE = frozenset({0, 1, 2, 3})
NOBODY = 1 << 30
"""No process has this id."""

HOUR_NS = 3_600_000_000_000


def _jump(hours: float) -> Strike:
    """The wall clock jumps, and a second later back by half of that."""

    def strike(cycle: Cycle) -> None:
        assert cycle.shim is not None
        cycle.await_moment()
        cycle.shim.set(clock_offset_ns=int(hours * HOUR_NS))
        time.sleep(cycle.rng.uniform(0.2, 1.0))
        cycle.shim.set(clock_offset_ns=int(hours * HOUR_NS / 2))

    return strike


def _target(cycle: Cycle, whom: str) -> int | None:
    """Return the process to strike, None if it has gone; often while it still opens what it needs."""
    if cycle.rng.random() < 0.6:
        cycle.await_shard()
        time.sleep(cycle.rng.uniform(0.0, 1.0))
    else:
        cycle.await_moment(most=0.7, may_be_early=False)
    if whom == "supervisor":
        return cycle.running.process.pid
    found = cycle.await_shard()
    return None if found is None else found[1].pid


def _few_files(whom: str) -> Strike:
    def strike(cycle: Cycle) -> None:
        pid = _target(cycle, whom)
        with contextlib.suppress(OSError):
            highest = max(int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir())
            limit = highest + 1 + cycle.rng.randint(-2, 2)
            resource.prlimit(pid or NOBODY, resource.RLIMIT_NOFILE, (limit, limit))

    return strike


def _little_memory(whom: str) -> Strike:
    def strike(cycle: Cycle) -> None:
        pid = _target(cycle, whom)
        with contextlib.suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + cycle.rng.choice([0, 1 << 20, 1 << 24])
            resource.prlimit(pid or NOBODY, resource.RLIMIT_AS, (limit, limit))

    return strike


FAULTS = (
    Fault(family="clock", name="jumps an hour ahead", strike=_jump(1), needs_shim=True, drains=True),
    Fault(family="clock", name="jumps a day back", strike=_jump(-24), needs_shim=True, drains=True),
    Fault(family="clock", name="jumps ten years ahead", strike=_jump(87_600), needs_shim=True, drains=True),
    *(
        Fault(family="limits", name=f"{name} of the {whom}", strike=make(whom), codes=RESUMABLE | {-6, -9, -11})
        for name, make in (("file descriptors", _few_files), ("memory", _little_memory))
        for whom in ("supervisor", "shard")
    ),
)
