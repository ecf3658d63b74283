"""What HTTP stacks cost: ``python benchmarks/transports.py``; about two minutes for all of them.

Each stack posts a 1 kB prompt over kept-alive connections to ``local_server.py``, from a process of its own: first 16
in flight with no latency, where CPU time is all there is, then 600 with 200 ms each, where the ideal is 3,000 requests
a second. CPU is that of the client's process alone; what the server uses, the client cannot have.

    python benchmarks/transports.py --only curl     # those whose name holds a text
    python benchmarks/transports.py --settings      # the curl transport under switch intervals and on one core
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from local_server import serving

from providers.transport import HttpRequest, open_transport

BODY = json.dumps({"model": "local", "messages": [{"role": "user", "content": "prompt " * 140}]}).encode()
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-" + "x" * 40}
WARM_UP_S = 1.5
PATIENCE_S = 12.0
STACK_BYTES = 512 * 1024
FEW, MANY, LATENCY_MS = 16, 600, 200.0

Ask = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Requests a second, CPU microseconds of each, and the most megabytes that were resident."""

    rate: float
    cpu_us: float
    mb: float


def raw_socket(url: str) -> Callable[[], Ask]:
    """No HTTP at all: bytes out, bytes in."""
    import socket

    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(BODY)}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    wire = "\r\n".join([*lines, "", ""]).encode() + BODY

    def new() -> Ask:
        connection = socket.create_connection((str(parts.hostname), parts.port or 80))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask() -> None:
            connection.sendall(wire)
            connection.recv(65536)

        return ask

    return new


def http_client(url: str) -> Callable[[], Ask]:
    """The standard library's client."""
    parts = urlsplit(url)

    def new() -> Ask:
        connection = HTTPConnection(parts.netloc)

        def ask() -> None:
            connection.request("POST", parts.path, BODY, HEADERS)
            connection.getresponse().read()

        return ask

    return new


def bare_requests(url: str) -> Callable[[], Ask]:
    """A session per thread, as most programs have it."""
    import requests

    def new() -> Ask:
        session = requests.Session()
        return lambda: session.post(url, data=BODY, headers=HEADERS).content

    return new


def _handle(url: str) -> tuple[object, list[bytes], list[bytes]]:
    import pycurl

    handle, head, body = pycurl.Curl(), [], []  # type: ignore[var-annotated]
    handle.setopt(pycurl.URL, url)
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.HTTPHEADER, [*(f"{name}: {value}" for name, value in HEADERS.items()), "Expect:"])
    handle.setopt(pycurl.POSTFIELDS, BODY)
    handle.setopt(pycurl.HEADERFUNCTION, head.append)
    handle.setopt(pycurl.WRITEFUNCTION, body.append)
    return handle, head, body


def bare_pycurl(url: str) -> Callable[[], Ask]:
    """A handle per thread and callbacks that do next to nothing: the floor for libcurl."""

    def new() -> Ask:
        handle, head, body = _handle(url)

        def ask() -> None:
            handle.perform()  # type: ignore[attr-defined]
            head.clear()
            body.clear()

        return ask

    return new


def ours(name: str) -> Callable[[str], Callable[[], Ask]]:
    """One of this project's transports."""

    def make(url: str) -> Callable[[], Ask]:
        transport = open_transport(name)
        return lambda: lambda: transport.send(HttpRequest(url=url, headers=HEADERS, body=BODY), 60.0)

    return make


def pycurl_multi(url: str, in_flight: int, counts: list[int], stop: threading.Event) -> None:
    """All requests in one thread: libcurl's own event loop."""
    import pycurl

    multi = pycurl.CurlMulti()
    handles = {handle: (head, body) for handle, head, body in (_handle(url) for _ in range(in_flight))}
    for handle in handles:
        multi.add_handle(handle)  # type: ignore[arg-type]
    while not stop.is_set():
        multi.perform()
        for handle in multi.info_read(in_flight)[1]:
            counts[0] += 1
            for pieces in handles[handle]:
                pieces.clear()
            multi.remove_handle(handle)
            multi.add_handle(handle)
        multi.select(0.05)


THREADED: dict[str, Callable[[str], Callable[[], Ask]]] = {
    "raw socket": raw_socket,
    "pycurl, bare": bare_pycurl,
    "transport curl": ours("curl"),
    "http.client": http_client,
    "transport requests": ours("requests"),
    "requests, bare": bare_requests,
}
MULTI = "pycurl multi, one thread"


