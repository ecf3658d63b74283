"""One rate limit for holders on many nodes: who may send at what rate, and until when.

For each scope a keeper moves the law (rate_law.py) by what holders report, and divides the law's rate among them by
leases (after Gray and Cheriton, "Leases", SOSP 1989). A holder (rate_leased.py) sends under its lease without asking,
and not at all once it has ended; so one that is stopped or cut off stops by itself, and its share is given to others
only after that. Shares are max-min fair: who wants less than an equal share gets what it uses and some headroom, those
that are held back divide the rest. What is above a plateau, to see whether the limit has risen, goes to one holder, the
scout, so that the others meet few refusals for it. Nothing here knows the time, threads or sockets, or waits.

A report is JSON-like, and so is the grant that answers it:

    {"party", "seq", "fence", "taken", "mode", "qps",             who, which report, which lease, which grant it follows
     "holds", "limit", "period_s", "wants", "leaving",            its rate, the scope's as last told, was it held back
     "sent", "used_s", "refused", "told", "resume", "search"}     what it met in that period
    {"party", "seq", "fence", "curve", "for_s", "renew_in_s", "confirm", "cuts", "limit", "before_outage",
     "refusal_s", "pause", "parties", "reason"}

``refused`` lists [seconds ago, sent seconds ago, how many in a row, the last cut that the holder had heard of];
``curve`` lists [seconds in full use, rate]. ``for_s`` counts at the holder from when it sent the report, so that its
lease ends there before it ends here.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from providers.rate_law import LOWEST, Adaptive, Steady
from providers.rate_shares import Holding, fair_level

REQUESTS_A_REPORT = 200
"""A holder renews once in so many of its requests. Refusals are reported as well, one in a hundred requests."""

SHORTEST_S, LONGEST_S = 0.5, 30.0
SLACK_S = (3.0, 30.0)
"""A lease outlives the time of its renewal by twice that time, within these bounds."""

LEASE_S = LONGEST_S + SLACK_S[1]
"""No lease lasts longer."""

YOUNG, LEAST_YOUNG_S = 0.5, 1.0
"""A holder renews within this part of its age, so that shares settle soon where many have just come."""

LOOK_S, ALONE_LOOK_S, STARVED_S = 1.0, 3.0, 5.0
"""A scout looks for so long before it asks again, with others and alone; who got nothing asks again after as long."""

HUNGRY = 0.2
"""Who was held back for so great a share of the time wants more."""

EXCESS = 0.05
"""Where those that have not heard of a cut send so much too much, as a part of the rate, they may be the cause."""

KEEPS = 0.5
"""After a cut who asks keeps so much of its fair share, though others have not yet heard of the cut."""

POINTS, LATE = 12, 1.25
"""A rate grows in so many steps, and no further once a renewal is late by a quarter of its time."""

MOST_GROWTH = 2.0
LEVEL_EVERY_S = 0.25
_NOTHING = 1e-6


class LeaseKeeper:
    """The limit of one scope, and who holds which share. Not thread-safe; ``now`` is on any clock that goes on evenly.

    ``restarted``: there may be leases of a keeper before this one, so for as long as one lasts nobody gets more than it
    says it has.
    """

    def __init__(self, report: Mapping[str, Any], now: float, *, restarted: bool = False) -> None:
        adaptive = report["mode"] == "adaptive"
        self._law: Adaptive | Steady = Adaptive(report["qps"], now) if adaptive else Steady(report["qps"])
        self._exact = not adaptive
        self._began_at = now
        self._adopts_until = now + LEASE_S if restarted else now
        self._parties: dict[str, Holding] = {}
        self._scout = ""
        self._used_until = now
        self._bound = MOST_GROWTH * self._law.rate
        self._forgot_at = self._levelled_at = -math.inf
        self._levelled_for = 0
        self._level_share = 1.0
        # Numbers of an earlier keeper must not pass for this one's.
        self._fence = secrets.randbits(30) << 20

    @property
    def parties(self) -> int:
        """How many hold a lease."""
        return len(self._parties)

    @property
    def limit_qps(self) -> float:
        """The rate of the whole scope now, in requests per second."""
        return self._law.rate

    def claimed_qps(self, now: float) -> float:
        """Return the sum of the leases that have not ended, as they are shared out."""
        return sum(party.claim(now, self._exact) for party in self._parties.values())

    def renew(self, report: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Take a report and return what its party may do next. A report that comes twice moves nothing twice."""
        self._forget(now)
        name, seq = report["party"], report["seq"]
        party = self._parties.get(name)
        pause = False
        if party is None or party.fence != report["fence"] or party.until <= now:
            self._adopt(report, now)
            # It holds nothing that counts here, and what it did under a lease that has ended is not looked at.
            self._fence += 1
            earlier = [] if party is None or seq <= party.seq else party.grants  # may still be on their way to it
            party = self._parties[name] = Holding(self._fence, now)
            party.grants = earlier
            party.demand = math.inf if report["wants"] else 0.0
        elif seq > party.seq:
            party.grants = [grant for grant in party.grants if grant[0] >= report["taken"]]
            pause = self._learn(report, party, now)
        party.seq = max(seq, party.seq)
        if report["leaving"]:
            del self._parties[name]
        return self._grant(name, party, report, pause, now)

    def _adopt(self, report: Mapping[str, Any], now: float) -> None:
        """Find out whether a stranger holds a lease of an earlier keeper: then there may be more of them."""
        if report["fence"] is None or report["holds"] <= 0 or now >= self._began_at + LEASE_S:
            return
        self._adopts_until = self._began_at + LEASE_S
        if self._law.searching:
            self._law.resume(now, report["limit"], 0.0, "found before")

    def _forget(self, now: float) -> None:
        if now - self._forgot_at < LEVEL_EVERY_S:
            return
        self._forgot_at = now
        for name in [name for name, party in self._parties.items() if party.until <= now]:
            del self._parties[name]

    def _learn(self, report: Mapping[str, Any], party: Holding, now: float) -> bool:
        """Move the law by what a holder met; return whether it is to pause rather than to slow down."""
        law, period_s = self._law, max(report["period_s"], 1e-3)
        party.learn_demand(report["sent"], period_s, report["wants"])
        # Those in full use at the same time tell of the same seconds: none counts twice.
        began = max(self._used_until, now - period_s)
        used_s = min(report["used_s"], now - began)
        if report["party"] != self._scout and not report["refused"]:
            used_s = min(used_s, law.hold_left_s)  # only the scout knows how far a look has come
        while used_s > _NOTHING and law.preview(used_s, beyond=True) > self._bound:
            used_s -= 0.1 * used_s  # no further than anybody was let
        if used_s > _NOTHING:
            self._used_until = began + used_s
            law.grow(now, used_s)
        law.sent(now, 1.0, report["sent"])
        if report["told"]:
            law.told(now, report["told"])
        pause = False
        for met_s, sent_s, in_row, cuts in report["refused"]:
            stale = cuts < law.cuts or self._is_overrun(party, now)
            pause = law.refused(now - met_s, now - sent_s, 1.0, in_row, stale=stale) or pause
        if report["resume"] is not None:
            self._resume(party, now, *report["resume"])
        if report["search"]:
            law.search()
        return pause

    def _is_overrun(self, but: Holding, now: float) -> bool:
        """Whether others have not heard of the last cut and send so much that a refusal says nothing of the rate."""
        unheard = [one for one in self._parties.values() if one.cuts < self._law.cuts and one is not but]
        if not unheard:
            return False
        level = self._level(self._law.rate, now)
        excess = sum(max(0.0, one.top - min(one.demand, level)) for one in unheard)
        return excess > EXCESS * self._law.rate

    def _resume(self, party: Holding, now: float, rate: float | None, window_s: float, cuts: int) -> None:
        """A holder's outage is over: one is enough to tell of it. What it learnt is its share of the limit."""
        if cuts < self._law.cuts or not self._law.adapts:
            return
        share = party.claim(now, False) / max(self.claimed_qps(now), _NOTHING)
        self._law.resume(now, None if rate is None or not share else rate / share, window_s)

    def _grant(self, name: str, party: Holding, report: Mapping[str, Any], pause: bool, now: float) -> dict[str, Any]:
        law = self._law
        base = law.preview(0.0, beyond=False)
        fair = min(party.demand, self._level(base, now))
        scout = self._is_scout(name, party)
        renew_in_s = self._renew_in_s(name, party, fair, now)
        for_s = renew_in_s + min(max(2 * renew_in_s, SLACK_S[0]), SLACK_S[1])
        growth = min(MOST_GROWTH, law.preview(LATE * renew_in_s, beyond=False) / base)
        before = party.claim(now, self._exact)
        free = growth * base - sum(one.claim(now, self._exact) for one in self._parties.values() if one is not party)
        peak = max(0.0, min(growth * fair, free))
        if not self._exact:
            peak = max(peak, min(KEEPS * fair, before))
        if now < self._adopts_until:
            held = report["holds"] if report["fence"] != party.fence else before
            peak = min(growth * fair, held)
        if report["leaving"] or peak < _NOTHING:
            peak = 0.0
        party.grants = [grant for grant in party.grants if grant[2] > now]
        party.grants.append((party.seq, peak, now + for_s))
        curve = self._curve(peak / (growth * base), growth, LATE * renew_in_s, scout)
        party.cuts, party.top = law.cuts, max(rate for _, rate in curve)
        others = self.parties - 1 if name in self._parties else self.parties
        return {
            "party": name,
            "seq": report["seq"],
            "fence": party.fence,
            "curve": curve,
            "for_s": for_s,
            "renew_in_s": renew_in_s if peak else max(LEAST_YOUNG_S, min(renew_in_s, STARVED_S)),
            "confirm": self._exact and peak < 0.95 * before and self._someone_waits(party, now),
            "cuts": law.cuts,
            "limit": law.rate,
            "before_outage": law.before_outage,
            "refusal_s": law.refusal_s,
            "pause": pause,
            "parties": others + 1,
            "reason": f"{law.reason} (shared by {others + 1} nodes)" if others else law.reason,
        }

    def _level(self, rate: float, now: float) -> float:
        """Return the share of those that are held back; worked out anew a few times a second."""
        if now - self._levelled_at >= LEVEL_EVERY_S or self._levelled_for != self.parties:
            self._levelled_at, self._levelled_for = now, self.parties
            self._level_share = fair_level((one.demand for one in self._parties.values()), rate) / rate
        return self._level_share * rate

    def _renew_in_s(self, name: str, party: Holding, rate: float, now: float) -> float:
        renew_in_s = min(LONGEST_S, REQUESTS_A_REPORT / max(rate, _NOTHING), self._age_s(party, now))
        if isinstance(self._law, Adaptive) and party.demand == math.inf:
            if self._law.searching:
                renew_in_s = LOOK_S
            elif self._scout == name:
                # In time for the look; then, where others may meet what it causes, often.
                look_s = LOOK_S if self.parties > 1 else ALONE_LOOK_S
                renew_in_s = min(renew_in_s, self._law.hold_left_s + look_s)
        return max(renew_in_s, SHORTEST_S)

    @staticmethod
    def _age_s(party: Holding, now: float) -> float:
        return max(LEAST_YOUNG_S, YOUNG * (now - party.came_at))

    def _is_scout(self, name: str, party: Holding) -> bool:
        """Whether a party is to look past the plateau: one does, and only one that uses what it gets."""
        if self._scout == name or self._scout not in self._parties:
            self._scout = name if party.demand == math.inf else ""
        return self._scout == name

    def _someone_waits(self, but: Holding, now: float) -> bool:
        level = self._level(self._law.rate, now)
        others = (party for party in self._parties.values() if party is not but)
        return any(party.claim(now, True) < 0.95 * min(party.demand, level) for party in others)

    def _curve(self, share: float, growth: float, grows_s: float, scout: bool) -> Sequence[tuple[float, float]]:
        """Return the rate as it may grow: a share of what is safe, and for the scout all that is above it."""
        if share <= 0:
            return [(0.0, 0.0)]
        law, curve = self._law, []
        most = MOST_GROWTH * law.preview(0.0, beyond=True)
        base = law.preview(0.0, beyond=False)
        if scout or law.searching:
            self._bound = most
        for place in range(POINTS + 1):
            used_s = grows_s * place / POINTS
            safe = min(law.preview(used_s, beyond=False), growth * base)
            rate = share * safe
            if scout:
                rate += max(0.0, min(law.preview(used_s, beyond=True), most) - law.preview(used_s, beyond=False))
            curve.append((used_s, max(rate, share * LOWEST)))
        return curve


class Leases:
    """The limits of all scopes. Not thread-safe. ``restarted``: see ``LeaseKeeper``."""

    def __init__(self, *, restarted: bool = False) -> None:
        self._restarted = restarted
        self._keepers: dict[str, LeaseKeeper] = {}

    def renew(self, scope: str, report: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Take a holder's report on a scope and return its grant; see ``LeaseKeeper.renew``."""
        keeper = self._keepers.get(scope)
        if keeper is None:
            keeper = self._keepers[scope] = LeaseKeeper(report, now, restarted=self._restarted)
        return keeper.renew(report, now)

    def keeper(self, scope: str) -> LeaseKeeper | None:
        """Return who keeps a scope's limit, if anybody has asked for it."""
        return self._keepers.get(scope)
