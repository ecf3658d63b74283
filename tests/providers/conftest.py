"""A provider on a real socket that answers by script, a clock that is turned by hand, and a deployment to ask."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_provider import ScriptedProvider

from providers.transport import Transport, open_transport
from trials.words import Deployment


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
