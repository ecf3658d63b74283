"""Leaves a server alone that mostly fails: after M. Nygard, "Release It!", 2007 (circuit breaker).

Failures are broken exchanges, timeouts and 5xx; a 429 is none, and neither is a request that is refused for what it is.
"""

from __future__ import annotations

from collections import deque

LOOKS_BACK, TRIPS_ABOVE, TROUBLED_ABOVE = 50, 0.5, 0.2
PROBE_EVERY_S = 1.0


class Breaker:
    """Trips above 50 % failures in the last 50; then one probe a second until one succeeds. Not thread-safe."""

    def __init__(self) -> None:
        self.tripped = False
        self._last: deque[bool] = deque(maxlen=LOOKS_BACK)
        self._failures = 0
        self._probe_at = 0.0

    @property
    def troubled(self) -> bool:
        """Whether so much fails that growth proves nothing."""
        return self._failures > TROUBLED_ABOVE * LOOKS_BACK

    def wait_s(self, now: float) -> float:
        """Return the seconds until a request may pass, 0 if one may now."""
        return max(0.0, self._probe_at - now) if self.tripped else 0.0

    def passed(self, now: float) -> None:
        """A request was sent."""
        self._probe_at = now + PROBE_EVERY_S

    def answered(self, failed: bool) -> bool:
        """Take note of how a request ended; return whether that changed anything."""
        if self.tripped:
            if failed:
                return False
            self.tripped = False
            self._last.clear()
            self._failures = 0
            return True
        if len(self._last) == LOOKS_BACK:
            self._failures -= self._last[0]
        self._last.append(failed)
        self._failures += failed
        self.tripped = len(self._last) == LOOKS_BACK and self._failures > TRIPS_ABOVE * LOOKS_BACK
        return self.tripped
