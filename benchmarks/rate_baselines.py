"""What others do about 429s: three stand-ins in the manner of what is published, not the programs themselves.

- ``Backoff``: so many workers, each backing off by itself (M. Brooker, "Exponential Backoff And Jitter", 2015).
- ``Connections``: additive increase, multiplicative decrease of the requests in flight, in the manner of Inspect's
  adaptive connections: 20 to begin with, doubled while all goes well, cut on a refusal. The factor of the cut (0.8) and
  the most (200) are ours.
- ``AwsAdaptive``: a token bucket steered by a cubic, as the retry behaviour reference of the AWS SDKs describes its
  adaptive mode: factor 0.7 and scale 0.4, off until the first refusal, never above twice the measured rate.
"""

from __future__ import annotations

import math
import random

from providers.rate_control import REJECTED, Permit
from providers.rate_hints import Hints


class Backoff:
    """Sends at once; after a refusal waits u · min(60, 0.5 · 2^n) s, and as long as it is told to."""

    def __init__(self, workers: int = 64, seed: int = 0) -> None:
        self.in_flight = self._number = 0
        self.limit_qps = math.nan
        self._workers = workers
        self._draw = random.Random(seed)

    def try_acquire(self, now: float, tokens: float = 0.0) -> Permit | float:
        if self.in_flight >= self._most(now):
            return 0.05
        wait_s = self._pace(now)
        if wait_s > 0:
            return wait_s
        self.in_flight += 1
        self._number += 1
        return Permit(self._number, now, tokens)

    def settle(self, now: float, permit: Permit, outcome: str, hints: Hints, tokens: float | None = None) -> None:
        self.in_flight -= 1
        self._learn(now, permit, refused=outcome == REJECTED)

    def retry_in_s(self, refusals: int, hints: Hints) -> float:
        """Return how long a worker backs off after so many refusals of its request."""
        return max(self._draw.random() * min(60.0, 0.5 * 2.0 ** min(refusals, 10)), hints.retry_after_s or 0.0)

    def _most(self, now: float) -> float:
        return self._workers

    def _pace(self, now: float) -> float:
        return 0.0

    def _learn(self, now: float, permit: Permit, refused: bool) -> None:
        return


class Connections(Backoff):
    """Steers how many requests are in flight."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._limit, self._successes, self._searching, self._cut_at = 20.0, 0, True, -math.inf

    def _most(self, now: float) -> float:
        return self._limit

    def _learn(self, now: float, permit: Permit, refused: bool) -> None:
        if refused:
            if permit.sent_at > self._cut_at:
                self._limit, self._cut_at, self._searching = max(1.0, math.floor(0.8 * self._limit)), now, False
            self._successes = 0
            return
        self._successes += 1
        if self._successes >= self._limit and self.in_flight + 1 >= self._limit:
            self._successes = 0
            self._limit = min(200.0, 2 * self._limit if self._searching else self._limit + 1)


class AwsAdaptive(Backoff):
    """Steers a rate by a cubic; retries back off as well, up to 20 s."""

    def __init__(self, workers: int = 600, seed: int = 0) -> None:
        super().__init__(workers, seed)
        self._on = False
        self._rate = self._level = 0.0
        self._level_at = self._cut_at = 0.0
        self._last_most = self._measured = 0.0
        self._bin, self._count = 0, 0

    def retry_in_s(self, refusals: int, hints: Hints) -> float:
        return self._draw.random() * min(20.0, 2.0 ** min(refusals, 10))

    def _pace(self, now: float) -> float:
        if self._on:
            self._level = min(max(self._rate, 1.0), self._level + (now - self._level_at) * self._rate)
            self._level_at = now
            if self._level < 1:
                return (1 - self._level) / self._rate + 1e-6
            self._level -= 1
        return 0.0

    def _learn(self, now: float, permit: Permit, refused: bool) -> None:
        self._measure(now)
        if refused:
            rate = min(self._measured, self._rate) if self._on else self._measured
            self._last_most, self._cut_at = max(rate, 0.5), now
            target = 0.7 * self._last_most
            if not self._on:
                self._on, self._level_at = True, now
        else:
            wide = (self._last_most * 0.3 / 0.4) ** (1 / 3)
            target = 0.4 * (now - self._cut_at - wide) ** 3 + self._last_most
        self._pace_refill(now)
        self._rate = self.limit_qps = max(0.5, min(target, 2 * self._measured))

    def _pace_refill(self, now: float) -> None:
        if self._on:
            self._level = min(max(self._rate, 1.0), self._level + (now - self._level_at) * self._rate)
            self._level_at = now

    def _measure(self, now: float) -> None:
        self._count += 1
        half = math.floor(2 * now)
        if half > self._bin:
            self._measured = 0.8 * self._count * 2 / (half - self._bin) + 0.2 * self._measured
            self._bin, self._count = half, 0
