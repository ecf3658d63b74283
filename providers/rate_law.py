"""Where the limit lies that nobody tells: a law that moves one rate by nothing but what was refused.

It searches by doubling; after a cut it climbs back to a plateau as in CUBIC (Ha, Rhee, Xu 2008; RFC 9438), stays on it,
then probes past it faster and faster. A network's congestion control does the same, but there losses are free:

- **A purse pays for probes.** A look above the limit costs at least one refusal, and each admitted request earns
  ``EARNED`` of one. So a high limit is looked at often, a low one seldom, and the share of refusals stays the same.
- **Silence is admission.** A refusal comes back at once, a completion takes as long as its text. What was not refused
  soon after it was sent is being worked on, so nothing here waits for completions.
- **What held is safe.** A plateau that was not refused lies below the limit. A probe that was admitted far above it may
  have lived on credit (a bucket's depth, what is left of a window); that credit is learnt, and not taken for a limit.

Rates are in units per second (requests, or tokens of text), times in seconds on any monotonic clock.
"""

from __future__ import annotations

import math
from typing import Protocol

EARNED = 0.0085
"""Of a refusal, by each admitted request: the share of 429s that the law spends on looking, where it is short of it."""
PURSE, DEBT = 2.0, 0.5
"""So many refusals can be saved up, and so many of those that were not paid for are made good later."""
LOWEST = 0.05

DOUBLING_S, PROBE_S = 1.0, 4.0
"""The search doubles the rate within the first; a probe is 2 to the power of (time / the second) squared."""

UNSURE_HOLD_S, SHORTEST_HOLD_S, LONGEST_HOLD_S = 3.0, 8.0, 240.0
RETURN_S = 6.0
"""The dip after a cut is made good within this time, however long the plateau is held."""

_ECHO_S = 1.5
"""A refusal so soon after a cut belongs to the same search, or to the same full window."""
_PAUSE_S, _IN_ROW = 1.0, 3
"""So soon after a cut, so many refusals with nothing admitted between speak of a window of a second that is full."""
_EDGE_S = 0.15
"""What is admitted between two refusals tells the limit, but for what the ends of that time are worth."""
TRAIL = 1.25
"""Where one looks for many, the others follow at the rate of the look divided by this."""

_FADES = 0.9
"""Of its credit a law keeps so much each time it explains a probe."""

AFTER_OUTAGE = "as all was refused, and is no more"


class Law(Protocol):
    """Says at what rate a scope may be asked. Not thread-safe."""

    rate: float
    reason: str
    until: float
    """When the rate ends, unless the law is told otherwise; infinite for a law that decides by itself."""

    adapts: bool
    """Whether what is refused moves the rate."""

    refusal_s: float
    """How soon refusals come back, smoothed."""

    @property
    def before_outage(self) -> float:
        """The rate that held before the refusals that are going on, 0 if there was none."""
        ...

    def sent(self, now: float, cost: float, requests: int = 1) -> None:
        """So many requests that cost so many units each were sent."""
        ...

    def grow(self, now: float, used_s: float) -> None:
        """The rate was in full use for so many more seconds."""
        ...

    def refused(self, now: float, sent_at: float, cost: float, in_row: int = 1) -> bool:
        """A request was refused, the so-manieth in a row; return whether to pause rather than to slow down."""
        ...

    def told(self, now: float, rate: float) -> None:
        """The provider names a limit."""
        ...

    def resume(self, now: float, rate: float | None, window_s: float, why: str = AFTER_OUTAGE) -> None:
        """Everything was refused, and no longer is: go on at ``rate`` (None: as before the outage)."""
        ...

    def search(self) -> None:
        """What was refused was not refused for its rate: look for the limit anew, from the present rate on."""
        ...


