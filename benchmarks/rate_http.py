"""The same controller with real threads over HTTP against ``python -m simulator``, beside virtual time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from rate_servers import Bucket, waits
from rate_simulation import ON_THE_WAY_S, Ours, Scenario, Seen, Simulation, score

from providers.catalog import deployments_of, load_catalog, simulated
from providers.client import AttemptSeen, ChatClient
from providers.keys import Key, Secret
from providers.rates import limiter_for
from providers.transport import open_transport
from trials.errors import RunnerError
from trials.words import Deployment, Sampling

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 40.0
IDENTITY = '{"key":"k%d","task":"t","epoch":0,"seed":1,"model":"gpt-4o-mini"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One scenario, and the simulator's options that make it."""

    scenario: Scenario
    options: tuple[str, ...]


def _cell(name: str, qps: float, latency_s: float, workers: int, retry_after: str) -> Cell:
    claim = {"none": None, "60": 60.0}[retry_after]
    scenario = Scenario(
        name=name,
        server=lambda: Bucket(qps) if claim is None else Bucket(qps, waits(lambda wait_s: claim)),
        latency=lambda now: latency_s,
        workers=workers,
        seconds=SECONDS,
    )
    options = ("--limit-qps", f"{qps:g}", "--latency", f"{latency_s:g}", "--retry-after", retry_after)
    return Cell(scenario=scenario, options=options)


CELLS = (
    _cell("20 rps, 1 s latency", 20.0, 1.0, 100, "none"),
    _cell("bogus Retry-After 60 s", 20.0, 1.0, 100, "60"),
    _cell("80 rps, 0.5 s latency", 80.0, 0.5, 100, "none"),
    _cell("20 workers, 100 rps", 100.0, 1.0, 20, "none"),
)


def compare(only: str) -> None:
    """Print share used / share answered 429 of both forms."""
    print("| cell | virtual time | HTTP, threads |\n|---|---|---|")
    for cell in CELLS:
        if only in cell.scenario.name:
            scenario = cell.scenario
            virtual = Simulation(scenario, lambda process, one=scenario: Ours(one.start, one.workers, 1)).run()
            there, here = score(scenario, virtual), score(_nearby(scenario), over_http(cell))
            print(
                f"| {scenario.name} | {there.used:.3f} / {there.refused:.4f} | {here.used:.3f} / {here.refused:.4f} |",
                flush=True,
            )


def _nearby(scenario: Scenario) -> Scenario:
    """Return the scenario without the time on the way that virtual time adds: here both ends are one machine."""
    return replace(scenario, latency=lambda now: scenario.latency(now) - ON_THE_WAY_S)


def over_http(cell: Cell) -> Seen:
    """Run one cell with a thread for each worker; return what was sent and how it was answered."""
    seen, stop, lock = Seen(), threading.Event(), threading.Lock()
    began = time.monotonic()

    def observe(attempt: AttemptSeen) -> None:
        with lock:
            seen.times.append(attempt.sent_at - began)
            seen.admitted.append(attempt.status != 429)
            seen.costs.append(1.0)

    with _simulator(cell.options) as url:
        client = ChatClient(
            deployment=_deployment(url),
            key=Key(name="K", secret=Secret("sk-simulated")),
            limiter=limiter_for(cell.scenario.start, "adaptive"),
            transport=open_transport(),
            observe=observe,
        )
        began, numbers = time.monotonic(), count()
        threads = [
            threading.Thread(target=_work, args=(client, stop, numbers), daemon=True)
            for _ in range(cell.scenario.workers)
        ]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS + 5)  # what was sent by then has been answered
        stop.set()
        for thread in threads:
            thread.join(10)
    return seen


def _work(client: ChatClient, stop: threading.Event, numbers: Iterator[int]) -> None:
    try:
        while not stop.is_set():
            # The simulator draws a latency from who asks, so each request is another trial's.
            header = IDENTITY % next(numbers)
            client.ask([{"role": "user", "content": "hello"}], sampling=Sampling(), stop=stop, trial_header=header)
    except RunnerError:
        return


def _deployment(url: str) -> Deployment:
    entry = load_catalog().adhoc("gpt-4o-mini", base_url=f"{url}/v1")
    one = deployments_of(entry, n_prompt_types=1, rate_mode="adaptive", environment={})[0]
    return replace(simulated(one, url), timeout_s=60.0)


@contextmanager
def _simulator(options: tuple[str, ...]) -> Iterator[str]:
    command = [sys.executable, "-m", "simulator", "--until-stdin-closes", *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().rpartition(" ")[2].strip()
        process.terminate()
