"""What of a request goes onto the spans of its run and shards (telemetry.run_trace)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from commands.request import Request
from telemetry.run_trace import RunTrace
from trials.spec import RunSpec, TraceOrder, WorkflowSpec
from trials.words import Deployment

LONGEST = 1000
"""Characters of an attribute that lists names."""


def run_trace(
    request: Request, run_id: str, planned: int, deployments: Mapping[int, Deployment], warn: Callable[[str], None]
) -> RunTrace | None:
    """Begin the trace of a run, if one was asked for. ``warn`` hears of spans that are lost."""
    if request.tracing is None:
        return None
    shards = {
        number: {"eval.model": one.model, "eval.deployment": one.name, "eval.workers": one.workers}
        for number, one in deployments.items()
    }
    return RunTrace(request.tracing, run_id=run_id, attributes=_what(request.spec, planned), shards=shards, warn=warn)


def trace_order(request: Request, run_id: str, shard: int, trace: RunTrace | None) -> TraceOrder | None:
    """Return what a shard is told of traces; without a run's trace, its trials hang on nothing."""
    if request.tracing is None:
        return None
    parent = trace.traceparent(shard) if trace is not None else ""
    return TraceOrder(run_id=run_id, shard=shard, parent=parent, content=request.tracing.content)


def _what(spec: RunSpec, planned: int) -> dict[str, str | int | bool]:
    asks = spec.asks
    kind = "workflow" if isinstance(asks, WorkflowSpec) else "questions"
    return {
        "eval.kind": kind,
        "eval.models": ",".join(spec.models)[:LONGEST],
        "eval.asks": asks.title,
        "eval.planned": planned,
        "eval.seed": spec.seed,
        "eval.simulated": spec.simulated,
    }
