"""The control of one scope, put together from its parts. Knows the time only as it is told, and waits for nothing.

So the same code runs under worker threads (rates.py) and in virtual time (benchmarks/rate_control.py). ``try_acquire``
is asked for the request that is first in line; ``settle`` is told how each one ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from providers.rate_breaker import Breaker
from providers.rate_fuse import Crowding, Fuse
from providers.rate_gate import Gate
from providers.rate_hints import CONCURRENCY, TOKENS, Hints
from providers.rate_law import Adaptive, Law, Steady
from providers.rate_pacer import Pacer
from providers.rate_window import SHORT_S, Window

OK, REJECTED, FAILED = "ok", "rejected", "failed"
"""How a request ended: admitted, refused for its rate (429), or failed for another cause."""

LONGEST_NAP_S, FULL_NAP_S = 0.25, 0.01
SHORTEST_SILENCE_S = 0.25
NO_HINTS = Hints()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A limit that changed, in units per second. ``unit`` is ``requests`` or ``tokens``."""

    at: float
    unit: str
    rate: float
    reason: str


class Permit:
    """Leave to send one request; to be given back by ``settle``. ``waited_s`` is the time spent in line."""

    __slots__ = ("number", "others", "sent_at", "tokens", "waited_s")

    def __init__(self, number: int, sent_at: float, tokens: float, others: int = 0) -> None:
        self.number = number
        self.others = others
        self.sent_at = sent_at
        self.tokens = tokens
        self.waited_s = 0.0


class Budget:
    """What may be sent of one unit: a law, and the pacer that keeps to it."""

    def __init__(self, law: Law, now: float) -> None:
        self.law = law
        self.pacer = Pacer(law.rate, now)
        self.waited_from: float | None = None

    def wait_s(self, now: float, cost: float) -> float:
        """Return the seconds until ``cost`` may be spent."""
        if now >= self.law.until:
            self.law.grow(now, 0.0)
            self.apply(now)
        wait_s = self.pacer.wait_s(now, cost)
        if wait_s > 0 and self.waited_from is None:
            self.waited_from = now
        return wait_s

    def grow(self, now: float, allowed: bool) -> None:
        """Let the law know for how long this budget was what held requests back."""
        if self.waited_from is None:
            return
        if allowed:
            self.law.grow(now, now - self.waited_from)
            self.apply(now)
        self.waited_from = now

    def apply(self, now: float) -> None:
        """Pace by what the law now says."""
        self.pacer.set_rate(now, self.law.rate)


