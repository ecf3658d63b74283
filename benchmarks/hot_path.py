"""Where the microseconds of a single-turn trial go: each stage by itself, in one thread, warm. One command, 20 s.

    python benchmarks/hot_path.py

Once for a question bank (the peers' prompts, as in throughput.py), once for the tool-use benchmark. The stages are the
runner's own code on a canned reply; the exchange is libcurl's with the local server at no latency. What a shard of
hundreds of threads takes beyond their sum is the price of the threads (benchmarks/throughput.py).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_server import completion, serving
from throughput import write_bank

from batch_test_runner import Asked, TrialRunner, Work
from processes.asking import Asking, Party
from providers.catalog import deployments_of, load_catalog
from providers.client import ChatClient
from providers.keys import Key, Secret
from providers.rate_control import OK
from providers.rates import limiter_for
from providers.transport import HttpReply, open_transport
from providers.wire import build_request, read_reply
from questions.bank import BankSource, prepare_bank
from questions.scorers import open_scorer
from questions.workload import QuestionWorkload
from stores.journal import JournalWriter
from telemetry.attempts import Meter
from trials.plan import TrialPlan
from trials.spec import QuestionSpec, RunSpec, WorkflowSpec
from trials.words import Completion, Deployment, Sampling, Workload
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


def workflow_plan() -> tuple[TrialPlan, Workload]:
    """Return trials of the tool-use benchmark."""
    workload = WorkflowWorkload()
    asks = WorkflowSpec(
        prompt_types=("baseline",),
        difficulties=("easy",),
        task_types=TASK_TYPES,
        tool_success_rates=(0.8,),
        num_instances=TRIALS // len(TASK_TYPES),
    )
    return TrialPlan(spec_of(asks, workload.definition), workload), workload


def question_plan(folder: Path) -> tuple[TrialPlan, Workload]:
    """Return trials over a bank of the prompts that throughput.py asks."""
    write_bank(folder / "bank.jsonl", TRIALS)
    bank = prepare_bank(BankSource(path=str(folder / "bank.jsonl")), folder, lambda text: None)
    asks = QuestionSpec(bank=bank.digest, name=bank.name, questions=len(bank), scorer="includes")
    spec = spec_of(asks, "")
    workload = QuestionWorkload(bank, spec, open_scorer(asks.scorer, {}))
    return TrialPlan(spec, workload), workload


def spec_of(asks: WorkflowSpec | QuestionSpec, definition: str) -> RunSpec:
    """Return a run of one model."""
    return RunSpec(models=("local",), asks=asks, sampling={"local": Sampling()}, definition=definition)


def stages(url: str, folder: Path, plan: TrialPlan, workload: Workload) -> dict[str, float]:
    """Measure every stage of a trial, and the whole of it."""
    deployment, stop, sampling = deployment_at(url), threading.Event(), Sampling()
    trials = [plan.trial(number) for number in range(TRIALS)]
    limiter, meter, canned = limiter_for(1e7, "adaptive"), Meter(None), Canned()
    client = ChatClient(deployment=deployment, key=KEY, limiter=limiter, transport=canned, observe=meter.seen)
    asking = Asking(Party(client, limiter, meter, plan.spec), None, None)
    journal = JournalWriter(folder / "journal.jsonl")
    said: Completion = read_reply(canned.send(None, 1.0), deployment, KEY)
    messages: list[Any] = []
    workload.run(trials[0], lambda those, tools=None, **more: messages.extend(those) or said)
    request = build_request(deployment, KEY, messages[:2], None, sampling)
    events: list[Any] = []
    asked = Asked.of(deployment)
    TrialRunner(workload, lambda *_, **__: said, events.append, asked).run(Work(trial=trials[0]))

    def ask(trial: Any, those: Any, tools: Any, **more: Any) -> Completion:
        return asking.ask(trial, those, tools, judge=False, told=None, stop=stop)

    def record(event: Any) -> None:
        journal.append(event, soon=event["kind"] != "begun")

    runner, unrecorded = (TrialRunner(workload, ask, to, asked) for to in (record, lambda event: None))
    transport = open_transport("curl")
    found = {
        "plan: a trial from its number": cpu_us(plan.trial),
        "workload: prompt, parsing, scoring": cpu_us(lambda n: workload.run(trials[n], lambda *_, **__: said)),
        "client: request built": cpu_us(lambda n: build_request(deployment, KEY, messages[:2], None, sampling)),
        "client: rate limit asked and told": cpu_us(lambda n: limiter.settle(limiter.acquire(stop), OK)),
        "client: reply read": cpu_us(lambda n: read_reply(canned.send(None, 1.0), deployment, KEY)),
        "client: all of it, and the counters": cpu_us(lambda n: ask(trials[n], messages[:2], None)),
        "journal: three lines": cpu_us(lambda n: [record(event) for event in events]),
        "runner: row and the rest": cpu_us(lambda n: unrecorded.run(Work(trial=trials[n]))),
        "the whole trial, but for the exchange": cpu_us(lambda n: runner.run(Work(trial=plan.trial(n)))),
        "exchange: libcurl, one thread": cpu_us(lambda n: transport.send(request, 10.0), rounds=2),
    }
    parts = ("workload: prompt, parsing, scoring", "client: all of it, and the counters")
    found["runner: row and the rest"] -= sum(found[part] for part in parts)
    transport.close()
    journal.close()
    return found


def main() -> None:
    """Print the table."""
    tables = []
    with serving(0.0) as server:
        for make in (question_plan, lambda folder: workflow_plan()):
            with tempfile.TemporaryDirectory() as folder:
                tables.append(stages(server.address, Path(folder), *make(Path(folder))))
    print("CPU µs\n\n| stage | question bank | tool-use benchmark |\n|---|---|---|")
    for name in tables[0]:
        print(f"| {name} | {tables[0][name]:.1f} | {tables[1][name]:.1f} |")


if __name__ == "__main__":
    main()
