"""How a run stands, as Prometheus' metrics: from figures that the supervisor has, to families of samples.

Knows neither HTTP (``telemetry.metrics_server``) nor processes (``telemetry.metrics_machine``). Names are those of
OpenTelemetry's conventions for generative AI where there is one, spelt as its exporters spell them for Prometheus
(docs/gen-ai/gen-ai-metrics.md and the Prometheus compatibility of its specification); the others begin with ``eval_``.
``failed_tasks_total`` is the one name that an alert of the project's first sketch asks for.

Labels hold only what there are few of: models, deployments, shards, and fixed sets of words. A run's name is on the
series of the whole run alone; to have it elsewhere, join with ``eval_run_info``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from telemetry.traffic import CALL_BOUNDS_S, HIT_BOUNDS_S, REASONS, TOKEN_BOUNDS, WAIT_BOUNDS_S
from trials.progress import ENDINGS, UNANSWERED, ShardProgress
from trials.words import OUTCOMES, PENDING, SCORED, Deployment

if TYPE_CHECKING:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

STATES = ("running", "draining", "finished", "stopped")
KINDS = ("ok", "rate_limited", "server_error", "timeout", "connection", "bad_reply", "rejected", "access")
STANDING = {field_name: (SCORED, how) if how in OUTCOMES else (how, "") for how, field_name in ENDINGS.items()}
"""The field of ShardProgress that counts an ending → its status and outcome; unscored trials have no outcome."""

_WHERE = ("model", "deployment", "shard")
_WHOM = (*_WHERE, "role")
_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_PROVIDERS = {"azure": "azure.ai.openai"}
"""What the conventions call a provider of the catalog; others go by their own names, which they allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFigures:
    """One shard since this supervisor began. ``queued`` trials wait to be handed to it, ``held`` ones it has.

    ``endings`` are the supervisor's own count; ``progress`` is over all processes of the shard.
    """

    number: int
    deployment: Deployment
    endings: Mapping[str, int] = field(default_factory=dict)
    progress: ShardProgress = field(default_factory=ShardProgress)
    queued: int = 0
    held: int = 0
    restarts: int = 0
    up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """A run at one moment. ``trials`` counts all that are planned by (model, status, outcome).

    ``started_at`` is when this supervisor began, in Unix seconds; ``eta_s`` is None while unknown.
    """

    run_id: str
    simulated: bool
    state: str
    started_at: float
    trials: Mapping[tuple[str, str, str], int]
    shards: Sequence[ShardFigures] = ()
    judge: Deployment | None = None
    eta_s: float | None = None


def families(run: RunFigures) -> Iterator[Metric]:
    """Yield all metrics of a run. A series that can be known at all is there from the beginning, as 0."""
    yield from _of_the_run(run)
    yield from _of_trials(run.shards)
    yield from _of_limits(run.shards)
    yield from _of_requests(run)
    yield from _of_caches(run.shards)


def label(value: object) -> str:
    """Return a label's value: any text that is UTF-8, which what came from a command line need not be."""
    return str(value).encode("utf-8", "replace").decode()


