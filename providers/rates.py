"""How fast one scope may be asked: a token bucket whose rate is fixed, or is moved by what the provider answers.

``Pacer`` hands out tokens in order of arrival; a law on top of it sets its rate. The adaptive law is additive
increase, multiplicative decrease, after Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for
Congestion Avoidance in Computer Networks", 1989. Retry-After is left to the caller's backoff: taken as an order to
all, a wrong one would freeze a run. One limiter serves one process; sharing between processes is not done here.
"""

from __future__ import annotations

from threading import Event, Lock
from typing import Protocol

from providers.clock import Clock, MonotonicClock
from trials.errors import Drained, ProviderError

BURST_S = 0.25
"""A quiet scope saves up this much of its rate; more would trip providers that judge over short windows."""

CUT = 0.7
LOWEST_QPS = 0.1
SEARCH_S, HOLD_S = 4.0, 10.0
"""The rate grows by its start value within the first, until it is cut; then by what the cut left within the second."""

_SHORTEST_NAP_S = 0.02
_DUE_S = 1e-6


class RateLimiter(Protocol):
    """Paces the requests of one scope. Safe to use from many threads; times are on the limiter's clock, in seconds."""

    def acquire(self, stop: Event, deadline: float | None = None) -> float:
        """Wait for one token and return the seconds waited.

        Raises Drained as soon as ``stop`` is set, and ProviderError at once if no token comes before ``deadline``.
        """
        ...

    def on_success(self, sent_at: float) -> None:
        """Tell that a request sent at ``sent_at`` was answered."""
        ...

    def on_rejected(self, sent_at: float, retry_after_s: float | None) -> None:
        """Tell that a request sent at ``sent_at`` was refused for its rate (429)."""
        ...

    def on_failure(self, sent_at: float) -> None:
        """Tell that a request sent at ``sent_at`` failed for any other cause."""
        ...

    @property
    def limit_qps(self) -> float:
        """The rate now allowed, in requests per second."""
        ...

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in words."""
        ...

    @property
    def waiting(self) -> int:
        """How many threads wait for a token now."""
        ...


class Pacer:
    """Hands out numbered tokens: number n is due once the rate, summed up over time, reaches n.

    So the order is that of arrival, and a change of rate moves everyone who already waits.
    """

    def __init__(self, qps: float, clock: Clock) -> None:
        if qps <= 0:
            raise ValueError("qps must be above 0")
        self._clock = clock
        self._lock = Lock()
        self._qps = qps
        self._grown = 1.0
        self._grown_at = clock.now()
        self._taken = 0
        self.waiting = 0

    @property
    def qps(self) -> float:
        """The rate in tokens per second."""
        return self._qps

    @property
    def is_dry(self) -> bool:
        """Whether the next to come would have to wait."""
        return self._grown_by(self._clock.now()) - self._taken < 1

    def set_rate(self, qps: float) -> None:
        """Go on at another rate from now on; what has been saved up beyond it is kept."""
        with self._lock:
            self._settle(self._clock.now())
            self._qps = qps

    def acquire(self, stop: Event, deadline: float | None = None) -> float:
        """See ``RateLimiter.acquire``."""
        if stop.is_set():
            raise Drained("the run is stopping")
        came = self._clock.now()
        with self._lock:
            number, wait_s = self._take(came, deadline)
            if wait_s <= _DUE_S:
                return 0.0
            self.waiting += 1
        try:
            return self._wait(number, wait_s, came, stop)
        finally:
            with self._lock:
                self.waiting -= 1

    def _take(self, now: float, deadline: float | None) -> tuple[int, float]:
        self._settle(now)
        number = self._taken + 1
        wait_s = self._due_in(number, now)
        if deadline is not None and now + wait_s > deadline:
            raise ProviderError(f"the rate limit of {self._qps:.1f}/s leaves no time", kind="rate_limited")
        self._taken = number
        return number, wait_s

    def _wait(self, number: int, wait_s: float, came: float, stop: Event) -> float:
        while wait_s > _DUE_S:
            # Half of what is left, so that a rate which has risen meanwhile is noticed in time, and seldom enough
            # that hundreds of waiting threads cost next to nothing.
            if self._clock.wait(stop, min(wait_s, max(wait_s / 2, _SHORTEST_NAP_S))):
                raise Drained("the run is stopping")
            with self._lock:
                wait_s = self._due_in(number, self._clock.now())
        return self._clock.now() - came

    def _settle(self, now: float) -> None:
        most = self._taken + max(1.0, BURST_S * self._qps)
        self._grown = min(self._grown_by(now), most)
        self._grown_at = now

    def _grown_by(self, now: float) -> float:
        return self._grown + (now - self._grown_at) * self._qps

    def _due_in(self, number: int, now: float) -> float:
        return (number - self._grown_by(now)) / self._qps


class FixedRate:
    """Keeps the stated rate, whatever the provider answers."""

    def __init__(self, qps: float, clock: Clock | None = None) -> None:
        self._pacer = Pacer(qps, clock or MonotonicClock())

    def acquire(self, stop: Event, deadline: float | None = None) -> float:
        return self._pacer.acquire(stop, deadline)

    def on_success(self, sent_at: float) -> None:
        return

    def on_rejected(self, sent_at: float, retry_after_s: float | None) -> None:
        return

    def on_failure(self, sent_at: float) -> None:
        return

    @property
    def limit_qps(self) -> float:
        return self._pacer.qps

    @property
    def reason(self) -> str:
        return "fixed"

    @property
    def waiting(self) -> int:
        return self._pacer.waiting


class AdaptiveRate(FixedRate):
    """Feels for the limit that nobody tells: up by a little while it is in full use, down by a share when refused.

    It starts at ``qps`` and has no upper bound. Of a burst of refusals only the first counts: a request sent before
    the last cut says nothing about the rate after it.
    """

    def __init__(self, qps: float, clock: Clock | None = None) -> None:
        clock = clock or MonotonicClock()
        super().__init__(qps, clock)
        self._clock = clock
        self._law = Lock()
        self._cut_at = float("-inf")
        self._growth = qps / SEARCH_S
        self._last_change = ("start value", qps, qps)

    def on_success(self, sent_at: float) -> None:
        if sent_at < self._cut_at or not self._pacer.is_dry:
            return
        with self._law:
            # Answers come in at the rate itself, so this adds up to ``_growth`` per second.
            before = self._pacer.qps
            self._move(before + self._growth / max(before, 1.0), "as it was in full use")

    def on_rejected(self, sent_at: float, retry_after_s: float | None) -> None:
        with self._law:
            if sent_at <= self._cut_at:
                return
            self._cut_at = self._clock.now()
            left = max(LOWEST_QPS, self._pacer.qps * CUT)
            self._growth = left / HOLD_S
            self._move(left, "after a 429")

    @property
    def reason(self) -> str:
        cause, before, after = self._last_change
        if before == after:
            return f"{cause} {after:.1f}/s"
        return f"{'raised' if after > before else 'cut'} from {before:.1f} to {after:.1f}/s, {cause}"

    def _move(self, qps: float, cause: str) -> None:
        self._last_change = (cause, self._pacer.qps, qps)
        self._pacer.set_rate(qps)


def limiter_for(qps: float, rate_mode: str, clock: Clock | None = None) -> RateLimiter:
    """Return the limiter of one scope: ``adaptive`` starts at ``qps``, any other mode keeps it."""
    return AdaptiveRate(qps, clock) if rate_mode == "adaptive" else FixedRate(qps, clock)
