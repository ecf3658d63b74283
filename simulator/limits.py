"""Hidden limits: what a provider enforces and never tells. Pure; the clock is handed in.

A policy judges one request at a time. Sliding windows, token quotas and the like are further classes with the
same method; the server asks every policy and refuses when one of them does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from simulator.asked import Asked

Scope = Callable[[Asked], Hashable]
"""Names the account a request is charged to; None says that the policy does not concern it."""


class LimitPolicy(Protocol):
    """One hidden limit."""

    def admit(self, now: float, asked: Asked) -> float | None:
        """Return None to admit (and charge) the request, else in how many seconds one would be admitted."""
        ...


class TokenBuckets:
    """A token bucket per scope: ``qps`` requests a second, at most ``burst`` of them at once."""

    def __init__(self, qps: float, burst: float, scope: Scope) -> None:
        self._qps = qps
        self._burst = max(1.0, burst)
        self._scope = scope
        self._levels: dict[Hashable, tuple[float, float]] = {}

    def admit(self, now: float, asked: Asked) -> float | None:
        """See LimitPolicy. A refused request costs nothing."""
        scope = self._scope(asked)
        if scope is None:
            return None
        level, since = self._levels.get(scope, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._qps)
        admitted = level >= 1.0
        self._levels[scope] = (level - 1.0 if admitted else level, now)
        return None if admitted else (1.0 - level) / self._qps


class Limits:
    """All hidden limits of a server, asked in order. Whom a later one refuses has paid to the earlier ones."""

    def __init__(self, policies: Iterable[LimitPolicy], clock: Callable[[], float]) -> None:
        self._policies = tuple(policies)
        self._clock = clock

    def admit(self, asked: Asked) -> float | None:
        """Return None to admit the request, else in how many seconds to come back."""
        now = self._clock()
        for policy in self._policies:
            wait_s = policy.admit(now, asked)
            if wait_s is not None:
                return wait_s
        return None


def per_key_and_deployment(asked: Asked) -> Hashable:
    """Charge each key on each deployment apart, as providers do by default."""
    return (asked.key, asked.deployment)


def named(name: str) -> Scope:
    """Charge every request of one key, or to one deployment, to a joint account."""
    return lambda asked: name if name in (asked.key, asked.deployment) else None


def retry_after_headers(wait_s: float, policy: str) -> dict[str, str]:
    """Return the headers of a 429: ``policy`` is ``none``, ``right``, or a number of seconds to claim.

    Whole seconds as in RFC 9110, 10.2.3; ``right`` adds the finer ``retry-after-ms`` of OpenAI and Azure.
    """
    if policy == "none":
        return {}
    if policy == "right":
        return {"Retry-After": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}
    return {"Retry-After": policy}
