"""Learns from outages over what time a provider counts, and what it admits in that time.

A fixed window that is used up refuses everything until its end. From one end to the next it admits its whole quota,
so what was admitted in between, over that time, is the limit. Nothing here decides anything.
"""

from __future__ import annotations

USUAL_S = (1.0, 10.0, 60.0)
SHORT_S = 3.0


class Window:
    """Not thread-safe. ``length_s`` is 0 while no window is known."""

    def __init__(self, now: float) -> None:
        self.length_s = 0.0
        self._opened_at = now
        self._admitted = 0.0
        self._outages = 0

    def admitted(self, cost: float) -> None:
        """So many units were admitted; negative if they turn out not to have been."""
        self._admitted += cost

    def passed(self, now: float) -> None:
        """Nothing is used up: where the length is known, begin to count anew with each window."""
        windows = (now - self._opened_at) // self.length_s if self.length_s in USUAL_S else 0
        if windows:
            self._opened_at += windows * self.length_s
            self._admitted = 0.0

    def outage_over(self, began_at: float, refused_at: float, opened_at: float, rate_before: float) -> float | None:
        """Everything was refused from ``began_at`` to at least ``refused_at``, at most ``opened_at``.

        Return the rate that fits a window, or None for an outage that says nothing of the limit (a dead key): the first
        one, if more than its time went well before.
        """
        least_s, most_s = refused_at - self._opened_at, opened_at - self._opened_at
        length_s = next((one for one in USUAL_S if least_s <= one <= most_s), (least_s + most_s) / 2)
        good_s, bad_s = began_at - self._opened_at, opened_at - began_at
        mean = self._admitted / max(length_s, 1e-3)
        self._opened_at, self._admitted = opened_at, 0.0
        self._outages += 1
        if self._outages == 1 and good_s >= bad_s and rate_before > 0:
            return None
        if good_s < 4 * bad_s:
            self.length_s = length_s
        return mean
