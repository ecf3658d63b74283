"""Providers with a hidden limit, in virtual time: what they admit, and what they say when they do not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from providers.rate_hints import CONCURRENCY, TOKENS, Hints

Curve = Callable[[float], float]
"""A limit per second, as a function of the time in seconds."""
Say = Callable[[float], Hints]
"""What a 429 says, given the seconds after which a request would be admitted."""


def nothing(wait_s: float) -> Hints:
    """A bare 429."""
    return Hints()


def waits(claim: Callable[[float], float]) -> Say:
    """A 429 with a Retry-After, right or wrong."""
    return lambda wait_s: Hints(retry_after_s=claim(wait_s))


class Server(Protocol):
    """Judges requests by their order of arrival. ``cost`` is in the limit's own unit."""

    def refuse(self, now: float, tokens: float) -> Hints | None:
        """Return None to admit the request, else what its 429 says."""
        ...

    def done(self, now: float) -> None:
        """An admitted request was answered."""
        ...

    def usable(self, now: float) -> float:
        """Return the limit at this moment, in units per second."""
        ...

    def cost(self, tokens: float) -> float:
        """Return how many units a request uses up."""
        ...

    def headers(self, now: float) -> Hints:
        """Return what every reply says."""
        ...


class Plain:
    """What most servers have in common."""

    def __init__(
        self, limit: float | Curve, say: Say = nothing, headers: Callable[[float], Hints] | None = None
    ) -> None:
        self._limit: Curve = limit if callable(limit) else lambda now: limit
        self._say = say
        self._headers = headers

    def done(self, now: float) -> None:
        return

    def usable(self, now: float) -> float:
        return self._limit(now)

    def cost(self, tokens: float) -> float:
        return 1.0

    def headers(self, now: float) -> Hints:
        return self._headers(now) if self._headers else Hints()


class Bucket(Plain):
    """A token bucket that holds one second's worth."""

    _level: float | None = None
    _at = 0.0

    def refuse(self, now: float, tokens: float) -> Hints | None:
        limit, cost = self.usable(now), self.cost(tokens)
        level = max(limit, 1.0) if self._level is None else self._level + (now - self._at) * limit
        self._at, level = now, min(max(limit, cost), level)
        admitted = level >= cost
        self._level = level - cost if admitted else level
        return None if admitted else self._say((cost - level) / max(limit, 1e-9))


class TokenBucket(Bucket):
    """A bucket of text tokens: prompt and ``max_tokens``, charged when the request comes."""

    def cost(self, tokens: float) -> float:
        return tokens


class FixedWindow(Plain):
    """Counts anew every ``window_s``; the first window ends after ``first_s``."""

    def __init__(self, limit: float | Curve, window_s: float, first_s: float | None = None, say: Say = nothing) -> None:
        super().__init__(limit, say)
        self._window_s, self._offset_s = window_s, window_s - (first_s or window_s)
        self._window, self._used = -1, 0

    def refuse(self, now: float, tokens: float) -> Hints | None:
        window = int((now + self._offset_s) // self._window_s)
        if window != self._window:
            self._window, self._used = window, 0
        if self._used >= self.usable(now) * self._window_s:
            return self._say((window + 1) * self._window_s - self._offset_s - now)
        self._used += 1
        return None


class SlidingWindow(Plain):
    """Admits so many in any ``window_s``."""

    def __init__(self, limit: float | Curve, window_s: float, say: Say = nothing) -> None:
        super().__init__(limit, say)
        self._window_s = window_s
        self._times: deque[float] = deque()

    def refuse(self, now: float, tokens: float) -> Hints | None:
        while self._times and self._times[0] <= now - self._window_s:
            self._times.popleft()
        if len(self._times) >= self.usable(now) * self._window_s:
            return self._say(self._times[0] + self._window_s - now)
        self._times.append(now)
        return None


class Concurrent(Plain):
    """Works on so many at a time; ``limit`` is the rate that comes to at the mean latency."""

    def __init__(self, at_a_time: int, latency_s: float, says_so: bool) -> None:
        cause = CONCURRENCY if says_so else ""
        super().__init__(at_a_time / latency_s, lambda wait_s: Hints(cause=cause))
        self._at_a_time = at_a_time
        self._busy = 0

    def refuse(self, now: float, tokens: float) -> Hints | None:
        if self._busy >= self._at_a_time:
            return self._say(0.0)
        self._busy += 1
        return None

    def done(self, now: float) -> None:
        self._busy -= 1


class Dead(Bucket):
    """A bucket whose key is refused everything from ``began`` to ``ended``."""

    def __init__(self, limit: float, began: float, ended: float) -> None:
        super().__init__(lambda now: 0.0 if began <= now < ended else limit)

    def refuse(self, now: float, tokens: float) -> Hints | None:
        return super().refuse(now, tokens) if self.usable(now) else Hints()


def speaks_of_tokens(wait_s: float) -> Hints:
    """A 429 that says which of two limits was met."""
    return Hints(cause=TOKENS)