def in_threads(name: str, url: str, in_flight: int, counts: list[int], stop: threading.Event) -> None:
    """Start the threads of a stack; each asks again as soon as it is answered."""
    new = THREADED[name](url)

    def work(place: int) -> None:
        ask = new()
        while not stop.is_set():
            ask()
            counts[place] += 1

    threading.stack_size(STACK_BYTES)
    for place in range(in_flight):
        threading.Thread(target=work, args=(place,), daemon=True).start()


def measure(name: str, url: str, in_flight: int, seconds: float) -> Figures:
    """Measure a stack in this process, once it has warmed up."""
    counts, stop = [0] * in_flight, threading.Event()
    if name == MULTI:
        threading.Thread(target=pycurl_multi, args=(url, in_flight, counts, stop), daemon=True).start()
    else:
        in_threads(name, url, in_flight, counts, stop)
    time.sleep(WARM_UP_S)
    done, used, began = sum(counts), time.process_time(), time.monotonic()
    time.sleep(seconds)
    done, used, took = sum(counts) - done, time.process_time() - used, time.monotonic() - began
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(rate=done / took, cpu_us=used / max(done, 1) * 1e6, mb=megabytes)


def measured(name: str, in_flight: int, latency_ms: float, options: argparse.Namespace, *more: str) -> Figures | None:
    """Measure in a process of its own; None if it does not even get through that in good time."""
    with serving(latency_ms=latency_ms) as server:
        command = [sys.executable, __file__, "--one", name, "--url", f"{server.base_url}/chat/completions"]
        command += ["--in-flight", str(in_flight), "--seconds", str(options.seconds), *more]
        try:
            # Threads past what the interpreter lock can carry do not slow down, they stop each other.
            told = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, timeout=options.seconds + PATIENCE_S
            ).stdout
        except subprocess.TimeoutExpired:
            return None
    return Figures(**json.loads(told))


def stacks(options: argparse.Namespace) -> Iterator[str]:
    """Yield the table of all stacks."""
    many_words = f"{MANY} × {LATENCY_MS:g} ms"
    yield f"| stack | {FEW} in flight, 0 ms: CPU µs a request | {many_words}: CPU µs a request | of the ideal | MB |"
    yield "|---|---|---|---|---|"
    for name in [*THREADED, MULTI]:
        if options.only in name:
            few, many = measured(name, FEW, 0.0, options), measured(name, MANY, LATENCY_MS, options)
            yield f"| {name} | {_cpu(few)} | {_cpu(many)} | {_share(many)} | {many.mb if many else 0:.0f} |"


def settings(options: argparse.Namespace) -> Iterator[str]:
    """Yield the table of the curl transport under settings of the interpreter and of the machine."""
    yield f"At {MANY} × {LATENCY_MS:g} ms:\n"
    yield "| switch interval | any core: CPU µs a request | of the ideal | one core: CPU µs a request | of the ideal |"
    yield "|---|---|---|---|---|"
    for interval_s in (0.0005, 0.005, 0.02, 0.05, 0.2):
        given = ("--switch-interval", str(interval_s))
        free = measured("transport curl", MANY, LATENCY_MS, options, *given)
        tied = measured("transport curl", MANY, LATENCY_MS, options, *given, "--one-core")
        yield f"| {interval_s * 1000:g} ms | {_cpu(free)} | {_share(free)} | {_cpu(tied)} | {_share(tied)} |"


def _cpu(figures: Figures | None) -> str:
    return f"{figures.cpu_us:.0f}" if figures else "stuck"


def _share(figures: Figures | None) -> str:
    return f"{figures.rate / (MANY / LATENCY_MS * 1000):.1%}" if figures else "stuck"


def main() -> None:
    parser = argparse.ArgumentParser(description="What HTTP stacks cost.")
    parser.add_argument("--only", default="", help="stacks whose name holds this text")
    parser.add_argument("--settings", action="store_true", help="vary the switch interval and the cores instead")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement, after its warm-up")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--in-flight", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval(), help=argparse.SUPPRESS)
    parser.add_argument("--one-core", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.setswitchinterval(options.switch_interval)
        if options.one_core:
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        print(json.dumps(asdict(measure(options.one, options.url, options.in_flight, options.seconds))), flush=True)
        os._exit(0)
    for line in settings(options) if options.settings else stacks(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
