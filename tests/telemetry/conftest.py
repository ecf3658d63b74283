"""A run to look at, a clock and a terminal to look with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pseudo_terminal import FakeClock, Terminal, screen

from trials.progress import RunView, ShardProgress, ShardView


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.stream.close()


@pytest.fixture
def replay() -> Callable[[str], list[str]]:
    return screen


@pytest.fixture
def make_shard() -> Callable[..., ShardView]:
    def make(number: int = 1, **changes: Any) -> ShardView:
        around = {name: changes.pop(name) for name in list(changes) if name in ShardView.__slots__}
        progress = {
            "state": "running",
            "full": 30,
            "partial": 10,
            "failed": 6,
            "provider_errors": 1,
            "workers": 5,
            "in_flight": 4,
            "requests_per_s": 10.4,
            "qps_limit": 10.0,
            "requests": 200,
            "rejected_429": 3,
            "latency_p50_ms": 101.0,
            "latency_p99_ms": 1240.0,
        }
        shard = {
            "number": number,
            "model": "qwen2.5-72b-instruct",
            "deployment": f"qwen-key{number - 1}",
            "total": 100,
            "earlier": 0,
            "rss_bytes": 88_000_000,
            "eta_s": 12.0,
            "progress": ShardProgress(**(progress | changes)),
        }
        return ShardView(**(shard | around))

    return make


@pytest.fixture
def make_view(make_shard: Callable[..., ShardView]) -> Callable[..., RunView]:
    def make(scored: int = 138, **changes: Any) -> RunView:
        fields = {
            "run_id": "optimal-8f3a2c",
            "state": "running",
            "simulated": True,
            "planned": 300,
            "provider_errors": 2,
            "harness_errors": 1,
            "pending": 297 - scored,
            "elapsed_s": 31.0,
            "eta_s": 35.0,
            "shards": tuple(make_shard(number) for number in (1, 2, 3)),
        }
        return RunView(scored=scored, **(fields | changes))

    return make
