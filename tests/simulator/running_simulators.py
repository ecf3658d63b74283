"""Real simulator processes, and a plain client for them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

ANNOUNCEMENT = "simulator listening on http://127.0.0.1:"
START_TIMEOUT_S = 20.0


@dataclass
class Reply:
    """An HTTP answer: ``value`` is its JSON, where it is JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running simulator, and what a test says to it."""

    process: subprocess.Popen[str]
    port: int

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = 10
    ) -> Reply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, content, headers or {})
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def ask(
        self,
        trial: str = "trial-1",
        *,
        turn: int = 0,
        key: str = "sim-key",
        model: str = "gpt-4o-mini",
        path: str = "/v1/chat/completions",
        timeout: float = 10,
    ) -> Reply:
        """Ask for one completion as the runner does, ``turn`` replies into a conversation without a known task."""
        identity = {"key": trial, "task": "", "epoch": 0, "seed": 42, "model": model}
        headers = {"Authorization": f"Bearer {key}", "x-simulated-trial": json.dumps(identity)}
        messages = [{"role": "user", "content": "Hello."}]
        messages += [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Go on."}] * turn
        return self.send("POST", path, {"model": model, "messages": messages}, headers, timeout)

    def stats(self, with_trials: bool = False) -> dict[str, Any]:
        """Return the server's counts."""
        value: dict[str, Any] = self.send("GET", "/stats?trials=1" if with_trials else "/stats").value
        return value

    def close_stdin(self) -> None:
        """Let the simulator's standard input reach its end of file."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None


@contextmanager
def running_servers() -> Iterator[Callable[..., Server]]:
    """Start simulators with these options, without latency unless told otherwise; all are gone at the end."""
    started: list[Server] = []

    def start(*options: str) -> Server:
        command = [sys.executable, "-m", "simulator", "--port", "0", "--latency", "0", *options]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        server = Server(process, 0)
        started.append(server)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(ANNOUNCEMENT):
            _, errors = process.communicate(timeout=START_TIMEOUT_S)
            pytest.fail(f"the simulator did not start: {errors}")
        server.port = int(line.removeprefix(ANNOUNCEMENT))
        return server

    try:
        yield start
    finally:
        for server in started:
            server.process.kill()
            server.process.communicate()


def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