class RateControl:
    """Not thread-safe; times in seconds on any monotonic clock. ``on_change`` is called at once with each change.

    ``law`` decides on requests instead of one made here: a lease on a share of the rate, say (rate_leased.py).
    """

    def __init__(
        self,
        qps: float,
        now: float,
        *,
        adaptive: bool = True,
        max_in_flight: int | None = None,
        on_change: Callable[[Change], None] | None = None,
        law: Law | None = None,
    ) -> None:
        if not 0 < qps < math.inf:
            raise ValueError("qps must be above 0, and finite")
        self.in_flight = 0
        self.refusing_since: float | None = None
        self._adaptive = adaptive
        self._requests = Budget(law or (Adaptive(qps, now) if adaptive else Steady(qps)), now)
        self._tokens: Budget | None = None
        self._paced_by = self._requests
        self._mean_tokens = 0.0
        self._gate = Gate(now)
        self._window = Window(now)
        self._fuse = Fuse()
        self._crowding = Crowding()
        self._breaker = Breaker()
        self._max_in_flight = math.inf if max_in_flight is None else max_in_flight
        self._number = 0
        self._on_change = on_change
        self._told = ""
        self._note = ""

    @property
    def limit_qps(self) -> float:
        """The rate now allowed, in requests per second."""
        rate = self._requests.law.rate
        if self._tokens is not None and self._mean_tokens:
            rate = min(rate, self._tokens.law.rate / self._mean_tokens)
        return rate

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in words."""
        if self._breaker.tripped:
            return "most requests fail: one a second until one succeeds"
        if self._gate.closed:
            return "all is refused: single requests until one is admitted"
        if self._tokens is not None and self._paced_by is self._tokens:
            return f"tokens {self._tokens.law.reason}"
        return self._note or self._requests.law.reason

    def go_on(self, now: float) -> None:
        """Take the rate it began with for one that was found by another control, and search no more."""
        self._requests.law.resume(now, self._requests.law.rate, 0.0, "found before")
        self._requests.apply(now)

    def moved(self, now: float) -> None:
        """Pace by the law, which was moved from outside."""
        self._requests.apply(now)

    def forget(self, count: int) -> None:
        """So many permits will never be settled: who had them is gone, or did not use them."""
        self.in_flight -= count

    def try_acquire(self, now: float, tokens: float = 0.0) -> Permit | float:
        """Return leave to send a request now, or in how many seconds to ask again (sooner than the wait may be)."""
        wait_s = self._held_s(now)
        if wait_s is None:
            wait_s = self._paced_s(now, tokens)
        if wait_s > 0:
            return min(wait_s, LONGEST_NAP_S)
        self._number += 1
        self.in_flight += 1
        self._gate.passed(now, self._number)
        self._breaker.passed(now)
        self._spend(now, tokens)
        others = self.in_flight - 1
        self._crowding.sent(others)
        return Permit(self._number, now, tokens, others)

    def settle(
        self,
        now: float,
        permit: Permit,
        outcome: str,
        hints: Hints = NO_HINTS,
        tokens: float | None = None,
    ) -> None:
        """Tell how a request ended: OK, REJECTED or FAILED; ``tokens`` is what it used, if that is known."""
        self.in_flight -= 1
        if outcome == REJECTED:
            self.refusing_since = now if self.refusing_since is None else self.refusing_since
            self._refused(now, permit, hints)
        else:
            self.refusing_since = None
            self._admitted(now, permit, outcome, tokens)
        self._heed(now, hints)
        self._tell(now)

    def _held_s(self, now: float) -> float | None:
        """Return the wait that has nothing to do with pace; None if pace decides, 0 for a probe that may go."""
        silence_s = self._silence_s
        if self._gate.is_answered(now, silence_s):
            self._open(now)
        held_s: float | None = None
        if self.in_flight >= min(self._max_in_flight, self._fuse.limit(self._requests.law.rate)):
            held_s = FULL_NAP_S
        elif self._gate.closed:
            held_s = self._gate.wait_s(now, silence_s)
        elif self._breaker.tripped:
            held_s = self._breaker.wait_s(now)
        if held_s is not None:
            for budget in self._budgets:
                budget.waited_from = None
        return held_s

    def _paced_s(self, now: float, tokens: float) -> float:
        allowed = not self._breaker.troubled
        self._requests.grow(now, allowed)
        wait_s = self._requests.wait_s(now, 1.0)
        if self._tokens is not None:
            self._tokens.grow(now, allowed)
            for_tokens_s = self._tokens.wait_s(now, max(tokens, 1.0))
            if wait_s != for_tokens_s:
                self._paced_by = self._tokens if for_tokens_s > wait_s else self._requests
            wait_s = max(wait_s, for_tokens_s)
        return wait_s

    def _spend(self, now: float, tokens: float) -> None:
        self._requests.pacer.take(1.0)
        self._requests.law.sent(now, 1.0)
        if not self._gate.closed:
            self._window.passed(now)
        self._window.admitted(1.0)
        self._requests.waited_from = None
        if tokens:
            self._mean_tokens += (tokens - self._mean_tokens) * (0.05 if self._mean_tokens else 1.0)
        if self._tokens is not None:
            self._tokens.pacer.take(max(tokens, 1.0))
            self._tokens.law.sent(now, max(tokens, 1.0))
            self._tokens.waited_from = None

    def _refused(self, now: float, permit: Permit, hints: Hints) -> None:
        self._window.admitted(-1.0)
        if self._is_crowded(now, permit, hints):
            if self._fuse.ceiling == math.inf and not hints.cause:
                self._requests.law.search()
            if self._fuse.refused(self.in_flight):
                self._note = f"{self._fuse.ceiling:g} at a time, as 429s come when more are in flight"
            return
        was_closed = self._gate.closed
        self._gate.refused(
            now,
            permit.number,
            permit.sent_at,
            hints.retry_after_s,
            self._window.length_s,
        )
        if was_closed:
            return
        self._note = ""
        budget, cost = self._requests, 1.0
        if hints.cause == TOKENS and permit.tokens and self._adaptive:
            budget, cost = self._token_budget(now), permit.tokens
        if budget.law.refused(now, permit.sent_at, cost, self._gate.in_row) and not self._gate.closed:
            self._gate.close(now, window_s=self._window.length_s)
        budget.apply(now)

    def _is_crowded(self, now: float, permit: Permit, hints: Hints) -> bool:
        """Whether a refusal is for concurrency: it says so, or that is what explains it."""
        if hints.cause:
            return hints.cause == CONCURRENCY
        crowded = self._crowding.refused(now, permit.others)
        if self._fuse.ceiling == math.inf:
            return crowded
        if permit.others < 0.8 * self._fuse.ceiling:
            self._fuse.lift()
            self._note = ""
            return False
        return permit.others >= self._fuse.ceiling - 2

    def _admitted(self, now: float, permit: Permit, outcome: str, tokens: float | None) -> None:
        if self._gate.is_probe(permit.number):
            self._open(now)
        self._breaker.answered(outcome == FAILED)
        if outcome == OK and self._fuse.answered(now - permit.sent_at, self.in_flight):
            self._note = f"{self._fuse.ceiling:g} at a time, one more tried"
        if self._tokens is not None and tokens is not None:
            unused = permit.tokens - tokens
            self._tokens.pacer.take(-unused)
            self._mean_tokens -= 0.05 * unused

    def _open(self, now: float) -> None:
        """The gate opens: go on as before, or as what was learnt from the outage says."""
        gate, law = self._gate, self._requests.law
        gate.open(now)
        self.refusing_since = None
        if gate.opened_at - gate.began_at > SHORT_S and law.adapts:
            mean = self._window.outage_over(gate.began_at, gate.refused_at, gate.opened_at, law.before_outage)
            law.resume(now, mean, self._window.length_s)
        self._requests.apply(now)

    def _heed(self, now: float, hints: Hints) -> None:
        """Take what the provider says of its limits as where to begin."""
        if hints.requests_per_s:
            self._requests.law.told(now, hints.requests_per_s)
            self._requests.apply(now)
        if hints.tokens_per_s and self._adaptive:
            budget = self._token_budget(now)
            budget.law.told(now, hints.tokens_per_s)
            budget.apply(now)

    def _token_budget(self, now: float) -> Budget:
        if self._tokens is None:
            rate = max(1.0, self._requests.law.rate * max(self._mean_tokens, 1.0))
            self._tokens = Budget(Adaptive(rate, now), now)
        return self._tokens

    @property
    def _budgets(self) -> tuple[Budget, ...]:
        return (self._requests,) if self._tokens is None else (self._requests, self._tokens)

    @property
    def _silence_s(self) -> float:
        law = self._requests.law
        return max(SHORTEST_SILENCE_S, 3 * law.refusal_s) if law.adapts else 1.0

    def _tell(self, now: float) -> None:
        if self._on_change is not None and (reason := self.reason) != self._told:
            self._told = reason
            unit = "tokens" if reason.startswith("tokens") else "requests"
            self._on_change(Change(at=now, unit=unit, rate=self.limit_qps, reason=reason))
