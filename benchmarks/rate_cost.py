"""What the rate control costs: ``python benchmarks/rate_cost.py``. CPU time per request, of this process alone.

First the control by itself, then 600 threads that ask it for leave at a fixed pace and do nothing else; their sleep
and waking are part of the cost.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from providers.rate_control import OK, Permit, RateControl
from providers.rates import limiter_for
from trials.errors import Drained

THREADS = 600


def alone(requests: int = 200_000) -> float:
    """Return the microseconds of one acquire and one settle, one thread."""
    control, now = RateControl(1000.0, 0.0), 0.0
    began = time.process_time()
    for _ in range(requests):
        while not isinstance(permit := control.try_acquire(now), Permit):
            now += permit
        control.settle(now, permit, OK)
    return (time.process_time() - began) / requests * 1e6


def in_threads(limiter: Any, seconds: float = 8.0) -> tuple[float, float]:
    """Return the requests per second that came through, and the CPU microseconds of each."""
    stop = threading.Event()
    counts = [0] * THREADS

    def work(place: int) -> None:
        try:
            while True:
                limiter.settle(limiter.acquire(stop), OK)
                counts[place] += 1
        except Drained:
            return

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    before, began, cpu = sum(counts), time.monotonic(), time.process_time()
    time.sleep(seconds)
    done, took, cpu = sum(counts) - before, time.monotonic() - began, time.process_time() - cpu
    stop.set()
    for thread in threads:
        thread.join()
    return done / took, cpu / max(done, 1) * 1e6


class NoControl:
    """The least that can be done: sleep, and wake the next in line, at a fixed pace. Decides and counts nothing."""

    def __init__(self, qps: float) -> None:
        self._qps = qps
        self._line: deque[threading.Lock] = deque()
        threading.Thread(target=self._pace, daemon=True).start()

    def acquire(self, stop: threading.Event) -> None:
        """Wait to be woken."""
        turn = threading.Lock()
        turn.acquire()
        self._line.append(turn)
        turn.acquire()
        if stop.is_set():
            raise Drained("over")

    def settle(self, permit: None, outcome: str) -> None:
        """Do nothing."""

    def _pace(self) -> None:
        began, sent, never = time.monotonic(), 0, threading.Event()
        while True:
            never.wait(max(0.005, 1 / self._qps))
            due = int((time.monotonic() - began) * self._qps)
            while sent < due and self._line:
                self._line.popleft().release()
                sent += 1


if __name__ == "__main__":
    print(f"the control alone: {alone():.1f} µs a request")
    for rate in (100.0, 1000.0, 4000.0):
        reached, cost_us = in_threads(limiter_for(rate, "fixed"))
        _, floor_us = in_threads(NoControl(rate))
        print(
            f"{THREADS} threads at {rate:,.0f}/s: {reached:,.0f}/s, {cost_us:.1f} µs a request, "
            f"of which threads that only wait and wake take {floor_us:.1f}"
        )
