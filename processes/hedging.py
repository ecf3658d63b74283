"""When a second shard may try a trial that another one is still at: in the tail, past the 99th percentile.

After Dean and Barroso, "The tail at scale" (CACM 56, 2013): a second attempt once the first has taken longer than
nearly all others do costs few requests, and takes the long tail away. Decides only; sends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

REMEMBERED = 2000
FEWEST = 20
"""So many trials must have ended before anything is called slow."""


class Hedging:
    """Times trials from their handing out to their end, and names those that take too long. Not thread-safe."""

    def __init__(self, percentile: float = 99.0) -> None:
        self._share = percentile / 100
        self._since: dict[int, float] = {}
        self._took_s: deque[float] = deque(maxlen=REMEMBERED)

    def handed_out(self, numbers: Iterable[int], now: float) -> None:
        """A shard has these trials now."""
        for number in numbers:
            self._since.setdefault(number, now)

    def ended(self, numbers: Iterable[int], now: float) -> None:
        """These trials have ended."""
        for number in numbers:
            since = self._since.pop(number, None)
            if since is not None:
                self._took_s.append(now - since)

    def slow_s(self) -> float | None:
        """Return the seconds beyond which a trial is slow; None while too few have ended to tell."""
        if len(self._took_s) < FEWEST:
            return None
        took_s = sorted(self._took_s)
        return took_s[min(len(took_s) - 1, int(self._share * len(took_s)))]

    def slow(self, numbers: Iterable[int], now: float) -> list[int]:
        """Return those of these trials that have taken longer than that, the longest first."""
        limit_s = self.slow_s()
        if limit_s is None:
            return []
        waited = sorted((self._since[number], number) for number in numbers if number in self._since)
        return [number for since, number in waited if now - since > limit_s]
