"""A real simulator process per test, and a plain client for it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
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


@pytest.fixture
def launch() -> Iterator[Callable[..., Server]]:
    """Start simulators with these options; without latency unless told otherwise."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Server:
        command = [sys.executable, "-m", "simulator", "--port", "0", "--latency", "0", *options]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(ANNOUNCEMENT):
            _, errors = process.communicate(timeout=START_TIMEOUT_S)
            pytest.fail(f"the simulator did not start: {errors}")
        return Server(process, int(line.removeprefix(ANNOUNCEMENT)))

    yield start
    for process in started:
        process.kill()
        process.communicate()
