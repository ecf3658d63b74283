"""Sends spans to an OTLP endpoint from a thread of its own, and never lets a run wait for it.

An endpoint that is down or slow costs its spans and one warning, never the run: what does not fit into the queue is
dropped and counted. Encoding, retries and TLS are OpenTelemetry's own; its log, which would go to a terminal, is
read here for the reason of a failure and goes nowhere else.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

    from telemetry.trace_settings import TraceSettings

SERVICE = "ultra-parallel-runner"
MOST_AT_ONCE = 256
MOST_WITH_CONTENT = 1024
SEMCONV = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the semantic conventions that names of attributes are taken from."""


class SpanOutlet:
    """Makes spans and sends them. Thread-safe; one for a process, closed once."""

    def __init__(
        self,
        settings: TraceSettings,
        resource: Mapping[str, Any],
        warn: Callable[[str], None],
        next_trace_id: Callable[[], int] | None = None,
    ) -> None:
        """Begin. ``warn`` is called at most twice, from any thread: at the first failure, and for what was lost.

        ``next_trace_id`` is asked, in the thread that starts it, for the trace of a span without a parent.
        """
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        self._reasons = _last_words()
        self._settings = settings
        self._warn = warn
        self._lock = threading.Lock()
        self._made = self._sent = 0
        self._warned = False
        self._closing = False
        kept = Resource({**_maker(), **settings.resource, **resource, "process.pid": os.getpid()}, SEMCONV)
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # who is traced at all has been decided before
            resource=kept,
            id_generator=_ids(next_trace_id),
            shutdown_on_exit=False,
        )
        size = min(settings.queue_size, MOST_WITH_CONTENT) if settings.content else settings.queue_size
        self._processor = _processor(
            _counting(_exporter(settings), self._counted, self._reasons),
            self._ended,
            max_queue_size=size,
            schedule_delay_millis=settings.delay_s * 1000,
            max_export_batch_size=min(MOST_AT_ONCE, size),
        )
        self._provider.add_span_processor(self._processor)
        self.tracer: Tracer = self._provider.get_tracer(SERVICE, schema_url=SEMCONV)

    def close(self, timeout_s: float) -> None:
        """Send what is left, for ``timeout_s`` at the most, and tell what was lost."""
        self._closing = True
        last = threading.Thread(target=self._processor.shutdown, name="traces-end", daemon=True)
        last.start()
        last.join(timeout_s)
        with self._lock:
            lost, made = self._made - self._sent, self._made
        if lost > 0:
            self._say(f"traces: {lost} of {made} spans did not reach {self._settings.host}{self._reason()}")

    def _ended(self) -> None:
        with self._lock:
            self._made += 1

    def _counted(self, spans: int, sent: bool) -> None:
        with self._lock:
            if sent:
                self._sent += spans
                return
            first, self._warned = not self._warned, True
        if first and not self._closing:
            self._say(f"traces: {self._settings.host} takes no spans{self._reason()}; the run goes on without them")

    def _reason(self) -> str:
        return f" ({self._reasons.said})" if self._reasons.said else ""

    def _say(self, text: str) -> None:
        for secret in self._settings.headers.values():
            text = text.replace(secret, "****")
        self._warn(text)


def _maker() -> dict[str, str]:
    from opentelemetry.sdk.version import __version__

    return {
        "service.name": SERVICE,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": __version__,
    }


class _LastWords(logging.Handler):
    """Keeps the last complaint of OpenTelemetry's own log that a thread made while it exported for this outlet.

    An outlet that was closed may still be trying in its own thread; its reasons are not those of the next.
    """

    said = ""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.local()

    @contextmanager
    def of_this_thread(self) -> Iterator[None]:
        self._thread.exports = True
        try:
            yield
        finally:
            self._thread.exports = False

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(self._thread, "exports", False) or "export" not in record.msg:
            return
        arguments = record.args if isinstance(record.args, tuple) else ()
        error = next((one for one in arguments if isinstance(one, Exception)), None)
        if error is not None:
            self.said = _root_words(error)
        elif "code: %s, reason: %s" in record.msg:
            self.said = " ".join(str(one) for one in arguments[-2:]).strip()
        else:
            self.said = self.said or record.getMessage()


def _root_words(error: BaseException) -> str:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _last_words() -> _LastWords:
    """Take the library's log for this process: without a handler its warnings would stand in a person's terminal."""
    log = logging.getLogger("opentelemetry")
    for handler in list(log.handlers):
        if isinstance(handler, _LastWords):
            log.removeHandler(handler)
    words = _LastWords()
    log.addHandler(words)
    log.propagate = False
    return words


def _exporter(settings: TraceSettings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=dict(settings.headers),
        timeout=settings.timeout_s,
        compression=Compression(settings.compression),
        certificate_file=settings.certificate or None,
        client_certificate_file=settings.client_certificate or None,
        client_key_file=settings.client_key or None,
    )


def _counting(inner: SpanExporter, counted: Callable[[int, bool], None], reasons: _LastWords) -> SpanExporter:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Counting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                with reasons.of_this_thread():
                    result = inner.export(spans)
            except Exception as problem:  # earlier versions of the library raise what later ones write to their log
                reasons.said = _root_words(problem)
                result = SpanExportResult.FAILURE
            counted(len(spans), result is SpanExportResult.SUCCESS)
            return result

        def shutdown(self) -> None:
            inner.shutdown()

    return Counting()


def _processor(exporter: SpanExporter, ended: Callable[[], None], **options: Any) -> SpanProcessor:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class Processor(BatchSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended()
            super().on_end(span)

    return Processor(exporter, **options)


def _ids(next_trace_id: Callable[[], int] | None) -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return next_trace_id() if next_trace_id else super().generate_trace_id()

    return Ids()


def clock_offset_ns() -> int:
    """Return what to add to the monotonic clock, in nanoseconds, for the time of day.

    Read once for a process: spans of one trial then nest as they happened, though the time of day be set anew.
    """
    return time.time_ns() - time.monotonic_ns()
