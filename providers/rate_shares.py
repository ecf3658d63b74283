"""How a rate is divided: who holds which part of it and until when, and what part each of them ought to have.

Max-min fair (Bertsekas and Gallager, "Data Networks", 1992, 6.5): who wants less than an equal share gets what it
wants, the others divide the rest equally.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

HEADROOM, LEAST_HEADROOM = 1.3, 1.0
"""Who is not held back is given so many times what it uses, and up to so many requests per second more."""


class Holding:
    """What one party holds. ``grants`` are those it may follow, as (number of its report, rate, end).

    ``top`` is the rate it may reach by the last one, with what it may look past its share, ``cuts`` the last cut then.
    """

    __slots__ = ("came_at", "cuts", "demand", "fence", "grants", "seq", "top", "used")

    def __init__(self, fence: int, now: float) -> None:
        self.fence = fence
        self.came_at = now
        self.seq, self.cuts = -1, 0
        self.used = self.top = 0.0
        self.demand = math.inf
        self.grants: list[tuple[int, float, float]] = []

    @property
    def until(self) -> float:
        """When the last of its grants ends."""
        return max((until for _, _, until in self.grants), default=-math.inf)

    def claim(self, now: float, exact: bool) -> float:
        """Return the rate it may be sending at: its last grant's, or if it must be ``exact``, the greatest of all."""
        rates = [rate for _, rate, until in self.grants if until > now]
        return (max(rates) if exact else rates[-1]) if rates else 0.0

    def learn_demand(self, sent: int, period_s: float, wants: bool) -> None:
        """It has sent so many requests in a time, and was held back (``wants``) or not."""
        self.used = max(sent / period_s, self.used / 2 if sent else 0.0)
        self.demand = math.inf if wants else HEADROOM * self.used + min(LEAST_HEADROOM, self.used)


def fair_level(demands: Iterable[float], rate: float) -> float:
    """Return the share of those that want more than it: what is left by the others, divided equally."""
    sorted_demands = sorted(demands)
    left, count = rate, len(sorted_demands)
    for demand in sorted_demands:
        if demand * count >= left:
            break
        left -= demand
        count -= 1
    return left / max(count, 1)
