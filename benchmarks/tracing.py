"""What traces cost: CPU time of a trial of three requests through the worker's own code, with traces off, a trial not
sampled, and one that is; the sending in the background included.

    python benchmarks/tracing.py

Nothing is asked: the transport answers at once, so that what remains is the harness' own work.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from batch_test_runner import Asked, TrialRunner, Work
from providers.client import ChatClient
from providers.keys import Key, Secret
from providers.rate_control import Permit
from providers.transport import HttpReply, Phases
from telemetry.attempts import Meter
from telemetry.trace_settings import TraceSettings
from telemetry.tracing import Tracer
from trials.words import Cell, Completion, Deployment, Marked, Sampling, Trial

TRIALS = 3000
TURNS = 3
ROUNDS = 9
BODY = (
    b'{"model":"m-1","choices":[{"message":{"role":"assistant","content":"It is 42."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":400,"completion_tokens":30}}'
)
DEPLOYMENT = Deployment(
    name="m-key0",
    provider="azure",
    model="m",
    api_model="m",
    family="f",
    api="openai",
    base_url="http://127.0.0.1:9/v1",
    key_names=(),
    workers=1,
    qps=1e6,
    timeout_s=1.0,
    max_attempts=1,
    scope="s",
)
CELL = Cell(model="m", prompt_type="optimal", tool_success_rate=0.8, difficulty="easy", task_type="simple_task")


class AtOnce:
    """A transport that has every reply already."""

    def send(self, request: Any, timeout_s: float) -> HttpReply:
        return HttpReply(status=200, headers={}, body=BODY)

    def phases(self) -> Phases:
        return Phases(reused=True, first_byte_ms=1.0, body_ms=0.1)

    def close(self) -> None:
        pass


class Unlimited:
    """A limiter that lets everybody through."""

    def acquire(self, stop: Any, **_: Any) -> Permit:
        return Permit(0, 0.0, 0.0)

    def settle(self, *_: Any, **__: Any) -> None:
        pass


class ThreeTurns:
    """A workload that asks and does nothing else."""

    definition = "d"

    def run(self, trial: Trial, chat: Callable[..., Completion], opening: object = None) -> Marked:
        for _ in range(TURNS):
            chat([{"role": "user", "content": "What is it?"}])
        return Marked(outcome="full", coverage=1.0, turns=TURNS)


def runner(tracer: Tracer | None) -> TrialRunner:
    """Wire a worker as a shard does."""
    meter = Meter(None)
    client = ChatClient(
        deployment=DEPLOYMENT,
        key=Key(name="K", secret=Secret("k")),
        limiter=Unlimited(),  # type: ignore[arg-type]
        transport=AtOnce(),
        observe=tracer.watching(meter.seen) if tracer else meter.seen,
    )
    stop = threading.Event()

    def ask(trial: Trial, messages: Any, tools: Any, *, judge: bool = False, told: Any = None) -> Completion:
        return client.ask(messages, tools, sampling=Sampling(), stop=stop)

    trace = tracer.trial if tracer else None
    return TrialRunner(ThreeTurns(), ask, lambda event: None, Asked.of(DEPLOYMENT), trace)  # type: ignore[arg-type]


def measure(tracer: Tracer | None) -> float:
    """Return microseconds of this process' CPU time per trial."""
    run = runner(tracer).run
    trials = [Trial(number=n, trial_key=f"{n:032x}", cell=CELL, task_id="t", epoch=0) for n in range(TRIALS)]
    began = time.process_time()
    for trial in trials:
        run(Work(trial=trial))
    if tracer is not None:
        tracer.close(60)
    return (time.process_time() - began) / TRIALS * 1e6


def receive(port: Queue[int]) -> None:
    """Take what is sent and throw it away, in a process of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    port.put(server.server_port)
    server.serve_forever()


def main() -> None:
    """Print a line for each of the three."""
    port: Queue[int] = Queue()
    process = Process(target=receive, args=(port,), daemon=True)
    process.start()
    endpoint = f"http://127.0.0.1:{port.get()}/v1/traces"

    def tracer(ratio: float) -> Tracer:
        return Tracer(
            replace(TraceSettings(endpoint=endpoint, queue_size=10**6), ratio=ratio),
            run_id="r",
            shard=1,
            parent="",
            asked=(DEPLOYMENT, Sampling()),
            judge=None,
            secrets=[],
            warn=print,
        )

    found: dict[str, list[float]] = {"off": [], "endpoint, not sampled": [], "endpoint, sampled": []}
    for _ in range(ROUNDS):  # in turn, so that a busy moment of the machine is nobody's alone
        for name, one in zip(found, (None, tracer(0.0), tracer(1.0)), strict=True):
            found[name].append(measure(one))
    off = min(found["off"])
    for name, costs in found.items():
        print(f"{name:24}{min(costs):7.1f} µs per trial of {TURNS} requests, {min(costs) - off:+.1f}")
    process.terminate()


if __name__ == "__main__":
    main()
