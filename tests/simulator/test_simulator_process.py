"""The process: how it starts, ends, and tells of a mistake on its command line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly_even_with_a_request_hanging(launch: Callable[..., Any], number: int) -> None:
    server = launch("--fault", "hang=1")
    with pytest.raises(TimeoutError):
        server.ask(timeout=0.2)
    server.process.send_signal(number)
    assert server.process.wait(timeout=20) == 0
    assert server.process.communicate()[1] == ""


def test_end_of_stdin_ends_it_when_asked_to(launch: Callable[..., Any]) -> None:
    server = launch("--until-stdin-closes")
    assert server.ask().status == 200
    server.close_stdin()
    assert server.process.wait(timeout=20) == 0


def test_end_of_stdin_does_not_end_it_otherwise(launch: Callable[..., Any]) -> None:
    server = launch()
    server.close_stdin()
    assert server.ask().status == 200
    assert server.process.poll() is None


MISTAKES = [
    (["--fault", "flood=0.1"], "429-bare"),
    (["--fault", "hang"], "KIND=RATE"),
    (["--fault", "hang=0.7", "--fault", "cut=0.7"], "add up"),
    (["--fault-rate", "1.5"], "0<=x<=1"),
    (["--retry-after", "soon"], "right"),
    (["--limit-qps", "0"], "x>0"),
    (["--limit", "key=0"], "above 0"),
    (["--model-file", "/nowhere/models.toml"], "/nowhere/models.toml"),
    (["--wrong"], "--wrong"),
]


@pytest.mark.parametrize(("options", "told"), MISTAKES)
def test_mistake_is_told_in_one_line_with_exit_code_2(options: list[str], told: str) -> None:
    result = _start_wrongly(*options)
    assert result.returncode == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = _start_wrongly("--port", str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert "cannot listen" in result.stderr
    assert result.stderr.count("\n") == 1


def _start_wrongly(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
