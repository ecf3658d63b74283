"""A model server that costs next to nothing, to measure clients with: ``python benchmarks/local_server.py``.

Answers every POST after a fixed latency with one and the same chat completion (OpenAI API reference, "Create chat
completion"), over kept-alive HTTP/1.1 (RFC 9112), and counts: ``GET /stats`` tells what it was asked. It judges nothing
and simulates no provider; ``python -m simulator`` does.

One thread, one selector, no framework. All requests wait equally long, so those that wait form a queue in the order
they came, and a timer is a look at its head. The reply ends a trial of the tool-use benchmark in one turn.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

REPLY_BYTES = 616
TEXT = "<finish>The work order cannot be carried out any further.</finish>"

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_MOST_BYTES = 1 << 18


def completion(text: str = TEXT, size_bytes: int = REPLY_BYTES) -> bytes:
    """Return the body of a reply that says ``text``, made up to a size with the fingerprint nobody reads."""
    usage = {"prompt_tokens": 250, "completion_tokens": 16, "total_tokens": 266}
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    reply: dict[str, Any] = {
        "id": "chatcmpl-local",
        "object": "chat.completion",
        "created": 1750000000,
        "model": "local",
        "choices": [choice],
        "usage": usage,
        "system_fingerprint": "",
    }
    reply["system_fingerprint"] = "f" * max(0, size_bytes - len(json.dumps(reply)))
    return json.dumps(reply).encode()


def http_reply(body: bytes) -> bytes:
    """Return a whole reply with this JSON body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@dataclass(slots=True)
class Stats:
    """What a server was asked. Times are of the machine's monotonic clock, in seconds: ``first_at`` and ``asked_at``
    of the first and the latest request, ``last_at`` of the latest reply.
    """

    requests: int = 0
    replies: int = 0
    connections: int = 0
    most_in_flight: int = 0
    first_at: float = 0.0
    asked_at: float = 0.0
    last_at: float = 0.0


class Server:
    """Serves until its standard input closes, if that is watched, else for ever."""

    def __init__(self, *, port: int = 0, latency_s: float = 0.2, text: str = TEXT) -> None:
        self._latency_s = latency_s
        self._reply = http_reply(completion(text))
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[tuple[float, socket.socket]] = deque()
        self._partial: dict[socket.socket, bytes] = {}
        self._stats = Stats()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._open = True

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def stop_at_end_of(self, source: Any) -> None:
        """Stop when this pipe closes, so that no server outlives who started it."""
        self._selector.register(source, selectors.EVENT_READ, self._stop)

    def serve(self) -> None:
        """Answer."""
        while self._open:
            timeout_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            for key, _ in self._selector.select(timeout_s):
                key.data(key.fileobj)
            self._answer()

    def _stop(self, source: Any) -> None:
        self._open = bool(os.read(source.fileno(), 1))

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(connection, selectors.EVENT_READ, self._read)
                self._stats.connections += 1

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        if connection in self._partial:
            data = self._partial.pop(connection) + data
        while data:
            taken = self._take(connection, data)
            if not taken:
                self._partial[connection] = data
                return
            data = data[taken:]

    def _take(self, connection: socket.socket, data: bytes) -> int:
        """Take one request off the front; return its size in bytes, 0 if it is not whole yet."""
        head_bytes = data.find(_HEAD_END) + len(_HEAD_END)
        if head_bytes < len(_HEAD_END):
            return 0
        length = _LENGTH.search(data, 0, head_bytes)
        size_bytes = head_bytes + (int(length[1]) if length else 0)
        if len(data) < size_bytes:
            if len(data) == head_bytes and _EXPECTS.search(data):
                self._send(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
            return 0
        if data.startswith(b"GET /stats"):
            self._send(connection, http_reply(json.dumps(asdict(self._stats)).encode()))
        else:
            self._queue(connection)
        return size_bytes

    def _queue(self, connection: socket.socket) -> None:
        now, stats = time.monotonic(), self._stats
        stats.requests += 1
        stats.first_at = stats.first_at or now
        stats.asked_at = now
        self._waiting.append((now + self._latency_s, connection))
        stats.most_in_flight = max(stats.most_in_flight, len(self._waiting))

    def _answer(self) -> None:
        """Answer every request whose time has come."""
        waiting, now = self._waiting, time.monotonic()
        while waiting and waiting[0][0] <= now:
            self._send(waiting.popleft()[1], self._reply)
            self._stats.replies += 1
            self._stats.last_at = now

    def _send(self, connection: socket.socket, reply: bytes) -> None:
        try:
            whole = connection.send(reply) == len(reply)
        except OSError:
            whole = False
        if not whole:  # it has gone, or does not read what it asked for
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        if connection.fileno() >= 0:
            self._selector.unregister(connection)
            self._partial.pop(connection, None)
            connection.close()


class Running:
    """A server in a process of its own."""

    def __init__(self, port: int, pid: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.address}/v1"
        self.pid = pid

    def stats(self) -> Stats:
        """Return what it was asked so far."""
        with urlopen(f"{self.address}/stats", timeout=30) as reply:
            return Stats(**json.load(reply))


@contextmanager
def serving(latency_ms: float = 200.0, text: str = TEXT) -> Iterator[Running]:
    """Start a server in a process of its own; stop it at the end."""
    command = [sys.executable, str(Path(__file__).resolve()), "--latency-ms", str(latency_ms), "--text", text]
    command.append("--until-stdin-closes")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Running(int(process.stdout.readline()), process.pid)
        finally:
            process.stdin.close()


def ceiling(requests: int = 200_000, connections: int = 64) -> tuple[float, float]:
    """Return the requests per second that a bare client reached, and what one core of the server alone would serve."""
    import psutil

    ask = b"POST / HTTP/1.1\r\nHost: local\r\nAuthorization: Bearer none\r\nContent-Length: 1024\r\n\r\n" + b" " * 1024
    with serving(latency_ms=0.0) as server, selectors.DefaultSelector() as selector:
        process = psutil.Process(server.pid)
        host, port = server.address.removeprefix("http://").split(":")
        for _ in range(connections):
            connection = socket.create_connection((host, int(port)))
            selector.register(connection, selectors.EVENT_READ)
            connection.send(ask)
        began, used, done = time.monotonic(), sum(process.cpu_times()[:2]), 0
        while done < requests:
            for key, _ in selector.select():
                key.fileobj.recv(_MOST_BYTES)  # type: ignore[union-attr]
                key.fileobj.send(ask)  # type: ignore[union-attr]
                done += 1
        seconds, used = time.monotonic() - began, sum(process.cpu_times()[:2]) - used
    return done / seconds, done / used


def main() -> None:
    """Serve; the port is the first line on standard output."""
    parser = argparse.ArgumentParser(description="A chat completions server with a fixed latency and a fixed reply.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, which is printed")
    parser.add_argument("--latency-ms", type=float, default=200.0, help="from a request to its reply")
    parser.add_argument("--text", default=TEXT, help="what it says")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with who started it")
    parser.add_argument("--ceiling", action="store_true", help="measure what it can do, and end")
    options = parser.parse_args()
    if options.ceiling:
        reached, alone = ceiling()
        print(f"{reached:,.0f} requests/s with a bare client on another core; one core serves {alone:,.0f}/s")
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Server(port=options.port, latency_s=options.latency_ms / 1000, text=options.text)
    if options.until_stdin_closes:
        server.stop_at_end_of(sys.stdin.buffer)
    print(server.port, flush=True)
    with suppress(KeyboardInterrupt):
        server.serve()


if __name__ == "__main__":
    main()
