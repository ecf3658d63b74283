"""Keeps a process of many Python threads on one core, and moves it when that core is wanted by others.

Python's lock lets one thread of a process compute at a time. If the kernel spreads them over cores, each hand-over of
the lock wakes another core and finds its caches cold; on one core it is a switch. With 600 workers that takes four
tenths off the CPU time of a request (docs/performance.md). A core that others use as well would be a bad place, so
every few seconds the process looks where most is left, and goes there. Does nothing where affinity cannot be set, or
only one core may be used.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from pathlib import Path

FIRST_LOOK_S = 0.05
LOOK_EVERY_S = (4.0, 6.0)
"""Drawn anew each time, so that neighbours who see the same do not all move at once."""
WORTH_MOVING = 0.2
"""Of a core: how much less others must use of the new one."""


class OneCore:
    """One thread calls ``keep`` now and then."""

    def __init__(self) -> None:
        self._cores: set[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._core: int | None = None
        self._look_at = time.monotonic() + FIRST_LOOK_S
        self._before: tuple[float, float, Mapping[int, float]] | None = None

    def keep(self) -> None:
        """Stay on one core, or move to a better one if it is time to look."""
        now = time.monotonic()
        if now < self._look_at or len(self._cores) < 2:
            return
        self._look_at = now + random.uniform(*LOOK_EVERY_S)
        try:
            self._settle(now)
        except OSError:  # not allowed here
            self._cores = set()

    def _settle(self, now: float) -> None:
        import psutil

        idle_s = {core: times.idle for core, times in enumerate(psutil.cpu_times(percpu=True)) if core in self._cores}
        own_s, before, self._before = time.process_time(), self._before, (now, time.process_time(), idle_s)
        if self._core is None or before is None:
            self._go(psutil.Process().cpu_num())
            return
        took_s = now - before[0]
        others = {core: 1 - (idle_s[core] - before[2].get(core, 0.0)) / took_s for core in idle_s}
        others[self._core] -= (own_s - before[1]) / took_s
        best = min(others, key=others.__getitem__)
        if others[best] + WORTH_MOVING < others[self._core]:
            self._go(best)

    def _go(self, core: int) -> None:
        self._core = core
        for thread in Path("/proc/self/task").iterdir():
            try:
                os.sched_setaffinity(int(thread.name), {core})
            except ProcessLookupError:
                continue  # it has ended meanwhile
