"""Latency percentiles and event rates of a running process, in constant memory.

The histogram's buckets grow by a constant factor, so each value is known to within 2 %: C. Masson, J. E. Rim,
H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 12 (2019).
It keeps no single values and knows no time; the meter knows only the last seconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from math import ceil, log

RELATIVE_ERROR = 0.02
SHORTEST_MS = 1.0
LONGEST_MS = 3_600_000.0

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / log(_GROWTH)
_BUCKETS = ceil(log(LONGEST_MS) * _PER_LOG) + 1


class LatencyHistogram:
    """Counts of latencies from 1 ms to 1 h, what lies outside counting as the nearest end. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * _BUCKETS

    def __len__(self) -> int:
        with self._lock:
            return sum(self._counts)

    def record(self, ms: float) -> None:
        """Count one latency in milliseconds."""
        # Bucket i holds (growth^(i-1), growth^i]; a clock that stepped back, or NaN, falls into the first.
        bucket = ceil(log(min(ms, LONGEST_MS)) * _PER_LOG) if ms > SHORTEST_MS else 0
        with self._lock:
            self._counts[bucket] += 1

    def percentile(self, q: float) -> float:
        """Return the ``q``-th percentile (0 to 100, nearest rank) in milliseconds; 0.0 when nothing was recorded."""
        if not 0 <= q <= 100:
            raise ValueError(f"a percentile is between 0 and 100, not {q}")
        counts = self._copy()
        rank = max(1, ceil(q / 100 * sum(counts)))
        passed = 0
        for bucket, count in enumerate(counts):
            passed += count
            if passed >= rank:
                return _middle_ms(bucket)
        return 0.0

    def merge(self, other: LatencyHistogram) -> None:
        """Add another histogram's counts to this one's."""
        added = other._copy()
        with self._lock:
            self._counts = [mine + theirs for mine, theirs in zip(self._counts, added, strict=True)]

    def _copy(self) -> list[int]:
        with self._lock:
            return list(self._counts)


def _middle_ms(bucket: int) -> float:
    """The value that is within the relative error of both ends of a bucket."""
    if bucket == 0:
        return SHORTEST_MS
    return min(2 * _GROWTH**bucket / (_GROWTH + 1), LONGEST_MS)


class RateMeter:
    """Events per second over the last few seconds, counted in tenths of that window. Safe between threads."""

    _SLOTS = 10

    def __init__(self, window_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._slot_s = window_s / self._SLOTS
        self._began = clock()
        self._slots: deque[list[int]] = deque()

    def record(self, events: int = 1) -> None:
        """Count events that happened now."""
        with self._lock:
            now = self._slot(self._clock())
            if not self._slots or self._slots[-1][0] != now:
                self._slots.append([now, 0])
                self._forget(now)
            self._slots[-1][1] += events

    def rate(self) -> float:
        """Return the events per second over the window, or since the start while that is shorter."""
        with self._lock:
            now = self._clock()
            current = self._slot(now)
            self._forget(current)
            spanned_s = now - (self._began + (current - self._SLOTS) * self._slot_s)
            # The first moments would make one event look like a storm.
            lived_s = max(now - self._began, 2 * self._slot_s)
            return sum(count for _, count in self._slots) / min(spanned_s, lived_s)

    def _slot(self, now: float) -> int:
        return int((now - self._began) / self._slot_s)

    def _forget(self, now: int) -> None:
        while self._slots and self._slots[0][0] < now - self._SLOTS:
            self._slots.popleft()
