"""What others do about 429s: three controllers after their public descriptions, not the programs themselves.

- ``Backoff``: 64 workers, each backing off by itself with full jitter (M. Brooker, "Exponential Backoff And Jitter",
  2015). Differs in that it obeys ``Retry-After`` as well, as most clients do, and never gives up.
- ``Connections``: Inspect's adaptive connections (UK AI Security Institute, "Model Concurrency", August 2026): 20 in
  flight, doubled by each clean round until the first 429, then 5 % more; 0.8 of it after a 429, at most once in 15 s or
  ``Retry-After``; between 10 and 100, by fives. Differs in that a retry whose wait is over joins the end of the line,
  that its success counts, and that how full a round was is judged when it ends.
- ``AwsAdaptive``: the adaptive retry mode of botocore ("Retry behavior", AWS SDKs and Tools Reference Guide): a token
  bucket steered by a cubic with beta 0.7 and scale 0.4, off until the first refusal, never above twice the measured
  rate, which is taken over bins of 0.5 s and smoothed by 0.8. Differs in that no request is given up: what the program
  is told of after three attempts it asks for again at once. The quota of retries is left out for the same reason.
"""

from __future__ import annotations

import heapq
import math
import random

from providers.rate_control import OK, REJECTED, Permit
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
    """Steers how many requests are in flight; one that backs off keeps its place."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._limit, self._successes, self._searching = 20, 0, True
        self._cool_at = self._now = -math.inf
        self._held: list[float] = []

    def retry_in_s(self, refusals: int, hints: Hints) -> float:
        wait_s = max(
            min(1800.0, 3.0 * 2.0 ** min(refusals - 1, 10)) + 3 * self._draw.random(), hints.retry_after_s or 0.0
        )
        heapq.heappush(self._held, self._now + wait_s)
        return wait_s

    def settle(self, now: float, permit: Permit, outcome: str, hints: Hints, tokens: float | None = None) -> None:
        self._now = now
        self.in_flight -= 1
        if outcome == REJECTED:
            self._cut(now, hints.retry_after_s or 0.0)
        elif outcome == OK and now >= self._cool_at:
            self._clean_answer()

    def _most(self, now: float) -> float:
        while self._held and self._held[0] <= now:
            heapq.heappop(self._held)
        return self._limit - len(self._held)

    def _cut(self, now: float, asked_s: float) -> None:
        self._successes, self._searching = 0, False
        if now < self._cool_at:
            self._cool_at = max(self._cool_at, now + asked_s)
            return
        self._cool_at = now + max(15.0, asked_s)
        self._limit = max(10, int(0.8 * self._limit) // 5 * 5)

    def _clean_answer(self) -> None:
        self._successes += 1
        if self._successes < max(self._limit, 4):
            return
        self._successes = 0
        if self.in_flight + 1 + len(self._held) >= 0.8 * self._limit:
            more = self._limit if self._searching else max(1, round(0.05 * self._limit))
            self._limit = min(100, math.ceil((self._limit + more) / 5) * 5)


class AwsAdaptive(Backoff):
    """Steers a rate by a cubic; the second and third attempt of a request back off as well."""

    def __init__(self, workers: int = 600, seed: int = 0) -> None:
        super().__init__(workers, seed)
        self._on = False
        self._rate = self._level = self._level_at = 0.0
        self._last_most, self._cut_at = 0.5, 0.0
        self._measured, self._bin, self._count = 0.0, 0, 0

    def retry_in_s(self, refusals: int, hints: Hints) -> float:
        attempt = (refusals - 1) % 3
        return self._draw.random() * min(20.0, 2.0**attempt) if attempt < 2 else 0.0

    def _pace(self, now: float) -> float:
        if self._on:
            self._refill(now)
            if self._level < 1:
                return (1 - self._level) / self._rate + 1e-6
            self._level -= 1
        return 0.0

    def _learn(self, now: float, permit: Permit, refused: bool) -> None:
        self._measure(now)
        if refused:
            self._last_most = min(self._measured, self._rate) if self._on else self._measured
            self._cut_at, self._on = now, True
            target = 0.7 * self._last_most
        else:
            wide_s = (self._last_most * 0.3 / 0.4) ** (1 / 3)
            target = 0.4 * (now - self._cut_at - wide_s) ** 3 + self._last_most
        self._refill(now)
        self._rate = self.limit_qps = max(0.5, min(target, 2 * self._measured))
        self._level = min(self._level, max(1.0, self._rate))

    def _refill(self, now: float) -> None:
        self._level = min(max(1.0, self._rate), self._level + (now - self._level_at) * self._rate)
        self._level_at = now

    def _measure(self, now: float) -> None:
        self._count += 1
        half = math.floor(2 * now)
        if half > self._bin:
            self._measured = 0.8 * self._count * 2 / (half - self._bin) + 0.2 * self._measured
            self._bin, self._count = half, 0
