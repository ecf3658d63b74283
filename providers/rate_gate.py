"""Stops all sending for a while: when a provider orders it, or refuses everything. Finds out early if that is wrong.

An order to wait (Retry-After) is obeyed as far as orders have proved right. While the gate is closed single requests go
through as probes, at intervals that grow; the first one that is not refused opens it. A provider that counts by fixed
windows opens at the same phase each time, so that is when a probe is due as well.
"""

from __future__ import annotations

import math

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 8.0
LEAST_TRUST = 0.1
RUN, RUN_S, LONG_RUN = 4, 0.4, 16
"""Everything is refused after so many refusals in a row that took so long, or after so many in any time."""

_NEVER, _LONG_AGO = -1, -10


class Gate:
    """Not thread-safe. Requests are known by their numbers, in order of sending; times in seconds."""

    def __init__(self, now: float) -> None:
        self.closed = False
        self.trust = 1.0
        self.began_at = now
        self.refused_at = now
        self.opened_at = now
        self._ordered = False
        self._until = math.inf
        self._due_at = now
        self._pause_s = FIRST_PAUSE_S
        self._probe = _NEVER
        self._probe_at = now
        self._run = 0
        self._first = self._last = _LONG_AGO

    @property
    def in_row(self) -> int:
        """How many were refused since the last that was admitted."""
        return self._run

    def wait_s(self, now: float, silence_s: float) -> float:
        """Return the seconds until a request may pass, 0 if one may now.

        ``silence_s`` is the time within which a refusal would have come back.
        """
        if not self.closed:
            return 0.0
        if self._probe != _NEVER:
            return max(0.0, self._probe_at + silence_s - now)
        return max(0.0, min(self._due_at, self._until) - now)

    def passed(self, now: float, number: int) -> None:
        """A request was sent."""
        if self.closed:
            self._probe, self._probe_at = number, now

    def is_answered(self, now: float, silence_s: float) -> bool:
        """Whether the probe was admitted, as it would have been refused by now."""
        return self.closed and self._probe != _NEVER and now >= self._probe_at + silence_s - 1e-9

    def is_probe(self, number: int) -> bool:
        """Whether this request is the probe that the gate waits for."""
        return self.closed and number == self._probe

    def refused(self, now: float, number: int, sent_at: float, order_s: float | None, window_s: float) -> None:
        """A request was refused, with an order to wait or without."""
        if self.closed:
            if number == self._probe:
                self._probe = _NEVER
                self.refused_at = sent_at
                self._pause_s = min(self._pause_s * (3 if window_s else 2), LONGEST_PAUSE_S)
                self._plan(now, order_s, window_s)
            return
        if number > self._last + 3:
            self._run, self._first, self.began_at = 0, number, sent_at
        self._run += 1
        self._last = max(number, self._last)
        self.refused_at = sent_at
        told = order_s is not None and self.trust >= LEAST_TRUST and order_s * self.trust > FIRST_PAUSE_S
        if told or self._all_refused(now, window_s):
            self.close(now, order_s if told else None, window_s)

    def close(self, now: float, order_s: float | None = None, window_s: float = 0.0) -> None:
        """Let nothing but probes through."""
        self.closed = True
        self._ordered = order_s is not None
        self._until = math.inf
        self._probe = _NEVER
        self._pause_s = FIRST_PAUSE_S
        self._plan(now, order_s, window_s)

    def open(self, now: float) -> None:
        """Let everything through again, and learn what orders are worth here."""
        if self._ordered:
            early = self._probe_at < self._until - FIRST_PAUSE_S
            self.trust = self.trust / 2 if early else min(1.0, 2 * self.trust)
        self.closed = False
        self.opened_at = self._probe_at if self._probe != _NEVER else now
        self._run = 0
        self._last, self._probe = _LONG_AGO, _NEVER

    def _all_refused(self, now: float, window_s: float) -> bool:
        if self._run < RUN or self._run < 0.9 * (self._last - self._first + 1):
            return False
        return bool(window_s) or now - self.began_at > RUN_S or self._run >= LONG_RUN

    def _plan(self, now: float, order_s: float | None, window_s: float) -> None:
        self._due_at = now + self._pause_s
        if self._ordered and order_s is not None:
            self._until = now + order_s * self.trust
        if window_s and not self._ordered:
            self._until = self.opened_at + window_s * math.ceil((now - self.opened_at) / window_s)
