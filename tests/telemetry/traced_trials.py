"""Trials that are traced without a run around them: made-up requests and attempts, real spans."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from telemetry.trace_settings import TraceSettings
from telemetry.tracing import Tracer
from trials.errors import ProviderError
from trials.rows import FIELDS
from trials.words import Cell, Completion, Deployment, Sampling, Trial

KEY = "sk-very-secret-key-0123456789"
CELL = Cell(model="m", prompt_type="optimal", tool_success_rate=0.8, difficulty="easy", task_type="simple_task")
TRIAL = Trial(number=3, trial_key="k3", cell=CELL, task_id="t3", epoch=1)
REPLY = Completion(text="the reply", reported_model="m-0324", prompt_tokens=11, completion_tokens=7, attempts=2)
ROW = dict.fromkeys(FIELDS) | {
    "status": "scored",
    "outcome": "full",
    "coverage": 1.0,
    "turns": 2,
    "answer": "forty-two",
}
DEPLOYMENT = Deployment(
    name="m-key0",
    provider="azure",
    model="m",
    api_model="m-api",
    family="f",
    api="openai",
    base_url="http://127.0.0.1:8080/v1",
    key_names=(),
    workers=1,
    qps=1.0,
    timeout_s=1.0,
    max_attempts=1,
    scope="s",
)
JUDGE = replace(DEPLOYMENT, name="judge", provider="deepseek", api_model="judge-api", omit=("temperature",))


@dataclass(frozen=True)
class Parts:
    """How long the parts of an exchange took."""

    reused: bool = False
    lookup_ms: float | None = 1.0
    connect_ms: float | None = 2.0
    tls_ms: float | None = None
    first_byte_ms: float | None = 30.0
    body_ms: float | None = 4.0


@dataclass(frozen=True)
class Sent:
    """Where an attempt went, with what nobody should see."""

    url: str = f"http://somebody:{KEY}@127.0.0.1:8080/v1/chat/completions?api-key={KEY}"


@dataclass
class Tried:
    """An attempt that ended just now."""

    number: int = 1
    kind: str = "ok"
    status: int | None = 200
    sent_at: float = 0.0
    latency_ms: float = 37.0
    rate_wait_ms: float = 5.0
    error: ProviderError | None = None
    request: Sent = field(default_factory=Sent)

    def __post_init__(self) -> None:
        self.sent_at = time.monotonic() - self.latency_ms / 1000

    def phases(self) -> Parts:
        return Parts()


def failed(kind: str = "server_error", status: int | None = 500) -> ProviderError:
    return ProviderError(f"HTTP {status}: <html>it quotes what the model said, and {KEY}</html>", kind=kind)


def tracer(
    url: str, *, ratio: float = 1.0, content: bool = False, warnings: list[str] | None = None, **more: Any
) -> Tracer:
    """A tracer of shard 2 of run r1 that sends to a receiver at once."""
    settings = TraceSettings(
        **{"endpoint": f"{url}/v1/traces", "ratio": ratio, "content": content, "delay_s": 0.05, **more}
    )
    return Tracer(
        settings,
        run_id="r1",
        shard=2,
        parent=f"00-{'ab' * 16}-{'cd' * 8}-01",
        asked=(DEPLOYMENT, Sampling(extra={"seed": 5})),
        judge=(JUDGE, Sampling()),
        secrets=[KEY],
        warn=(warnings if warnings is not None else []).append,
    )


def run_trial(one: Tracer, trial: Trial = TRIAL, *, ask: Any = None, row: Any = ROW, **more: Any) -> None:
    """One trial of two turns, the second of which the judge's; the first one fails once."""
    seen: list[Tried] = []
    attempt = one.watching(seen.append)

    def answer(trial: Trial, messages: Any, tools: Any, *, judge: bool = False, told: Any = None) -> Completion:
        if not judge:
            attempt(Tried(kind="server_error", status=500, error=failed()))
        attempt(Tried(number=1 if judge else 2))
        return REPLY

    traced = one.trial(trial, **more)
    if traced is None:
        return
    with traced:
        asking = traced.asking(ask or answer)
        asking(trial, [{"role": "user", "content": f"a question with {KEY} in it"}], None)
        asking(trial, [{"role": "user", "content": "is it right?"}], None, judge=True)
        traced.ended(row)
