"""Which request meets which fault. Says what goes wrong, not how that looks on the wire (see broken.py).

The fault is drawn from (seed, trial, turn, how many times this turn was asked), so a run is repeatable and a
retry may succeed. Limits and refusals come before faults and do not count as asking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from simulator.asked import Asked
from trials.digest import uniform

KINDS = ("429", "429-bare", "500", "503", "hang", "cut", "truncated", "non-json", "html")


class FaultPlan:
    """Draws faults at these rates (kind → share of requests; the sum is at most 1).

    Requests are remembered by a 64-bit hash, some 120 bytes each, and only if there are faults to draw.
    """

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._rates = {kind: rate for kind, rate in rates.items() if rate > 0}
        self._asked: Counter[int] = Counter()

    def draw(self, asked: Asked) -> str | None:
        """Return the kind of fault this request meets, or None."""
        if not self._rates:
            return None
        identity = asked.identity
        parts = (identity.trial_key, identity.task_id, identity.epoch, asked.turn)
        request = hash(parts)
        times_asked = self._asked[request]
        self._asked[request] += 1
        share = uniform(identity.seed, "fault", *parts, times_asked)
        for kind, rate in self._rates.items():
            if share < rate:
                return kind
            share -= rate
        return None


def fault_rates(total: float, single: Mapping[str, float]) -> dict[str, float]:
    """Spread ``total`` equally over all kinds, then let ``single`` rates replace theirs.

    Raises ValueError for an unknown kind, or rates that are negative or add up to more than 1.
    """
    unknown = sorted(set(single) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown fault kind {unknown[0]!r}; choose from {', '.join(KINDS)}")
    rates = {kind: total / len(KINDS) for kind in KINDS} | dict(single)
    if min(rates.values()) < 0 or sum(rates.values()) > 1 + 1e-9:
        raise ValueError("fault rates must not be negative, nor add up to more than 1")
    return rates
