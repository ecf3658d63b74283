"""A provider on a real socket that answers by script, a clock that is turned by hand, and a deployment to ask."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from providers.transport import Transport, open_transport
from trials.words import Deployment

Answer = Callable[[socket.socket], bool]
"""Writes a reply; returns whether the connection stays open."""


@dataclass
class Asked:
    """One request as the scripted provider received it."""

    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedProvider:
    """Answers requests with the scripted replies in turn; the last one repeats."""

    listener: socket.socket
    asked: list[Asked] = field(default_factory=list)
    script: list[Answer] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    connections: int = 0
    hung_up: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    left_early: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def say(
        self, status: int = 200, body: Any = None, *, headers: dict[str, str] | None = None, close: bool = False
    ) -> None:
        """Script a well-formed reply; ``body`` is JSON unless it is bytes. ``close`` hangs up without a word."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"Content-Length": str(len(payload)), "Content-Type": "application/json", **(headers or {})}
        head = f"HTTP/1.1 {status} Said\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.say_raw(head.encode() + b"\r\n" + payload, close=close)

    def say_raw(self, wire: bytes, *, close: bool = True) -> None:
        """Script bytes as they are."""

        def answer(connection: socket.socket) -> bool:
            connection.sendall(wire)
            return not close

        self.script.append(answer)

    def drip(self, start: bytes, drop: bytes) -> None:
        """Script a reply that never ends: ``drop`` every 10 ms, until the other side leaves."""

        def answer(connection: socket.socket) -> bool:
            connection.sendall(start)
            try:
                while not self.closing.wait(0.01):
                    connection.sendall(drop)
            except OSError:
                self.left_early.set()
            return False

        self.script.append(answer)

    def hang(self) -> None:
        """Script no reply at all."""

        def answer(connection: socket.socket) -> bool:
            self.closing.wait(60)
            return False

        self.script.append(answer)

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve_one, args=(connection, self.connections), daemon=True).start()

    def _serve_one(self, connection: socket.socket, number: int) -> None:
        self._converse(connection, number)
        self.hung_up.release()

    def _converse(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream:
            while (line := stream.readline().decode()).strip():
                headers = {}
                while header := stream.readline().decode().strip():
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = stream.read(int(headers.get("content-length", 0)))
                with self.lock:
                    self.asked.append(Asked(line.split()[1], headers, body, number))
                    answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if not answer(connection):
                    return


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        scripted = ScriptedProvider(listener)
        thread = threading.Thread(target=scripted.serve, daemon=True)
        thread.start()
        yield scripted
        scripted.closing.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture(params=["curl", "requests"])
def transport_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of each transport in turn; the environment's proxies are out of its way."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return str(request.param)


@pytest.fixture
def transport(transport_name: str) -> Iterator[Transport]:
    opened = open_transport(transport_name)
    yield opened
    opened.close()


class HandTurnedClock:
    """Waiting moves it on at once; ``on_wait`` may do something at a wait, such as setting the stop event."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.time

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.on_wait()
        if not stop.is_set():
            self.time += seconds
        return stop.is_set()


@pytest.fixture
def clock() -> HandTurnedClock:
    return HandTurnedClock()


DEPLOYMENT = Deployment(
    name="qwen-key0",
    provider="ideallab",
    model="qwen2.5-72b-instruct",
    api_model="qwen2.5-72b-instruct",
    family="ideallab_open",
    api="openai",
    base_url="http://127.0.0.1:9/v1",
    key_names=("IDEALLAB_API_KEY_0", "IDEALLAB_API_KEYS#0"),
    workers=5,
    qps=10.0,
    timeout_s=20.0,
    max_attempts=3,
    scope="ideallab/qwen-key0",
)


@pytest.fixture
def deployment_with() -> Callable[..., Deployment]:
    """Returns the usual deployment with some fields changed."""
    return lambda **changes: replace(DEPLOYMENT, **changes)


@pytest.fixture
def write_catalog(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def run_python() -> Callable[[str], str]:
    """Returns what a fresh interpreter prints for some code."""

    def run(code: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True
        ).stdout.strip()

    return run