def gauge(name: str, help_text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    """Return an empty family of gauges."""
    from prometheus_client.metrics_core import GaugeMetricFamily

    return GaugeMetricFamily(name, help_text, labels=labels)


def counter(name: str, help_text: str, labels: Sequence[str]) -> CounterMetricFamily:
    """Return an empty family of counters."""
    from prometheus_client.metrics_core import CounterMetricFamily

    return CounterMetricFamily(name, help_text, labels=labels)


def _of_the_run(run: RunFigures) -> Iterator[Metric]:
    run_id = label(run.run_id)
    info = gauge("eval_run_info", "The run that this supervisor works on; always 1.", ("run_id", "simulated"))
    info.add_metric([run_id, "true" if run.simulated else "false"], 1)
    state = gauge("eval_run_state", "1 for the state that the run is in, 0 for the others.", ("run_id", "state"))
    for one in STATES:
        state.add_metric([run_id, one], float(one == run.state))
    started = gauge("eval_run_started_timestamp_seconds", "When this supervisor began.", ("run_id",))
    started.add_metric([run_id], run.started_at)
    eta = gauge("eval_run_eta_seconds", "How long the run will still take; absent while unknown.", ("run_id",))
    if run.eta_s is not None:
        eta.add_metric([run_id], run.eta_s)
    trials = gauge(
        "eval_trials",
        "Planned trials by how they stand, over all starts of the run; a scored one by its outcome as well.",
        ("run_id", "model", "status", "outcome"),
    )
    for model in dict.fromkeys(model for model, _, _ in run.trials):
        for status, outcome in (*STANDING.values(), (PENDING, "")):
            count = run.trials.get((model, status, outcome), 0)
            trials.add_metric([run_id, label(model), status, outcome], count)
    yield from (info, state, started, eta, trials)


def _of_trials(shards: Sequence[ShardFigures]) -> Iterator[Metric]:
    ended = counter(
        "eval_trials_ended", "Trials that ended since this supervisor began.", (*_WHERE, "status", "outcome")
    )
    failed = counter(
        "failed_tasks",
        "Trials that ended without a score since this supervisor began, by whose fault.",
        (*_WHERE, "reason"),
    )
    running = gauge("eval_trials_in_flight", "Trials that a worker is at.", _WHERE)
    queued = gauge("eval_trials_queued", "Trials that wait: in the dispatcher, or in the shard.", (*_WHERE, "place"))
    workers = gauge("eval_workers", "Worker threads.", _WHERE)
    up = gauge("eval_shard_up", "Whether the shard's process is there.", _WHERE)
    restarts = counter("eval_shard_restarts", "How often the shard's process was started again.", _WHERE)
    for shard in shards:
        where = _where(shard)
        for name, (status, outcome) in STANDING.items():
            ended.add_metric([*where, status, outcome], shard.endings.get(name, 0))
            if name in UNANSWERED:
                failed.add_metric([*where, status], shard.endings.get(name, 0))
        now = shard.progress
        running.add_metric(where, now.in_flight)
        queued.add_metric([*where, "dispatcher"], shard.queued)
        queued.add_metric([*where, "shard"], max(0, shard.held - now.in_flight))
        workers.add_metric(where, now.workers)
        up.add_metric(where, float(shard.up))
        restarts.add_metric(where, shard.restarts)
    yield from (ended, failed, running, queued, workers, up, restarts)


def _of_limits(shards: Sequence[ShardFigures]) -> Iterator[Metric]:
    limit = gauge("eval_rate_limit_requests_per_second", "The rate that the limiter allows now.", _WHERE)
    changes = counter(
        "eval_rate_limit_changes", "Changes of the limit, by what brought them.", (*_WHERE, "unit", "reason")
    )
    for shard in shards:
        where = _where(shard)
        limit.add_metric(where, shard.progress.qps_limit)
        counted = shard.progress.traffic.get("model", {}).get("limit_changes", {})
        for reason in REASONS:
            changes.add_metric([*where, "requests", reason], counted.get("requests", {}).get(reason, 0))
        for reason, count in counted.get("tokens", {}).items():  # few providers limit them
            changes.add_metric([*where, "tokens", reason], count)
    yield from (limit, changes)


def _of_requests(run: RunFigures) -> Iterator[Metric]:
    from prometheus_client.metrics_core import HistogramMetricFamily

    requests = counter("eval_requests", "HTTP attempts by how they ended.", (*_WHOM, "outcome"))
    cost = counter("eval_cost_usd", "What the replies cost, where prices are known.", _WHOM)
    calls = HistogramMetricFamily(
        "gen_ai_client_operation_duration_seconds",
        "HTTP attempts, from sending to the whole reply; without replies out of the cache.",
        labels=(*_GEN_AI, "error_type", *_WHOM),
    )
    tokens = HistogramMetricFamily(
        "gen_ai_client_token_usage",
        "Tokens of a reply that was asked for, and of what it replies to.",
        labels=(*_GEN_AI, "gen_ai_token_type", *_WHOM),
    )
    limiter = HistogramMetricFamily(
        "eval_limiter_wait_seconds", "How long the rate limiter held an attempt back.", labels=_WHOM
    )
    queue = HistogramMetricFamily(
        "eval_queue_wait_seconds", "How long a trial waited in its shard before a worker took it up.", labels=_WHERE
    )
    for shard, deployment, role in _asked(run):
        whom = (label(deployment.model), label(deployment.name), str(shard.number), role)
        gen_ai = ("chat", label(_PROVIDERS.get(deployment.provider, deployment.provider)), label(deployment.api_model))
        told = shard.progress.traffic.get(role, {})
        for kind in dict.fromkeys((*KINDS, *told.get("calls", {}))):
            histogram = told.get("calls", {}).get(kind)
            requests.add_metric([*whom, kind], sum(histogram["counts"]) if histogram else 0)
            if histogram or kind == "ok":
                _add(calls, (*gen_ai, "" if kind == "ok" else kind, *whom), CALL_BOUNDS_S, histogram)
        for kind in ("input", "output"):
            _add(tokens, (*gen_ai, kind, *whom), TOKEN_BOUNDS, told.get("tokens", {}).get(kind))
        _add(limiter, whom, WAIT_BOUNDS_S, told.get("limiter"))
        if role == "model":
            _add(queue, whom[:-1], WAIT_BOUNDS_S, told.get("queue"))
        if "cost_usd" in told:
            cost.add_metric(whom, told["cost_usd"])
    yield from (requests, cost, calls, tokens, limiter, queue)


def _of_caches(shards: Sequence[ShardFigures]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import HistogramMetricFamily

    asked = counter(
        "eval_cache_requests",
        "Replies out of the cache (hit), and requests that it could not spare (miss).",
        (*_WHERE, "result"),
    )
    errors = counter("eval_cache_errors", "Failures of the cache's store.", _WHERE)
    hits = HistogramMetricFamily(
        "eval_cache_hit_duration_seconds",
        "How long it took to get a reply without a call, waiting for another's call included.",
        labels=_WHOM,
    )
    for shard in shards:
        told = shard.progress.traffic
        if "cache" not in told:
            continue
        where = _where(shard)
        for result in ("hit", "miss"):
            asked.add_metric([*where, result], told["cache"][result])
        errors.add_metric(where, told["cache"]["errors"])
        for role in ("model", "judge"):
            if role in told:
                _add(hits, (*where, role), HIT_BOUNDS_S, told[role]["hits"])
    yield from (asked, errors, hits)


def _asked(run: RunFigures) -> Iterator[tuple[ShardFigures, Deployment, str]]:
    """Yield whom each shard asks: its own deployment, and the judge if there is one."""
    for shard in run.shards:
        yield shard, shard.deployment, "model"
        if run.judge is not None:
            yield shard, run.judge, "judge"


def _where(shard: ShardFigures) -> list[str]:
    return [label(shard.deployment.model), label(shard.deployment.name), str(shard.number)]


def _add(family: Any, labels: Sequence[str], bounds: Sequence[float], told: Mapping[str, Any] | None) -> None:
    """Add a histogram, cumulated as Prometheus wants it."""
    counts, total = (told["counts"], told["sum"]) if told else ([0] * (len(bounds) + 1), 0.0)
    names = [*(_bound(bound) for bound in bounds), "+Inf"]
    family.add_metric(list(labels), list(zip(names, accumulate(counts), strict=True)), total)


def _bound(value: float) -> str:
    """Spell a bound as OpenMetrics wants it: a float, always the same way."""
    return repr(float(value))
