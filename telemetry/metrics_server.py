"""Serves a run's metrics over HTTP to whoever asks, from threads of its own: the run never waits for them.

One GET of ``/metrics`` is answered from the figures that were published last. A client that hangs is let go after some
seconds, garbage is answered with an error, and no more than a few are served at a time. At the end of a run that
somebody watches, ``linger`` keeps the last figures up until they have been fetched once more: without it the counts
that a Prometheus holds for good would be those of some seconds before the end.
"""

from __future__ import annotations

import errno
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import sub
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from telemetry.metrics import RunFigures, families
from telemetry.metrics_machine import Gpus, ProcessUsage
from trials.errors import UsageError

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PATH = "/metrics"
PACKAGE = "prometheus_client>=0.17"
MOST_AT_ONCE = 16
SILENT_AFTER_S = 10.0
LONGEST_LINGER_S = 60.0
_KEPT_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Published:
    """Figures to be served, the process ids of the shards that are up, and whether no newer ones will come."""

    figures: RunFigures | None = None
    shards_by_pid: Mapping[int, int] | None = None
    last: bool = False


def check_installed() -> None:
    """Raise UsageError if metrics cannot be served for want of a package."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError as problem:
        raise UsageError(
            f"--metrics-port needs the package prometheus_client; install it with pip install '{PACKAGE}'"
        ) from problem


class MetricsServer:
    """Listens from the moment it is made. ``publish`` may be called by any thread, and never waits."""

    def __init__(self, host: str, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Bind. Raises UsageError if the address cannot be had."""
        self._clock = clock
        self._published = Published()
        self._looks: list[float] = []
        self._seen_last = threading.Event()
        self._usage, self._gpus = ProcessUsage(), Gpus()
        self._rendering = threading.Lock()
        self._server = _bind(host, port)
        self._server.set_app(self._answer)
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="metrics", daemon=True).start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self._server.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}{PATH}"

    def publish(self, figures: RunFigures, shards_by_pid: Mapping[int, int], *, last: bool = False) -> None:
        """Serve these figures from now on; ``last`` says that none will follow."""
        self._published = Published(figures, dict(shards_by_pid), last)

    def linger_s(self) -> float:
        """Return how long the next look may be waited for: 0 where nobody watches.

        Who looks in at intervals is given two of them (the longest seen of late); whoever came once, a minute.
        """
        if not self._looks:
            return 0.0
        patience_s = LONGEST_LINGER_S
        if len(self._looks) > 1:
            patience_s = min(patience_s, 2 * max(map(sub, self._looks[1:], self._looks)) + 1)
        left_s = self._looks[-1] + patience_s - self._clock()
        return patience_s if left_s > 0 else 0.0

    def linger(self) -> bool:
        """Wait until the last figures have been fetched, or nobody comes; return whether they were."""
        return self._seen_last.wait(self.linger_s())

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands now. One thread at a time."""
        return self._collect(self._published)

    def _collect(self, published: Published) -> Iterator[Metric]:
        if published.figures is not None:
            yield from families(published.figures)
        yield from self._usage.families(published.shards_by_pid or {})
        yield from self._gpus.families()

    def _answer(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        """Answer one request (PEP 3333)."""
        if environ["REQUEST_METHOD"] != "GET":
            return _plain(start_response, "405 Method Not Allowed", "only GET\n", ("Allow", "GET"))
        if environ["PATH_INFO"] not in (PATH, "/"):
            return _plain(start_response, "404 Not Found", f"the metrics are at {PATH}\n")
        return self._metrics(environ, start_response)

    def _metrics(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        from prometheus_client.exposition import choose_encoder

        came, published = self._clock(), self._published
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        with self._rendering:
            body = encode(_Collected(lambda: self._collect(published)))
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        yield body
        # Here only once the body was handed to the system whole: a client that went away has seen nothing.
        self._looks = [*self._looks, came][-_KEPT_LOOKS:]
        if published.last:
            self._seen_last.set()


class _Collected:
    """What the library takes for a registry."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self.collect = collect


def _plain(start_response: Callable[..., Any], status: str, text: str, *headers: tuple[str, str]) -> Iterator[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    yield body


class _Handler(WSGIRequestHandler):
    """Answers one connection without a word on the terminal."""

    timeout = SILENT_AFTER_S

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the live table's."""

    def get_stderr(self) -> Any:
        """Keep the trace of a failed answer off the terminal; the client is told with a 500."""
        return io.StringIO()


class _Server(WSGIServer):
    """A thread for each connection, a few at most; the others are hung up on."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which may take long where there is no DNS."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        thread = threading.Thread(target=self._serve, args=(request, client_address), name="metrics-look", daemon=True)
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away or talk nonsense."""

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)
            self._free.release()


def _bind(host: str, port: int) -> _Server:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as problem:
        raise UsageError(f"--metrics-host: {host!r} is no address of this machine ({problem})") from problem

    class Server(_Server):
        address_family = family

    try:
        return Server(address, _Handler)
    except OSError as problem:
        raise UsageError(_why_not(host, port, problem)) from problem


def _why_not(host: str, port: int, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return (
            f"--metrics-port: {port} is taken, by another run or another program ('ss -ltnp sport = :{port}' shows "
            f"which); give another port, or 0 for a free one"
        )
    if problem.errno == errno.EACCES:
        return f"--metrics-port: {port} may only be used by root; give one above 1023, or 0 for a free one"
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"--metrics-host: {host!r} is no address of this machine; 127.0.0.1 and 0.0.0.0 always are"
    return f"--metrics-port: cannot listen on {host}:{port}: {problem.strerror}"
