"""Traces a shard's trials: a span a trial, in it one a request ("turn"), in that one an HTTP attempt.

Each trial is a trace of its own, whose id is a function of run and trial: whoever works on a trial, in whatever process
and however often the run is resumed, adds to the same trace, and all come to the same answer as to whether it is
sampled. A trial that is not sampled costs one digest. Phases are attributes, since a span costs some 70 µs.

Names are in ``trace_names``, the sending is ``span_export``'s. See docs/tracing.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from threading import local
from typing import TYPE_CHECKING, Any, TypeVar

from telemetry import trace_names
from telemetry.logs import redactor
from telemetry.span_export import SpanOutlet, clock_offset_ns
from telemetry.trace_content import ContentWriter
from telemetry.trace_settings import TraceSettings
from telemetry.traced_parts import Ask, Attempt, Phases
from trials.errors import Drained, ProviderError
from trials.rows import Row
from trials.words import Completion, Deployment, Message, Sampling, Trial

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span

LAST_WORD_S = 1.5
"""How long a shard that leaves may take to send its last spans."""

A = TypeVar("A", bound=Attempt)


class Tracer:
    """Traces the trials of one shard. Thread-safe; a trial is traced in the one thread that runs it.

    ``asked`` is the model under test, ``judge`` the one that marks, each with how it samples. ``parent`` is the shard's
    span as a W3C traceparent, empty if it has none.
    """

    def __init__(
        self,
        settings: TraceSettings,
        *,
        run_id: str,
        shard: int,
        parent: str,
        asked: tuple[Deployment, Sampling],
        judge: tuple[Deployment, Sampling] | None,
        secrets: Sequence[str],
        warn: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._base = blake2b(f"{run_id}\n".encode(), digest_size=16)
        self._own = _Own()
        instance = f"{run_id}/shard-{shard:02d}"
        self.outlet = SpanOutlet(settings, {"service.instance.id": instance}, warn, lambda: self._own.trace_id)
        self.content = ContentWriter(redactor(secrets)) if settings.content else None
        self.offset_ns = clock_offset_ns()
        self._links = _links(parent)
        self._said: dict[str, Any] = {"eval.run_id": run_id, "eval.shard": shard, "eval.simulated": asked[0].simulated}
        self._parties = [_Party(*asked), _Party(*(judge or asked))]

    def trial(self, trial: Trial, *, queued_at: float = 0.0, earlier: Sequence[Completion] = ()) -> TrialTrace | None:
        """Begin the span of a trial, or return None if it is not sampled.

        ``queued_at`` is when it was handed out, in Unix seconds; ``earlier`` are the completions that it already has.
        """
        trace_id = self.trace_id(trial.trial_key)
        if not self._settings.sampled(trace_id):
            return None
        self._own.trace_id = trace_id
        queue_ms = max(0.0, (time.time() - queued_at) * 1000) if queued_at else 0.0
        replayed = sum(not one.cached for one in earlier)
        span = self.outlet.tracer.start_span(
            "trial",
            attributes={
                **self._said,
                **trace_names.trial_of(trial),
                "eval.queue_ms": queue_ms,
                "eval.replayed_turns": replayed,
            },
            links=self._links,
            start_time=self.now_ns(),
        )
        trace = TrialTrace(self, span, trial.trial_key)
        for turn, completion in enumerate(earlier):
            if completion.cached:  # looked up before the trial began
                trace.from_cache(turn, completion)
        trace.turns = len(earlier)
        return trace

    def trace_id(self, trial_key: str) -> int:
        """Return the trace of a trial, the same in every process and at every start of its run."""
        digest = self._base.copy()
        digest.update(trial_key.encode())
        return int.from_bytes(digest.digest(), "big")

    def watching(self, observe: Callable[[A], None]) -> Callable[[A], None]:
        """Return an observer of attempts that also traces them."""

        def both(attempt: A) -> None:
            observe(attempt)
            turn = self._own.turn
            if turn is not None:
                self._attempt(attempt, turn, self._own.party)

        return both

    def close(self, timeout_s: float = LAST_WORD_S) -> None:
        """Send what is left, waiting no longer than that."""
        self.outlet.close(timeout_s)

    def now_ns(self) -> int:
        """Return the time of day in nanoseconds, never going back."""
        return time.monotonic_ns() + self.offset_ns

    def begin(self, name: str, parent: Span, start_ns: int, attributes: Mapping[str, Any]) -> Span:
        """Begin the span of a request below another span."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        return self.outlet.tracer.start_span(
            name,
            context=set_span_in_context(parent),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=start_ns,
        )

    def party(self, judge: bool) -> _Party:
        """Return whom a turn asks."""
        return self._parties[judge]

    def enter(self, turn: Span, party: _Party) -> None:
        """Let the attempts of this thread belong to a turn."""
        self._own.turn, self._own.party = turn, party

    def leave(self) -> None:
        """End what ``enter`` began."""
        self._own.turn = self._own.party = None

    def _attempt(self, attempt: Attempt, turn: Span, party: _Party | None) -> None:
        """Make the span of an attempt that has just ended."""
        assert party is not None, "a turn asks somebody"
        sent_ns = int(attempt.sent_at * 1e9)
        got_ns = sent_ns + int(attempt.latency_ms * 1e6)
        attributes = {
            **party.http,
            "url.full": trace_names.url_of(attempt.request.url),
            "http.request.resend_count": attempt.number - 1 or None,
            "http.response.status_code": attempt.status,
            "eval.attempt": attempt.number,
            "eval.phase.limiter_wait_ms": attempt.rate_wait_ms,
            **_times(attempt.phases()),
            "eval.phase.parse_ms": max(0, time.monotonic_ns() - got_ns) / 1e6,
        }
        span = self.begin("POST", turn, sent_ns + self.offset_ns, trace_names.present(attributes))
        if attempt.error is not None:
            self.fail(span, attempt.kind, str(attempt.error))
        span.end(got_ns + self.offset_ns)

    def fail(self, span: Span, kind: str, words: str) -> None:
        """Mark a span as failed. An error's words may quote a reply, so they go only where content does."""
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, self.content.short(words) if self.content else kind))


