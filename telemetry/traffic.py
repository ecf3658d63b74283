"""What a shard counts of its requests, and how it tells them: histograms and counts that only ever grow.

They cross the pipe as nested dicts of numbers, cumulative for one process; ``trials.progress.summed`` adds those of
several. What a killed process had counted since it last told is lost, which trials never are. Nothing here knows
Prometheus, but the bounds are those of OpenTelemetry's conventions for generative AI (docs/gen-ai/gen-ai-metrics.md of
open-telemetry/semantic-conventions), with two added.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

SLOW_S = 0.8
"""A bound of its own: the alert on the 99th percentile must not be blurred by where buckets happen to end."""

CALL_BOUNDS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, SLOW_S, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84)
TOKEN_BOUNDS = tuple(4.0**power for power in range(14))
WAIT_BOUNDS_S = (0.01, 0.04, 0.16, 0.64, 2.56, 10.24, 40.96, 163.84, 655.36)
HIT_BOUNDS_S = (0.0001, 0.0004, 0.0016, 0.0064, 0.0256, 0.1024, 0.4096, SLOW_S, 1.6384)

OTHER = "other"
_REASONS = (
    ("start value", "start"),
    ("fixed", "fixed"),
    ("in full use", "unrefused"),
    ("provider names", "provider"),
    ("found before", "found_before"),
    ("all was refused", "outage_over"),
    ("all is refused", "outage"),
    ("requests fail", "failures"),
    ("at a time", "concurrency"),
    ("429", "refused"),
)
"""Words that are always in a reason of a rate limit → its label. The first that fits counts."""

REASONS = (*dict.fromkeys(label for _, label in _REASONS), OTHER)


def reason_label(words: str) -> str:
    """Return which of the few kinds of reason (``REASONS``) these words for a changed limit are."""
    return next((label for part, label in _REASONS if part in words), OTHER)


class Histogram:
    """Counts of values up to each bound and above the last, and their sum. Not thread-safe."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def record(self, value: float) -> None:
        """Count one value; a clock that stepped back counts as 0, so that the sum never falls."""
        self.counts[bisect_left(self._bounds, value)] += 1
        if value > 0:
            self.total += value

    def to_json(self) -> dict[str, Any]:
        """Return the counts, not cumulated, and the sum."""
        return {"counts": list(self.counts), "sum": self.total}


class Traffic:
    """What was asked of one model by one process. Not thread-safe: the meter that holds it has a lock."""

    __slots__ = ("_calls", "_changes", "_cost_usd", "_hits", "_input", "_limiter", "_output", "_priced", "_queue")

    def __init__(self) -> None:
        self._calls = {"ok": Histogram(CALL_BOUNDS_S)}
        self._limiter = Histogram(WAIT_BOUNDS_S)
        self._queue = Histogram(WAIT_BOUNDS_S)
        self._hits = Histogram(HIT_BOUNDS_S)
        self._input, self._output = Histogram(TOKEN_BOUNDS), Histogram(TOKEN_BOUNDS)
        self._changes: Counter[tuple[str, str]] = Counter()
        self._cost_usd = 0.0
        self._priced = False

    def called(self, kind: str, latency_ms: float, rate_wait_ms: float) -> None:
        """Count an HTTP attempt that ended so (``ok`` or the error's kind)."""
        histogram = self._calls.get(kind)
        if histogram is None:
            histogram = self._calls[kind] = Histogram(CALL_BOUNDS_S)
        histogram.record(latency_ms / 1000)
        self._limiter.record(rate_wait_ms / 1000)

    def answered(self, prompt_tokens: int, completion_tokens: int, cost_usd: float | None = None) -> None:
        """Count the tokens of a reply that was asked for, and what it cost if that is known."""
        self._input.record(prompt_tokens)
        self._output.record(completion_tokens)
        if cost_usd is not None:
            self._priced = True
            self._cost_usd += max(0.0, cost_usd)

    def queued(self, wait_ms: float) -> None:
        """Count how long a trial waited in the shard before it began."""
        self._queue.record(wait_ms / 1000)

    def hit(self, wait_s: float) -> None:
        """Count how long it took to get a reply that needed no call."""
        self._hits.record(wait_s)

    def limit_changed(self, unit: str, words: str) -> None:
        """Count a change of the rate limit."""
        self._changes[unit, reason_label(words)] += 1

    def to_json(self) -> dict[str, Any]:
        """Return all of it as nested dicts of numbers; ``cost_usd`` only if any reply had a price."""
        changes: dict[str, dict[str, int]] = {}
        for (unit, reason), count in self._changes.items():
            changes.setdefault(unit, {})[reason] = count
        told: dict[str, Any] = {
            "calls": {kind: histogram.to_json() for kind, histogram in self._calls.items()},
            "limiter": self._limiter.to_json(),
            "queue": self._queue.to_json(),
            "hits": self._hits.to_json(),
            "tokens": {"input": self._input.to_json(), "output": self._output.to_json()},
            "limit_changes": changes,
        }
        return {**told, "cost_usd": self._cost_usd} if self._priced else told
