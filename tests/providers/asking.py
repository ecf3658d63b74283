"""Asks a rate control for leave, in time that it moves on itself."""

from __future__ import annotations

from providers.rate_control import OK, Permit, RateControl
from providers.rate_hints import NOTHING, Hints


class Asking:
    """Asks a control for leave, its time moved on by what it says."""

    def __init__(self, control: RateControl, now: float = 0.0) -> None:
        self.control, self.now = control, now

    def permit(self, tokens: float = 0.0) -> Permit:
        for _ in range(100_000):
            answer = self.control.try_acquire(self.now, tokens)
            if isinstance(answer, Permit):
                return answer
            self.now += max(answer, 1e-6)
        raise AssertionError("never let through")

    def ask(self, outcome: str, hints: Hints = NOTHING, *, after_s: float = 0.05) -> float:
        """Ask once and return the time waited for leave."""
        began = self.now
        permit = self.permit()
        waited_s = self.now - began
        self.now += after_s
        self.control.settle(self.now, permit, outcome, hints)
        return waited_s

    def rate_over(self, seconds: float, outcome: str = OK) -> float:
        began, count = self.now, 0
        while self.now < began + seconds:
            self.control.settle(self.now, self.permit(), outcome)
            count += 1
        return count / (self.now - began)
