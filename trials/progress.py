"""What a shard tells of itself, and what a person sees of a run: plain records that cross pipes and files as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trials.words import FAILURE, FULL, HARNESS_ERROR, PARTIAL, PROVIDER_ERROR, SCORED

ENDINGS = {
    FULL: "full",
    PARTIAL: "partial",
    FAILURE: "failed",
    PROVIDER_ERROR: "provider_errors",
    HARNESS_ERROR: "harness_errors",
}
"""How a trial ended (its outcome if scored, else its status) → the field of ShardProgress that counts it."""

UNANSWERED = frozenset({ENDINGS[PROVIDER_ERROR], ENDINGS[HARNESS_ERROR]})


def ending(row: Mapping[str, Any]) -> str:
    """Return the counting field of ShardProgress that a result row falls into."""
    return ENDINGS[row["outcome"] if row["status"] == SCORED else row["status"]]


def summed(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Add up nested dicts of numbers and lists of numbers; what only one has stays as it is."""
    return {**one, **{name: _sum(one[name], value) if name in one else value for name, value in other.items()}}


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return summed(one, other)
    if isinstance(one, list):
        return [mine + theirs for mine, theirs in zip(one, other, strict=True)]
    return one + other


@dataclass(slots=True, kw_only=True)
class ShardProgress:
    """One shard at one moment. Counts are of this process alone, rates in 1/s, latencies of single HTTP attempts.

    ``done`` = full + partial + failed + provider_errors + harness_errors.
    ``limit_reason`` says in words why the limit last changed. ``traffic`` holds what else is counted of requests, as
    nested dicts of numbers that only grow (``telemetry.traffic``).
    """

    state: str = "waiting"
    full: int = 0
    partial: int = 0
    failed: int = 0
    provider_errors: int = 0
    harness_errors: int = 0
    in_flight: int = 0
    workers: int = 0
    requests: int = 0
    requests_per_s: float = 0.0
    qps_limit: float = 0.0
    limit_reason: str = ""
    rejected_429: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    message: str = ""
    traffic: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Trials that ended in this process, whatever their status."""
        return self.full + self.partial + self.failed + self.provider_errors + self.harness_errors

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-like dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ShardProgress:
        """Rebuild from ``to_json``'s dict; unknown fields are dropped, so that versions may differ."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: item for name, item in value.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardView:
    """One row of the live table: a shard's progress since the run began, over all restarts of its process.

    ``total`` is its share of the plan or, once work has moved, what it has ended plus what it still holds;
    ``earlier`` counts trials of its share that had a result before this start. ``eta_s`` is None while unknown.
    ``cost_usd`` is what it has spent in this run, earlier starts included; None where a price is not known.
    """

    number: int
    model: str
    deployment: str
    total: int
    earlier: int
    progress: ShardProgress
    rss_bytes: int = 0
    cpu_percent: float = 0.0
    restarts: int = 0
    eta_s: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A whole run at one moment. ``scored + provider_errors + harness_errors + pending = planned``, always.

    ``cost_usd`` is what all starts of the run have spent as far as prices are known, None where none is;
    ``max_cost_usd`` what it may spend. ``deadline_s`` is left until nothing more begins, None where there is no such
    time. ``cache_hits`` are requests of this start that needed no call. ``slowdown`` says when and why a rate limit was
    last lowered, ``metrics_url`` where its metrics are served, if they are.
    """

    run_id: str
    state: str
    simulated: bool
    planned: int
    scored: int
    provider_errors: int
    harness_errors: int
    pending: int
    elapsed_s: float
    shards: tuple[ShardView, ...]
    eta_s: float | None = None
    message: str = ""
    cost_usd: float | None = None
    max_cost_usd: float | None = None
    deadline_s: float | None = None
    cache_hits: int = 0
    trials_per_s: float = 0.0
    slowdown: str = ""
    metrics_url: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-like dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunView:
        """Rebuild from ``to_json``'s dict. Raises TypeError or KeyError for one of another form."""
        shards = tuple(
            ShardView(**{**shard, "progress": ShardProgress.from_json(shard["progress"])}) for shard in value["shards"]
        )
        return cls(**{**value, "shards": shards})
