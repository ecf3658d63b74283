"""The law of a node that holds a lease on a share of a scope's rate: paces by it, and gathers what it meets.

It decides nothing: the law proper is moved by the keeper (rate_leases.py), to which this one's reports go and from
which its grants come, however they travel. Without a lease, or once it has ended, the rate is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from providers.rate_law import AFTER_OUTAGE
from providers.rate_leases import HUNGRY

APART_S = 0.05
"""Reports are at least so far apart."""

UNANSWERED_S = 2.0
"""After so long without a grant another report is sent."""

_MOST_REFUSALS = 64
_TELLING_S = 1.0
"""A shorter time does not tell that nothing more is wanted."""

_AT_ONCE_S = 0.1
"""Held back for so long, who had wanted nothing says so before it is its turn."""


class Leased:
    """See ``providers.rate_law.Law``. ``party`` is the holder's name: nobody else's, now or ever.

    ``due`` and ``take`` are called with the times of the clock that its control goes by. Not thread-safe.
    """

    def __init__(self, party: str, qps: float, now: float, *, adaptive: bool) -> None:
        self.party = party
        self.rate = 0.0
        self.reason = "waits for its share of the limit"
        self.until = -math.inf
        self.adapts = adaptive
        self.refusal_s = 0.1
        self.before_outage = 0.0
        self.limit_qps = 0.0
        self.parties = 1
        self._qps = qps
        self._seq = self._taken = 0
        self._fence: int | None = None
        self._sent_at: dict[int, float] = {}
        self._curve: list[tuple[float, float]] = [(0.0, 0.0)]
        self._grown_s = 0.0
        self._cuts = 0
        self._cut_at = -math.inf
        self._pause = self._confirm = self._wanted = False
        self._told = self._told_last = 0.0
        self._reported_at = now
        self._renew_at = math.inf
        self._forget()

    def _forget(self) -> None:
        self._sent = 0
        self._used_s = 0.0
        self._refused: list[tuple[float, float, int, int]] = []
        self._resume: tuple[float | None, float, int] | None = None
        self._search = self._in_vain = self._urgent = False

    def sent(self, now: float, cost: float, requests: int = 1) -> None:
        """See ``Law``."""
        self._sent += requests

    def grow(self, now: float, used_s: float) -> None:
        """See ``Law``. Asked for without a lease, or without a rate, it is known to be wanted."""
        if now >= self.until:
            self.rate = 0.0
        if not self.rate:
            self._in_vain = True
            self._urgent = self._urgent or not self._wanted
            return
        self._used_s += used_s
        self._grown_s += used_s
        self.rate = self._rate_at(self._grown_s)
        if not self._wanted and self._used_s > max(_AT_ONCE_S, HUNGRY * (now - self._reported_at)):
            self._urgent = True

    def refused(self, now: float, sent_at: float, cost: float, in_row: int = 1) -> bool:
        """See ``Law``."""
        if len(self._refused) < _MOST_REFUSALS:
            self._refused.append((now, sent_at, in_row, self._cuts if sent_at >= self._cut_at else self._cuts - 1))
        self._urgent = self._urgent or self._is_news()
        pause, self._pause = self._pause, False
        return pause

    def _is_news(self) -> bool:
        """Whether the last refusal says more than that a cut was due which has been made, or has been asked for."""
        return self.adapts and self._taken == self._seq and bool(self._refused) and self._refused[-1][3] == self._cuts

    def told(self, now: float, rate: float) -> None:
        """See ``Law``. The limit that is named is the whole scope's."""
        self._told = rate
        if abs(rate - self._told_last) > 0.05 * self._told_last:
            self._urgent = self._urgent or self.adapts

    def resume(self, now: float, rate: float | None, window_s: float, why: str = AFTER_OUTAGE) -> None:
        """See ``Law``."""
        self._resume = (rate, window_s, self._cuts)
        self._urgent = self.adapts

    def search(self) -> None:
        """See ``Law``."""
        self._search = self._urgent = self.adapts

    def due(self, now: float) -> dict[str, Any] | None:
        """Return a report that is to be sent now, if there is one; what is in it is not reported again."""
        if self._confirm:
            return self._report(now)
        if not self._urgent and now < self._renew_at:
            return None
        if now - self._reported_at < APART_S and self._seq:
            return None
        return self._report(now)

    def leave(self, now: float) -> dict[str, Any]:
        """Give the lease back; return the report that says so."""
        self.rate, self.until = 0.0, -math.inf
        return {**self._report(now), "leaving": True}

    def take(self, grant: Mapping[str, Any], now: float) -> bool:
        """Go by a grant; return whether it is of use: not if it is another's, comes too late, or after a newer one."""
        sent_at = self._sent_at.get(grant["seq"])
        if grant["party"] != self.party or sent_at is None:
            return False
        self._sent_at = {seq: at for seq, at in self._sent_at.items() if seq > grant["seq"]}
        if now >= sent_at + grant["for_s"]:
            return False
        self._taken, self._fence = grant["seq"], grant["fence"]
        self.until = sent_at + grant["for_s"]
        if self._seq == grant["seq"]:
            self._renew_at = sent_at + grant["renew_in_s"]
        self._curve = [(used_s, rate) for used_s, rate in grant["curve"]]
        self._grown_s = 0.0
        self.rate = self._rate_at(0.0)
        if not self.rate and not self._wanted:
            self._renew_at = math.inf  # nothing to hold, until something is wanted
        if grant["cuts"] != self._cuts:
            self._cuts, self._cut_at = grant["cuts"], now
        self._pause, self._confirm = grant["pause"], grant["confirm"]
        self.limit_qps, self.before_outage = grant["limit"], grant["before_outage"]
        self.refusal_s, self.parties = grant["refusal_s"], grant["parties"]
        self.reason = grant["reason"]
        self._urgent = self._urgent or self._is_news()
        return True

    def _rate_at(self, used_s: float) -> float:
        """Return the rate after so many seconds in full use: between two points of the curve, as on a line."""
        before_s, rate = self._curve[0]
        for at_s, value in self._curve:
            if used_s <= at_s:
                share = (used_s - before_s) / (at_s - before_s) if at_s > before_s else 1.0
                return rate + share * (value - rate)
            before_s, rate = at_s, value
        return rate

    def _report(self, now: float) -> dict[str, Any]:
        self._seq += 1
        period_s = now - self._reported_at
        short = self._wanted and period_s < _TELLING_S
        self._wanted = short or self._in_vain or self._used_s > HUNGRY * period_s
        held = self.rate if now < self.until else 0.0
        report = {
            "party": self.party,
            "seq": self._seq,
            "fence": self._fence,
            "taken": self._taken,
            "mode": "adaptive" if self.adapts else "fixed",
            "qps": self._qps,
            "holds": held,
            "limit": self.limit_qps,
            "period_s": period_s,
            "wants": self._wanted,
            "leaving": False,
            "sent": self._sent,
            "used_s": self._used_s,
            "refused": [[now - met, now - sent, in_row, cuts] for met, sent, in_row, cuts in self._refused],
            "told": self._told,
            "resume": self._resume and list(self._resume),
            "search": self._search,
        }
        self._told_last = self._told
        self._sent_at[self._seq] = self._reported_at = now
        self._renew_at = now + UNANSWERED_S
        self._confirm = False
        self._forget()
        return report
