"""The rate control of one scope under worker threads: who may send next, and when.

Threads stand in one line; only the first of it asks the control and sleeps, the others wait for its word. So a request
costs one wake-up, however many threads wait, the order is that of arrival, and a change of the limit moves everyone.
The control itself is in rate_control.py; see docs/rate-control.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock
from typing import Any

from providers.clock import Clock, MonotonicClock
from providers.rate_control import NO_HINTS, Change, Permit, RateControl
from providers.rate_hints import Hints
from trials.errors import Drained, ProviderError

GRACE_S = 30.0
"""So long is tried for a request that comes when all has been refused for longer than anyone is patient."""

_SHORTEST_NAP_S = 0.005
"""Waking costs more than all that is decided; at high rates a few requests go at each."""


class RateLimiter:
    """Paces the requests of one scope. Safe to use from many threads; times are on its clock, in seconds."""

    def __init__(self, control: RateControl, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._lock = Lock()
        self._line: deque[Any] = deque()

    def acquire(
        self, stop: Event, *, tokens: float = 0.0, patience_s: float = float("inf"), began: float | None = None
    ) -> Permit:
        """Wait for leave to send one request, which ``settle`` must be told the end of.

        ``tokens`` is what it may use at most. Raises Drained as soon as ``stop`` is set, and ProviderError when the
        provider has answered nothing but 429 for ``patience_s``; but not before the request, which was first sent or
        queued at ``began`` (None: now), has had its chance.
        """
        came = self._clock.now()
        first = came if began is None else began
        self._stand_in_line()
        try:
            while True:
                if stop.is_set():
                    raise Drained("the run is stopping")
                now = self._clock.now()
                with self._lock:
                    answer = self._control.try_acquire(now, tokens)
                    since = self._control.refusing_since
                if isinstance(answer, Permit):
                    answer.waited_s = now - came
                    return answer
                if since is not None and now >= max(since + patience_s, first + min(GRACE_S, patience_s)):
                    raise ProviderError(f"nothing but 429s for {now - since:.0f} s", kind="rate_limited", attempts=0)
                self._clock.wait(stop, max(answer, _SHORTEST_NAP_S))
        finally:
            self._leave_line()

    def settle(self, permit: Permit, outcome: str, hints: Hints = NO_HINTS, tokens: float | None = None) -> None:
        """Tell how a request ended; see ``RateControl.settle``."""
        now = self._clock.now()
        with self._lock:
            self._control.settle(now, permit, outcome, hints, tokens)

    def set_ceiling(self, qps: float | None) -> None:
        """Stay at or below ``qps`` whatever is learnt: a grant from who shares one limit out. None: no ceiling."""
        with self._lock:
            self._control.set_ceiling(self._clock.now(), qps)

    @property
    def limit_qps(self) -> float:
        """The rate now allowed, in requests per second."""
        return self._control.limit_qps

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in words."""
        return self._control.reason

    @property
    def waiting(self) -> int:
        """How many threads wait for leave now."""
        return len(self._line)

    def _stand_in_line(self) -> None:
        turn = Lock()
        turn.acquire()
        with self._lock:
            self._line.append(turn)
            first = len(self._line) == 1
        if not first:
            turn.acquire()

    def _leave_line(self) -> None:
        with self._lock:
            self._line.popleft()
            if self._line:
                self._line[0].release()


def limiter_for(
    qps: float, rate_mode: str, clock: Clock | None = None, on_change: Callable[[Change], None] | None = None
) -> RateLimiter:
    """Return the limiter of one scope: ``adaptive`` starts at ``qps``, any other mode keeps it.

    ``on_change`` is told of each change of the limit, from the thread that met its cause; it must not wait.
    """
    clock = clock or MonotonicClock()
    control = RateControl(qps, clock.now(), adaptive=rate_mode == "adaptive", on_change=on_change)
    return RateLimiter(control, clock)
