"""How long a simulated model thinks: a lognormal time, drawn from the trial and the turn. Does not wait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from simulator.asked import Asked
from trials.digest import uniform

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Lognormal latency with this mean (0 is off); ``sigma`` is the standard deviation of its logarithm."""

    mean_s: float
    sigma: float

    def draw_s(self, asked: Asked) -> float:
        """Return the seconds to wait; the same for every attempt of the same request."""
        if self.mean_s <= 0:
            return 0.0
        identity = asked.identity
        parts = (identity.trial_key, identity.task_id, identity.epoch, asked.turn)
        share = uniform(identity.seed, "latency", *parts)
        deviate = _NORMAL.inv_cdf(min(max(share, 1e-9), 1 - 1e-9))
        # The mean of exp(N(m, s)) is exp(m + s²/2), so the median lies below the mean that was asked for.
        return self.mean_s * math.exp(self.sigma * deviate - self.sigma**2 / 2)
