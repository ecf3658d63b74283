"""Where the microseconds of a single-turn trial go: each stage by itself, in one thread, warm. One command, 20 s.

    python benchmarks/hot_path.py

The stages are the runner's own code on a canned reply; the exchange is libcurl's with the local server at no latency.
What a shard of hundreds of threads takes beyond their sum is the price of the threads (benchmarks/throughput.py).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_server import completion, serving

from batch_test_runner import Asked, TrialRunner, Work
from providers.catalog import deployments_of, load_catalog
from providers.client import ChatClient
from providers.keys import Key, Secret
from providers.rate_control import OK
from providers.rates import limiter_for
from providers.transport import HttpReply, open_transport
from providers.wire import build_request, read_reply
from stores.journal import JournalWriter
from telemetry.attempts import Meter
from trials.plan import TrialPlan
from trials.spec import RunSpec, WorkflowSpec
from trials.words import Completion, Deployment, Sampling
from workflows.workload import WorkflowWorkload

TRIALS = 2000
TASK_TYPES = ("simple_task", "basic_task", "data_pipeline", "api_integration", "multi_stage_pipeline")
KEY = Key(name="LOCAL", secret=Secret("local"))


class Canned:
    """A transport that answers at once."""

    def __init__(self) -> None:
        self._reply = HttpReply(status=200, headers={"content-type": "application/json"}, body=completion())

    def send(self, request: Any, timeout_s: float) -> HttpReply:
        """Return the reply."""
        return self._reply

    def close(self) -> None:
        """Do nothing."""


def cpu_us(work: Callable[[int], object], rounds: int = 5) -> float:
    """Return the CPU microseconds of one call, the best of several rounds over all trials."""
    for number in range(TRIALS):
        work(number)
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for number in range(TRIALS):
            work(number)
        best = min(best, time.process_time() - began)
    return best / TRIALS * 1e6


def deployment_at(url: str) -> Deployment:
    """Return a deployment of any model at this address."""
    entry = load_catalog().adhoc("local", base_url=f"{url}/v1", key_name="LOCAL")
    return deployments_of(entry, n_prompt_types=1, rate_mode="adaptive", environment={})[0]


def stages(url: str, folder: Path) -> dict[str, float]:
    """Measure every stage of a trial, and the whole of it."""
    workload, deployment, stop, sampling = WorkflowWorkload(), deployment_at(url), threading.Event(), Sampling()
    spec = RunSpec(
        models=("local",),
        asks=WorkflowSpec(
            prompt_types=("baseline",),
            difficulties=("easy",),
            task_types=TASK_TYPES,
            tool_success_rates=(0.8,),
            num_instances=TRIALS // len(TASK_TYPES),
        ),
        sampling={"local": sampling},
        definition=workload.definition,
    )
    plan = TrialPlan(spec, workload)
    trials = [plan.trial(number) for number in range(TRIALS)]
    limiter, meter, canned = limiter_for(1e7, "adaptive"), Meter(None), Canned()
    client = ChatClient(deployment=deployment, key=KEY, limiter=limiter, transport=canned, observe=meter.seen)
    journal = JournalWriter(folder / "journal.jsonl")
    said: Completion = read_reply(canned.send(None, 1.0), deployment, KEY)
    messages: list[Any] = []
    workload.run(trials[0], lambda told, tools=None: messages.extend(told) or said)
    request = build_request(deployment, KEY, messages[:2], None, sampling)
    events: list[Any] = []
    asked = Asked.of(deployment)
    TrialRunner(workload, lambda *_, **__: said, events.append, asked).run(Work(trial=trials[0]))

    def ask(trial: Any, told: Any, tools: Any, **more: Any) -> Completion:
        return client.ask(told, tools, sampling=sampling, stop=stop)

    runner, unrecorded = (TrialRunner(workload, ask, record, asked) for record in (journal.append, lambda event: None))
    transport = open_transport("curl")
    found = {
        "plan: a trial from its number": cpu_us(plan.trial),
        "workload: prompt, parsing, scoring": cpu_us(lambda n: workload.run(trials[n], lambda *_: said)),
        "client: request built": cpu_us(lambda n: build_request(deployment, KEY, messages[:2], None, sampling)),
        "client: rate limit asked and told": cpu_us(lambda n: limiter.settle(limiter.acquire(stop), OK)),
        "client: reply read": cpu_us(lambda n: read_reply(canned.send(None, 1.0), deployment, KEY)),
        "client: all of it": cpu_us(lambda n: client.ask(messages[:2], sampling=sampling, stop=stop)),
        "journal: three lines": cpu_us(lambda n: [journal.append(event) for event in events]),
        "runner: row and the rest": cpu_us(lambda n: unrecorded.run(Work(trial=trials[n]))),
        "the whole trial, but for the exchange": cpu_us(lambda n: runner.run(Work(trial=plan.trial(n)))),
        "exchange: libcurl, one thread": cpu_us(lambda n: transport.send(request, 10.0), rounds=2),
    }
    found["runner: row and the rest"] -= found["workload: prompt, parsing, scoring"] + found["client: all of it"]
    transport.close()
    journal.close()
    return found


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, serving(0.0) as server:
        table = stages(server.address, Path(folder))
    print("| stage | CPU µs |\n|---|---|")
    for name, cost_us in table.items():
        print(f"| {name} | {cost_us:.1f} |")


if __name__ == "__main__":
    main()
