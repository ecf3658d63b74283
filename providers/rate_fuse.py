"""How many requests may be in flight: a fuse against a server that slows down, and a limit where one is enforced.

The fuse follows the rate: by Little's law ``rate × latency`` requests are in flight, twice that is a sign of trouble. A
429 that speaks of concurrency sets a ceiling, which then rises by one as refusals can be afforded (additive increase
after Chiu and Jain 1989; the decrease is to what the server holds, which is known exactly).
"""

from __future__ import annotations

import math

EARNED_BY = 120
"""So many requests under a full ceiling pay for trying one more at a time."""

_SMOOTHING = 0.05


class Fuse:
    """Not thread-safe. ``latency_s`` is that of completions, smoothed, 0 while unknown."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.ceiling = math.inf
        self._full = 0
        self._step = 1

    def limit(self, rate: float) -> float:
        """Return how many requests may be in flight at ``rate`` requests per second."""
        expected = math.ceil(2 * rate * self.latency_s) if self.latency_s else math.inf
        return min(max(2, expected), self.ceiling)

    def answered(self, latency_s: float, in_flight: int) -> bool:
        """A completion came, with so many others in flight; return whether the ceiling rose."""
        share = _SMOOTHING if self.latency_s else 1.0
        self.latency_s += share * (latency_s - self.latency_s)
        if in_flight + 1 < self.ceiling or self.ceiling == math.inf:
            return False
        self._full += 1
        # A ceiling that was raised without a refusal rises further soon, and faster.
        if self._full < (EARNED_BY if self._step == 1 else 2 * self.ceiling):
            return False
        self._full = 0
        self.ceiling += self._step
        self._step = min(2 * self._step, 16)
        return True

    def refused(self, in_flight: int) -> bool:
        """A request was refused for concurrency, with so many others in flight; return whether the ceiling fell."""
        self._full, self._step = 0, 1
        before, self.ceiling = self.ceiling, min(self.ceiling, max(1, in_flight))
        return self.ceiling < before
