"""What ends a start of a run early, and resumably: ``--max-cost`` and ``--deadline``."""

from __future__ import annotations

import time
from collections.abc import Callable

from commands.budget import Budget
from telemetry.notify import BUDGET, DEADLINE

_FLAGS = {BUDGET: "--max-cost", DEADLINE: "--deadline"}


class Deadline:
    """When nothing more may begin: so many seconds after it was made, or never. Thread-safe."""

    def __init__(self, after_s: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = None if after_s is None else clock() + after_s

    @property
    def left_s(self) -> float | None:
        """Seconds until then, 0 once it has come; None for never."""
        return None if self._at is None else max(0.0, self._at - self._clock())


class Bounds:
    """The bounds of one start; one that is ``reached`` stays so. Not thread-safe."""

    def __init__(self, budget: Budget, deadline: Deadline) -> None:
        self._budget = budget
        self._deadline = deadline
        self.reached = ""
        """Which bound it was, as an outcome of ``telemetry.notify``; empty while none is."""

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return self._deadline.left_s

    def look(self, *, over: bool = False) -> bool:
        """Take in what has been spent and what time it is; return whether nothing more may be asked.

        A run that is ``over`` has met its deadline.
        """
        self._budget.update()
        if not self.reached:
            if self._budget.is_spent:
                self.reached = BUDGET
            elif self._deadline.left_s == 0 and not over:
                self.reached = DEADLINE
        return bool(self.reached)

    def in_words(self) -> str:
        """Say that a bound is reached while the run drains; empty while none is."""
        return f"{_FLAGS[self.reached]} is reached: nothing more is asked" if self.reached else ""

    def before_start(self) -> str:
        """Say that a bound was reached before anything was asked."""
        return f"{_FLAGS[self.reached]} was reached before this start: nothing is asked"

    def how_to_go_on(self, pending: int) -> str:
        """Say, in one line, why the run has stopped and what makes it go on; empty where no bound is reached."""
        if self.reached == BUDGET:
            return self._budget.how_to_go_on(pending)
        if self.reached == DEADLINE:
            return f"--deadline is reached and {pending:,} trials are left; the same command goes on"
        return ""
