"""The clock that pacing and retrying go by, as a seam: tests and benches turn one of their own.

Monotonic seconds only; it knows no date.
"""

from __future__ import annotations

import time
from threading import Event
from typing import Protocol


class Clock(Protocol):
    """Tells the time in seconds from any origin, and waits."""

    def now(self) -> float:
        """Return the current time in seconds; never goes back."""
        ...

    def wait(self, stop: Event, seconds: float) -> bool:
        """Wait for ``seconds`` or until ``stop`` is set; return whether it is set."""
        ...


class MonotonicClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    def wait(self, stop: Event, seconds: float) -> bool:
        """Sleep on the event itself, so that setting it ends the wait at once."""
        return stop.wait(seconds)
