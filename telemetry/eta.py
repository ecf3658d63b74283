"""How long will it still take? An estimate from counts over time alone; it knows nothing of limits or models.

The time since the first progress is cut into equal parts, whose counts are looked at in two ways. As a level: the
overall rate, moved towards the recent one as far as their difference stands out from chance (positive-part shrinkage:
W. James, C. Stein, "Estimation with quadratic loss", 1961). As a trend: a straight line through the counts,
believed as far as it stands out from chance and leaves nothing but chance unexplained; a step in the rate does
leave something, so it is not drawn out into a slope. Chance means Poisson noise, or what is left beside the line if
that is less.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import sqrt

_MAX_SAMPLES = 256
_MIN_SPAN_S = 1.0
_MIN_EVENTS = 5
_PARTS = 8
_RECENT = 2
_CAUTION = 3.0  # squared standard errors that chance is granted
_STRICTNESS = 6.0  # a step leaves a third of what a line explains: enough to give the trend up
_FASTEST, _SLOWEST = 4.0, 0.6  # how far a trend may carry the rate: growth is steady, falls come in steps


class Eta:
    """Estimates the seconds left of one run or shard. Time counts from the first progress. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: list[float] = []
        self._counts: list[float] = []
        self._grain_s = 0.0

    def update(self, done: int, remaining: int) -> float | None:
        """Note how much is done and left now; return the seconds left, or None while that cannot be known."""
        now = self._clock()
        self._note(now, done)
        if remaining <= 0:
            return 0.0
        span_s, events = now - self._times[0], self._counts[-1] - self._counts[0]
        if span_s < _MIN_SPAN_S or events < _MIN_EVENTS:
            return None
        part_s = span_s / _PARTS
        edges = [self._count_at(now - part_s * (_PARTS - place)) for place in range(_PARTS)] + [self._counts[-1]]
        level, now_count, slope = _level_and_trend([b - a for a, b in pairwise(edges)])
        rate = max(now_count, level / 4, events / _PARTS / 10)
        return _time_to_do(remaining, rate / part_s, slope / part_s**2)

    def _note(self, now: float, done: int) -> None:
        if self._counts and done < self._counts[-1]:
            self._times.clear()  # counts went back: another beginning
            self._counts.clear()
        if len(self._counts) == 1 and done == self._counts[0]:
            self._times[0] = now  # still waiting for the first progress
            return
        if len(self._times) > 1 and self._times[-1] - self._times[-2] < self._grain_s:
            self._times[-1], self._counts[-1] = now, done
            return
        self._times.append(now)
        self._counts.append(done)
        if len(self._times) > _MAX_SAMPLES:
            # Later samples must be no denser than those left, else the oldest would be thinned again and again.
            del self._times[1:-1:2], self._counts[1:-1:2]
            self._grain_s = 2 * (now - self._times[0]) / _MAX_SAMPLES

    def _count_at(self, moment: float) -> float:
        after = bisect_right(self._times, moment)
        if after in (0, len(self._times)):
            return self._counts[max(after - 1, 0)]
        t0, t1 = self._times[after - 1], self._times[after]
        c0, c1 = self._counts[after - 1], self._counts[after]
        return c0 + (c1 - c0) * (moment - t0) / (t1 - t0)


def _level_and_trend(counts: Sequence[float]) -> tuple[float, float, float]:
    """Return the level, the count per part to be expected now, and its growth from part to part."""
    mean = sum(counts) / _PARTS
    places = [place - (_PARTS - 1) / 2 for place in range(_PARTS)]
    spread = sum(place**2 for place in places)
    slope = sum(place * count for place, count in zip(places, counts, strict=True)) / spread
    explained = slope**2 * spread
    unexplained = sum((count - mean) ** 2 for count in counts) - explained
    # A rate limiter lets work through more evenly than chance would.
    chance = max(mean / 4, min(mean, unexplained / (_PARTS - 2)))

    apart = sum(counts[-_RECENT:]) / _RECENT - mean
    level = mean + apart * (max(0.0, 1 - _CAUTION * chance / _RECENT / apart**2) if apart else 0.0)
    if not explained:
        return level, level, 0.0
    beyond_chance = max(0.0, unexplained - (_PARTS - 2) * mean)
    trust = max(0.0, 1 - _CAUTION * chance / explained) * max(0.0, 1 - _STRICTNESS * beyond_chance / explained)
    ahead = mean + slope * _PARTS / 2
    return level, level + trust * (ahead - level), trust * slope


def _time_to_do(work: float, rate: float, slope: float) -> float:
    """Solve rate·t + slope·t²/2 = work, where the rate stays between its slowest and its fastest."""
    last = rate * (_FASTEST if slope > 0 else _SLOWEST)
    if slope:
        bend_s = (last - rate) / slope
        before = (rate + last) / 2 * bend_s
        if work > before:
            return bend_s + (work - before) / last
    return 2 * work / (rate + sqrt(rate * rate + 2 * slope * work))
