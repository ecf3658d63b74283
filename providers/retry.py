"""How long to wait before another attempt. Decides neither whether to retry nor at what pace all requests go.

Exponential backoff with full jitter, after Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Before attempt n + 1 wait u · min(cap, base · 2^(n−1)) seconds, u drawn evenly from [0, 1).

    The draw is free of any seed: it decides when something is asked, never what.
    """

    base_s: float = 0.5
    cap_s: float = 30.0
    draw: Callable[[], float] = random.random

    def delay_s(self, attempts: int, retry_after_s: float | None = None) -> float:
        """Return the wait after ``attempts`` failed ones, never less than what the server asked for."""
        # No wait doubles more than 30 times before it meets any sensible cap, and floats end at 2**1024.
        ceiling_s = min(self.cap_s, self.base_s * 2.0 ** min(attempts - 1, 30))
        return max(self.draw() * ceiling_s, retry_after_s or 0.0)