class Steady:
    """Keeps the stated rate, whatever the provider answers."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.reason = "fixed"
        self.until = math.inf
        self.adapts = self.searching = False
        self.refusal_s = 0.1
        self.before_outage = 0.0
        self.hold_left_s = math.inf
        self.cuts = 0

    def preview(self, used_s: float, *, beyond: bool) -> float:
        """Return the rate."""
        return self.rate

    def sent(self, now: float, cost: float, requests: int = 1) -> None:
        return

    def grow(self, now: float, used_s: float) -> None:
        return

    def refused(self, now: float, sent_at: float, cost: float, in_row: int = 1, *, stale: bool = False) -> bool:
        return False

    def told(self, now: float, rate: float) -> None:
        return

    def resume(self, now: float, rate: float | None, window_s: float, why: str = AFTER_OUTAGE) -> None:
        return

    def search(self) -> None:
        return


class Adaptive:
    """Feels for the limit; see the module. ``cuts`` counts how often the rate was set anew."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = self._plateau = rate
        self.reason = f"start value {rate:.1f}/s"
        self.until = math.inf
        self.adapts = True
        self.refusal_s = 0.1
        self.cuts = 0
        self._searching = True
        self._dip = 0.0
        self._hold_s = UNSURE_HOLD_S
        self._grown_s = 0.0
        self._safe = 0.0
        self._before_outage = 0.0
        self._window_s = 0.0
        self._purse = 1.0
        self._lost = self._may_pause = False
        self._streak = (0.0, 0.0)
        self._price = 1.0
        self._credit_s = 0.0
        self._claim: tuple[float, float] | None = None
        self._told = 0.0
        self._cut_at = -math.inf
        self._since = _Since(now)
        self._verdict: _Verdict | None = None

    def sent(self, now: float, cost: float, requests: int = 1) -> None:
        self._purse = min(PURSE, self._purse + EARNED * requests)
        self._since.admitted += cost * requests
        self._since.requests += requests
        if self._verdict is not None and now >= self._verdict.due_at:
            self._judge(now, self._verdict)

    def grow(self, now: float, used_s: float) -> None:
        since, before = self._since, self._grown_s
        self._grown_s += used_s
        if not self._searching and before <= self._hold_s < self._grown_s:
            self._safe = self._plateau
            since.probe_at, since.probe_admitted = now, since.admitted
        self.rate = max(LOWEST, self._curve(self._grown_s))
        if self.rate > 1.1 * since.told_rate:
            self.reason = f"raised from {since.told_rate:.1f} to {self.rate:.1f}/s, in full use without a 429"
            since.told_rate = self.rate

    def refused(self, now: float, sent_at: float, cost: float, in_row: int = 1, *, stale: bool = False) -> bool:
        """See ``Law``; ``stale`` if it was sent by who had not heard of the last cut."""
        since = self._since
        self._purse = max(-DEBT, self._purse - 1 - EARNED)
        self.refusal_s += 0.2 * (now - sent_at - self.refusal_s)
        since.admitted -= cost
        since.requests -= 1
        since.refused += 1
        if stale or sent_at <= self._cut_at:
            if self._verdict is not None and self._verdict.sent_at <= sent_at <= self._cut_at:
                self._verdict.refused += cost
            return False
        if now - self._cut_at < max(_ECHO_S, 3 * self.refusal_s):
            return self._echo(now, sent_at, cost, in_row)
        self._before_outage = 0.0 if self._searching else self._plateau
        self._lost = self._searching
        self._cut(
            now,
            *self._cut_to(now),
            why="after a 429",
            verdict=_Verdict(self, now, sent_at, cost),
        )
        return False

    def told(self, now: float, rate: float) -> None:
        if self._told and abs(rate / self._told - 1) < 0.05:
            return
        before, self._told = self._told, rate
        if not before and not self._searching:
            return  # what was learnt is worth more than what is said
        # A provider that names a limit may lie; by what factor the name changes still counts.
        plateau = self._plateau * rate / before if before and not self._searching else rate
        self._safe = 0.0
        self._cut(
            now,
            plateau,
            plateau,
            UNSURE_HOLD_S,
            why=f"as the provider names {rate:.1f}/s",
        )
        self._cut_at = -math.inf  # a refusal is about the new rate, however soon it comes

    def resume(self, now: float, rate: float | None, window_s: float, why: str = AFTER_OUTAGE) -> None:
        plateau = rate if rate is not None else self._before_outage or self.rate
        self._window_s = window_s
        self._safe = 0.0
        self._cut(
            now,
            0.97 * plateau,
            plateau,
            max(UNSURE_HOLD_S, window_s),
            why=why,
        )

    def search(self) -> None:
        """Search anew from the present rate: what was refused was not refused for its rate."""
        self._plateau, self._grown_s, self._searching = self.rate, 0.0, True
        self._safe = self._credit_s = 0.0
        self._claim = self._verdict = None

    @property
    def before_outage(self) -> float:
        """The plateau before the refusals that are going on, 0 if there was none."""
        return self._before_outage

    @property
    def searching(self) -> bool:
        """Whether nothing has been refused yet."""
        return self._searching

    def preview(self, used_s: float, *, beyond: bool) -> float:
        """Return the rate after so many more seconds in full use, if nothing is refused until then.

        Without ``beyond`` it is what is safe to share among many: no more than the plateau while that is looked past,
        or, once the look has gone far, what was admitted a moment before now.
        """
        rate = max(LOWEST, self._curve(self._grown_s + used_s))
        return rate if beyond or self._searching else max(min(rate, self._plateau), self.rate / TRAIL)

    @property
    def hold_left_s(self) -> float:
        """How much longer it is until one looks past the plateau, in seconds of full use; infinite in the search."""
        return math.inf if self._searching else max(0.0, self._hold_s - self._grown_s)

    def _curve(self, grown_s: float) -> float:
        if self._searching:
            return self._plateau * _power_of_two(grown_s / max(DOUBLING_S, 4 * self.refusal_s))
        return_s = min(self._hold_s, RETURN_S)
        if grown_s <= return_s:
            return self._plateau * (1 - self._dip * (1 - grown_s / return_s) ** 3)
        beyond_s = max(0.0, grown_s - self._hold_s)
        return self._plateau * _power_of_two((beyond_s / max(PROBE_S, 8 * self.refusal_s, self._window_s / 2)) ** 2)

    def _echo(self, now: float, sent_at: float, cost: float, in_row: int) -> bool:
        """Another refusal soon after a cut: wait if the rate was proved safe before, else cut again."""
        if self._may_pause and in_row >= _IN_ROW and now - self._cut_at < _PAUSE_S:
            self._may_pause = False
            return True
        self._settle_claim(self.rate)
        if self._safe and self.rate <= self._safe and now - self._cut_at < _PAUSE_S:
            return True
        floor = 0.75 * self.rate
        if self._safe and self.rate > 1.02 * self._safe:
            floor = max(floor, 0.97 * self._safe)
        else:
            self._safe = 0.0
        plateau = max(0.9 * self.rate, floor)
        self._cut(
            now,
            floor,
            plateau,
            UNSURE_HOLD_S,
            why="after more 429s",
            verdict=_Verdict(self, now, sent_at, cost),
        )
        return False

    def _cut_to(self, now: float) -> tuple[float, float, float]:
        """Return the rate after a cut, the plateau to climb to, and how long to hold it."""
        at, old, since = self.rate, self._plateau, self._since
        if self._searching:
            return 0.5 * at, 0.8 * at, UNSURE_HOLD_S
        self._price += 0.3 * (min(since.refused, 10) - self._price)
        span_s = max(now - since.began_at, 1e-3)
        mean = since.admitted / span_s * (1 + _EDGE_S / span_s)
        hold_s = self._affordable_s(since.requests / span_s)
        if self._grown_s <= self._hold_s:  # the plateau itself was too high
            self._streak = (since.streak[0] + span_s, since.streak[1] + since.admitted)
            mean = (self._streak[1] + since.admitted / max(since.requests, 1)) / self._streak[0]
            plateau = min(0.98 * at, max(0.9 * at, mean))
            self._settle_claim(plateau)
            self._safe = 0.0
            return 0.95 * plateau, plateau, hold_s
        self._settle_claim(old)
        # A bucket of a second hides an excess of no more than 1/hold, so what held for long may even rise a little.
        least = max(0.97, 1.015 - 0.5 / max(self._hold_s, 1e-3)) * old
        if at <= 1.1 * old:
            plateau = max(least, min(old + 0.4 * (at - old), mean))
            return 0.97 * old, plateau, hold_s
        surplus_s = (since.admitted - since.probe_admitted) / old - (now - since.probe_at)
        if surplus_s <= 1.3 * self._credit_s + 0.1:
            # Believed less each time: credit that was learnt by chance would keep the plateau low for good.
            self._credit_s *= _FADES
            return 0.97 * old, max(old, least, min(mean, 1.02 * old)), hold_s
        self._claim = (old, surplus_s)
        return max(0.6 * at, 0.97 * old), max(0.8 * at, old), UNSURE_HOLD_S

    def _settle_claim(self, plateau: float) -> None:
        """If a rise turns out to have been none, what was admitted meanwhile was credit."""
        if self._claim is not None:
            old, surplus_s = self._claim
            if plateau < 1.05 * old:
                self._credit_s = max(self._credit_s, min(surplus_s, 60.0))
                self._claim = None

    def _affordable_s(self, requests_per_s: float) -> float:
        """Return how long to hold until the purse can pay for the next look."""
        earned_s = (self._price - self._purse) / (EARNED * max(requests_per_s, 1e-3))
        return max(min(max(earned_s, SHORTEST_HOLD_S), LONGEST_HOLD_S), self._window_s)

    def _judge(self, now: float, verdict: _Verdict) -> None:
        """All that was sent between the first refusal and the cut is judged: its refused share tells the limit."""
        self._verdict = None
        if verdict.requests >= 15:
            limit = verdict.rate * max(0.1, 1 - verdict.refused / verdict.units)
            if limit < self.rate:
                self._cut(now, 0.93 * limit, limit, UNSURE_HOLD_S, why="by the share of 429s")

    def _cut(
        self,
        now: float,
        floor: float,
        plateau: float,
        hold_s: float,
        *,
        why: str,
        verdict: _Verdict | None = None,
    ) -> None:
        self.cuts += 1
        before, self.rate = self.rate, max(LOWEST, floor)
        self._plateau = max(LOWEST, plateau)
        self._dip = 1 - self.rate / self._plateau
        self._hold_s = hold_s
        self._grown_s = 0.0
        self._searching = False
        self._may_pause = not self._lost
        self._cut_at = now
        self._since = _Since(now, self.rate, self._streak)
        self._streak = (0.0, 0.0)
        self._verdict = verdict
        word = "cut" if self.rate < before else "raised"
        self.reason = f"{word} from {before:.1f} to {self.rate:.1f}/s, {why}"


def _power_of_two(exponent: float) -> float:
    return math.pow(2.0, min(exponent, 40.0))


class _Since:
    """What happened since the last cut. Units but for ``requests`` and ``refused``.

    ``streak`` holds the seconds and units of the cuts just before, if each found the plateau too high.
    """

    __slots__ = (
        "admitted",
        "began_at",
        "probe_admitted",
        "probe_at",
        "refused",
        "requests",
        "streak",
        "told_rate",
    )

    def __init__(self, now: float, rate: float = 1.0, streak: tuple[float, float] = (0.0, 0.0)) -> None:
        self.began_at = self.probe_at = now
        self.admitted = self.probe_admitted = 0.0
        self.requests = self.refused = 0
        self.told_rate = rate
        self.streak = streak


class _Verdict:
    """What was sent from the first refused request to the cut that it caused, and how much of it was refused."""

    __slots__ = ("due_at", "rate", "refused", "requests", "sent_at", "units")

    def __init__(self, law: Adaptive, now: float, sent_at: float, cost: float) -> None:
        self.rate = law.rate
        self.sent_at = sent_at
        self.units = law.rate * (now - sent_at)
        self.requests = self.units / cost
        self.refused = cost
        self.due_at = now + 2 * law.refusal_s + 0.05
