"""A token bucket: how soon the next request may go at a given rate. Keeps no time of its own and wakes nobody.

The bucket is shallow: what a quiet scope saves up goes out in one burst, and providers that judge over short windows
punish bursts.
"""

from __future__ import annotations

import math

BURST_S = 0.25
_DUE = 1e-6


class Pacer:
    """Not thread-safe. ``rate`` is in units per second; a unit is a request, or a token of text."""

    __slots__ = ("_at", "_level", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._level = 1.0
        self._at = now

    @property
    def rate(self) -> float:
        """The rate in units per second."""
        return self._rate

    @property
    def _depth(self) -> float:
        return max(1.0, BURST_S * self._rate)

    def set_rate(self, now: float, rate: float) -> None:
        """Go on at another rate from ``now`` on; what has been saved up stays."""
        # Up to the new depth: who waits for a full bucket must not find it a little deeper each time it asks.
        self._fill(now, max(self._depth, BURST_S * rate))
        self._rate = rate

    def wait_s(self, now: float, cost: float = 1.0) -> float:
        """Return the seconds until ``cost`` may be taken, 0 if it may be now; infinite at a rate of 0.

        What costs more than the bucket holds goes once the bucket is full, and leaves a debt.
        """
        if not self._rate:
            return math.inf  # nothing at all, whatever was saved up
        self._fill(now, self._depth)
        missing = min(cost, self._depth) - self._level
        return missing / self._rate if missing > _DUE else 0.0

    def take(self, cost: float = 1.0) -> None:
        """Charge ``cost``; a negative one is a refund."""
        self._level -= cost

    def _fill(self, now: float, depth: float) -> None:
        if now > self._at:
            grown = self._level + (now - self._at) * self._rate
            self._level = max(self._level, min(depth, grown))
            self._at = now
