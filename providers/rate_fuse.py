"""How many requests may be in flight: a fuse against a server that slows down, and a limit where one is enforced.

The fuse follows the rate: by Little's law ``rate × latency`` requests are in flight, twice that is a sign of trouble. A
429 that speaks of concurrency sets a ceiling, which then rises by one as refusals can be afforded (additive increase
after Chiu and Jain 1989; the decrease is to what the server holds, which is known exactly).
"""

from __future__ import annotations

import math
from collections import deque

EARNED_BY = 120
"""So many requests under a full ceiling pay for trying one more at a time."""

_SMOOTHING = 0.05
_REFUSALS, _SENDS, _APART_S, _RARE, _SHARE = 4, 200, 1.0, 0.25, 0.65
"""Evidence of crowding: so many refusals, so far apart; few of so many sends met as much in flight, and so great a
share of those that did was refused."""


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

    def lift(self) -> None:
        """The ceiling was a mistake."""
        self.ceiling = math.inf


class Crowding:
    """Tells a limit of concurrency from one of rate where refusals do not say.

    At a limit of concurrency most of what is sent above some number in flight is refused, and nothing below it. At a
    limit of rate refusals come while much is in flight, too, as a probe fills it; but most of what is sent then is
    admitted. Counts are of other requests in flight when one was sent. Not thread-safe.
    """

    def __init__(self) -> None:
        self._sent: deque[int] = deque(maxlen=_SENDS)
        self._refused: deque[tuple[int, int]] = deque(maxlen=_SENDS)
        self._apart: deque[int] = deque(maxlen=_REFUSALS)
        self._count = 0
        self._refused_at = -math.inf

    def sent(self, others: int) -> None:
        """A request was sent."""
        self._count += 1
        self._sent.append(others)

    def refused(self, now: float, others: int) -> bool:
        """A request was refused without words; return whether concurrency explains this one and those before."""
        self._refused.append((self._count, others))
        if now - self._refused_at >= _APART_S:  # those of one burst are one piece of evidence
            self._refused_at = now
            self._apart.append(others)
        if len(self._apart) < _REFUSALS or others < (least := min(self._apart)) or least < 2:
            return False
        above = sum(count >= least for count in self._sent)
        refused = sum(count >= least and at > self._count - _SENDS for at, count in self._refused)
        return above <= _RARE * len(self._sent) and refused >= _SHARE * above
