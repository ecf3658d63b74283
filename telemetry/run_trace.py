"""The trace of a run: a span for the run, one below it for each shard. Trials link to their shard's (see tracing).

The supervisor keeps both, so that a shard which is killed has its span all the same; each of its starts is an event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from telemetry.span_export import SpanOutlet
from telemetry.trace_names import present
from telemetry.trace_settings import TraceSettings
from trials.progress import ShardProgress

if TYPE_CHECKING:
    from opentelemetry.trace import Span

LAST_WORD_S = 0.5
"""How long the end of a run may wait for these few spans. The shards have had their time before."""


class RunTrace:
    """The spans of one run under way. Used by the supervisor's one thread.

    ``shards`` are the attributes of each, by number.
    """

    def __init__(
        self,
        settings: TraceSettings,
        *,
        run_id: str,
        attributes: Mapping[str, Any],
        shards: Mapping[int, Mapping[str, Any]],
        warn: Callable[[str], None],
    ) -> None:
        from opentelemetry.trace import set_span_in_context

        self._content = settings.content
        self._outlet = SpanOutlet(settings, {"service.instance.id": f"{run_id}/supervisor"}, warn)
        tracer = self._outlet.tracer
        self._run = tracer.start_span("run", attributes={"eval.run_id": run_id, **present(attributes)})
        below = set_span_in_context(self._run)
        self._shards: dict[int, Span] = {
            number: tracer.start_span(
                "shard", context=below, attributes={"eval.run_id": run_id, "eval.shard": number, **present(told)}
            )
            for number, told in shards.items()
        }

    def traceparent(self, shard: int) -> str:
        """Return a shard's span in the form of W3C Trace Context."""
        from opentelemetry.trace import format_span_id, format_trace_id

        context = self._shards[shard].get_span_context()
        return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"

    def started(self, shard: int, process_id: int) -> None:
        """Note that a shard's process was started; it may be more than once."""
        self._shards[shard].add_event("started", {"process.pid": process_id})

    def shard_over(self, shard: int, progress: ShardProgress, *, restarts: int, failure: str) -> None:
        """End a shard's span, the first time this is called."""
        span = self._shards[shard]
        if not span.is_recording():
            return
        span.set_attributes(
            {
                "eval.state": progress.state,
                "eval.trials_ended": progress.done,
                "eval.provider_errors": progress.provider_errors,
                "eval.harness_errors": progress.harness_errors,
                "eval.http_requests": progress.requests,
                "eval.rejected_429": progress.rejected_429,
                "eval.restarts": restarts,
            }
        )
        if failure:
            _fail(span, "shard_failed", failure if self._content else "")
        span.end()

    def close(self, attributes: Mapping[str, Any], *, signal_number: int = 0) -> None:
        """End the run's span, and send what is left without holding anybody up."""
        for span in self._shards.values():
            span.end() if span.is_recording() else None
        self._run.set_attributes(present(attributes))
        if signal_number:
            self._run.set_attribute("eval.signal", signal_number)
        self._run.end()
        self._outlet.close(LAST_WORD_S)


def _fail(span: Span, kind: str, words: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, words))