class TrialTrace:
    """The span of one trial under way; a context, which ends it."""

    def __init__(self, tracer: Tracer, span: Span, trial_key: str) -> None:
        self.turns = 0
        self._key = trial_key
        self._tracer = tracer
        self._span = span
        self._began_ns = self._asked_ns = tracer.now_ns()
        self._first_ns: int | None = None

    def __enter__(self) -> TrialTrace:
        return self

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if problem is not None:
            self._tracer.fail(self._span, getattr(problem, "kind", type(problem).__name__), str(problem))
        self._span.end(self._tracer.now_ns())

    def asking(self, ask: Ask) -> Ask:
        """Return the same way of asking, with a span around each request."""

        def traced(
            trial: Trial,
            messages: Sequence[Message],
            tools: Sequence[Mapping[str, Any]] | None,
            *,
            judge: bool = False,
            told: Mapping[str, Any] | None = None,
        ) -> Completion:
            turn = self._begin(messages, judge=judge)
            try:
                completion = ask(trial, messages, tools, judge=judge, told=told)
                self._answered(turn, completion)
            except ProviderError as problem:
                self._tracer.fail(turn, problem.kind, str(problem))
                raise
            except Drained:
                turn.set_attribute("eval.drained", True)
                raise
            except Exception as problem:
                self._tracer.fail(turn, type(problem).__name__, str(problem))
                raise
            finally:
                self._tracer.leave()
                self._asked_ns = self._tracer.now_ns()
                turn.end(self._asked_ns)
            return completion

        return traced

    def from_cache(self, turn: int, completion: Completion) -> None:
        """Note a reply that the cache had ahead of the trial."""
        party = self._tracer.party(False)
        span = self._tracer.begin(party.name, self._span, self._began_ns, self._turn(party, turn))
        self._answered(span, completion)
        span.end(self._began_ns)

    def ended(self, row: Row | None) -> Row | None:
        """Note how the trial ended and return the row. None: it goes on later, or elsewhere."""
        tracer, span = self._tracer, self._span
        now_ns = tracer.now_ns()
        if self._first_ns is not None:
            span.set_attribute("eval.phase.prepare_ms", (self._first_ns - self._began_ns) / 1e6)
        if row is None:
            span.set_attribute("eval.status", "pending")
            return None
        span.set_attribute("eval.phase.score_ms", (now_ns - self._asked_ns) / 1e6)
        told = trace_names.ended_as(row, content=tracer.content is not None)
        if tracer.content is not None:
            told = {name: tracer.content.short(one) if isinstance(one, str) else one for name, one in told.items()}
        span.set_attributes(told)
        if "error.type" in told:
            tracer.fail(span, told["error.type"], row["error_message"] or "")
        return row

    def _begin(self, messages: Sequence[Message], *, judge: bool) -> Span:
        tracer = self._tracer
        party = tracer.party(judge)
        start_ns = tracer.now_ns()
        self._first_ns = self._first_ns or start_ns
        attributes = self._turn(party, self.turns)
        if judge:
            attributes["eval.judge"] = True
        if tracer.content is not None:
            attributes["gen_ai.input.messages"] = tracer.content.request(messages)
        self.turns += 1
        turn = tracer.begin(party.name, self._span, start_ns, attributes)
        tracer.enter(turn, party)
        return turn

    def _turn(self, party: _Party, number: int) -> dict[str, Any]:
        return {**party.asked, "gen_ai.conversation.id": self._key, "eval.turn": number}

    def _answered(self, turn: Span, completion: Completion) -> None:
        told = trace_names.answered(completion)
        if self._tracer.content is not None:
            told["gen_ai.output.messages"] = self._tracer.content.reply(completion)
        turn.set_attributes(told)


class _Party:
    """Who is asked: the name and attributes of all turns, and those of all attempts."""

    def __init__(self, deployment: Deployment, sampling: Sampling) -> None:
        self.asked = trace_names.asked_of(deployment, sampling)
        self.name = f"chat {deployment.api_model}"
        self.http = {
            "http.request.method": "POST",
            **trace_names.server_of(deployment.base_url),
        }


class _Own(local):
    """What a thread is at: the turn whose attempts come, and the trace of the trial that begins."""

    turn: Span | None = None
    party: _Party | None = None
    trace_id: int = 0


def _times(phases: Phases | None) -> dict[str, Any]:
    if phases is None:
        return {}
    return {
        "eval.connection_reused": phases.reused,
        "eval.phase.lookup_ms": phases.lookup_ms,
        "eval.phase.connect_ms": phases.connect_ms,
        "eval.phase.tls_ms": phases.tls_ms,
        "eval.phase.first_byte_ms": phases.first_byte_ms,
        "eval.phase.body_ms": phases.body_ms,
    }


def _links(traceparent: str) -> list[Link]:
    """Return a link to the span of a W3C traceparent, none for an empty one."""
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    if not traceparent:
        return []
    _, trace_id, span_id, flags = traceparent.split("-")
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return [Link(context)]
