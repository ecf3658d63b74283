"""A real OTLP/HTTP receiver on 127.0.0.1: decodes protobuf requests into plain spans, or misbehaves on purpose."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

CLIENT = 3
ERROR = 2


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One span as it came over the wire; ids in hex."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]
    status: int
    message: str
    resource: dict[str, Any]


@dataclass
class Receiver:
    """What has come so far. ``answer`` is the HTTP status it answers with; ``hold`` keeps every answer back."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answer: int = 200
    hold: bool = False
    closing: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> list[Seen]:
        """Return the spans whose name begins like this."""
        return [span for span in list(self.spans) if span.name.startswith(name)]

    def below(self, parent: Seen) -> list[Seen]:
        """Return a span's children in the order in which they began."""
        found = [one for one in self.spans if (one.trace_id, one.parent_id) == (parent.trace_id, parent.span_id)]
        return sorted(found, key=lambda one: one.start_ns)

    def wait_for(self, look: Callable[[Receiver], bool], timeout_s: float = 30.0) -> None:
        """Return once there is what is looked for."""
        deadline = time.monotonic() + timeout_s
        while not look(self):
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.01)

    def environment(self, **further: str) -> dict[str, str]:
        """Return the variables that send traces here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **further}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.hold:
                receiver.closing.wait(60)
                return
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            receiver.paths.append(self.path)
            if receiver.answer == 200:
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                receiver.bodies.append(body)
                receiver.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(receiver.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for group in request.resource_spans:
        resource = _pairs(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Seen(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_pairs(span.attributes),
                    events=[(event.name, _pairs(event.attributes)) for event in span.events],
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    status=span.status.code,
                    message=span.status.message,
                    resource=resource,
                )


def _pairs(attributes: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
