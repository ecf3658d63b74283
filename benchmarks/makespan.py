"""How long a run takes when its deployments differ: the even split, pulled work, and the ideal.

    python benchmarks/makespan.py            real supervisor and dispatcher in virtual time, a few seconds
    python benchmarks/makespan.py --http     the whole programs against the simulator, a few minutes

The ideal is work ÷ total capacity, from the first request on. Deployments here serve at a known rate (their limiters
are taken to have found it; benchmarks/rate_control.py measures how well they do), each trial makes several requests
one after another, each with a latency.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virtual import Clock, Inbox, Silence, plan_of

from processes.dispatch import Dispatcher
from processes.supervisor import Start, Supervisor
from trials.digest import uniform
from trials.progress import ShardProgress

ROOT = Path(__file__).resolve().parent.parent
LATENCY_S = 0.2
WORKERS = 100
Rate = Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Deployments by the rate each serves at over time (0: dead), and the work in requests."""

    name: str
    rates: Sequence[Rate]
    requests: int = 30_000
    latency_s: Sequence[float] = ()
    dies_at_s: Mapping[int, float] = field(default_factory=dict)

    def ideal_s(self) -> float:
        """Return the time in which the total capacity serves all requests."""
        done, now, step = 0.0, 0.0, 0.05
        while done < self.requests:
            alive = [rate(now) for place, rate in enumerate(self.rates) if now < self.dies_at_s.get(place, 1e9)]
            done += sum(alive) * step
            now += step
        return now


def steady(rate: float) -> Rate:
    """Return a rate that does not change."""
    return lambda now: rate


def step(before: float, after: float, at_s: float) -> Rate:
    """Return a rate that steps."""
    return lambda now: before if now < at_s else after


SCENARIOS = (
    Scenario(name="50/30/20 requests/s", rates=(steady(50), steady(30), steady(20))),
    Scenario(name="one deployment 10× slower", rates=(steady(50), steady(50), steady(5))),
    Scenario(name="one crawls at 0.2/s", rates=(steady(50), steady(50), steady(0.2)), requests=6_000),
    Scenario(name="one dies at one third", rates=(steady(40), steady(30), steady(30)), dies_at_s={0: 100.0}),
    Scenario(
        name="unequal limits that step at half time",
        rates=(step(50, 10, 150), step(30, 50, 150), step(20, 40, 150)),
    ),
)


class VirtualShard:
    """Behaves as a shard's process does, in virtual time: asks for work, serves it at its rate, gives it back."""

    def __init__(self, number: int, clock: Clock, inbox: Inbox, rate: Rate, latency_s: float) -> None:
        self.number = number
        self.pid = number
        self.returncode: int | None = None
        self._clock, self._inbox, self._rate, self._latency_s = clock, inbox, rate, latency_s
        self._waiting: deque[int] = deque()
        self._running: dict[int, int] = {}
        self._released: set[int] = set()
        self._free_at = 0.0
        self._finishing = False
        self._tell("ready")
        self._beat()

    def send(self, kind: str, **fields: Any) -> None:
        """Take a message of the supervisor."""
        if kind == "assign":
            self._waiting.extend(fields["trials"])
            self._start()
        elif kind == "recall":
            given = [self._waiting.pop() for _ in range(min(fields["count"], len(self._waiting)))]
            if fields["running"] and not given:
                running = sorted(self._running)
                self._released.update(running[: -(-len(running) // 2)])
            else:
                self._tell("returned", numbers=given)
        elif kind == "finish":
            self._finishing = True
            self._leave_if_done()

    def kill(self) -> None:
        """Die; nothing more is heard of it but its end."""
        if self.returncode is None:
            self.returncode = -9
            self._inbox.put((self, None))

    def usage(self) -> tuple[int, float]:
        """Return nothing: there is no process."""
        return 0, 0.0

    def _tell(self, kind: str, **fields: Any) -> None:
        if self.returncode is None:
            self._inbox.put((self, {"type": kind, **fields}))

    def _beat(self) -> None:
        if self.returncode is not None:
            return
        limit = self._rate(self._clock.now)
        self._tell("progress", progress=ShardProgress(state="running", qps_limit=limit).to_json())
        self._want()
        self._clock.at(self._clock.now + 0.5, self._beat)

    def _threads(self) -> int:
        return min(WORKERS, max(2, int(2 * self._rate(self._clock.now) * self._latency_s) + 1))

    def _want(self) -> None:
        if not self._finishing and len(self._waiting) <= self._threads() // 2:
            self._tell("want", count=self._threads() - len(self._waiting))

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._threads():
            number = self._waiting.popleft()
            self._running[number] = requests_of(number)
            self._ask(number)
            self._want()

    def _ask(self, number: int) -> None:
        """One request: it waits for its turn, then for its answer."""
        start = max(self._clock.now, self._free_at)
        self._free_at = start + 1 / max(self._rate(start), 1e-3)
        self._clock.at(start + self._latency_s, lambda: self._answered(number))

    def _answered(self, number: int) -> None:
        if self.returncode is not None or number not in self._running:
            return
        self._running[number] -= 1
        if self._running[number] == 0:
            del self._running[number]
            self._released.discard(number)
            self._tell("ended", endings={"full": [number]})
        elif number in self._released:
            left[number] = self._running.pop(number)
            self._released.discard(number)
            self._tell("returned", numbers=[number])
        else:
            self._ask(number)
            return
        self._start()
        self._want()
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._finishing and not self._running and not self._waiting and self.returncode is None:
            self.returncode = 0
            self._inbox.put((self, None))


left: dict[int, int] = {}
"""Requests that a trial still needs after it moved."""


def requests_of(number: int) -> int:
    """Return how many requests a trial makes: 2 to 6, 4 on average."""
    return left.pop(number, 0) or 2 + int(uniform("turns", number) * 5)


class House(Silence):
    """The supervisor's hooks in virtual time."""

    def __init__(self, scenario: Scenario, clock: Clock, inbox: Inbox) -> None:
        self._scenario, self._clock, self._inbox = scenario, clock, inbox
        self.dead: set[int] = set()

    def launch(self, shard: int, inbox: Any) -> Any:
        place = shard - 1
        latency = self._scenario.latency_s[place] if self._scenario.latency_s else LATENCY_S
        made = VirtualShard(shard, self._clock, self._inbox, self._scenario.rates[place], latency)
        dies_at = self._scenario.dies_at_s.get(place)
        if dies_at is not None:
            # A key that is revoked: the shard says so and leaves.
            def die() -> None:
                made._tell("fatal", message="key refused", everyone=False)
                made.kill()

            self._clock.at(max(dies_at, self._clock.now), die)
        return made


def virtual_makespan_s(scenario: Scenario, balance: str) -> tuple[float, float]:
    """Return how long a scenario takes, in virtual seconds, and which share of the trials was done."""
    left.clear()
    clock = Clock()
    inbox = Inbox(clock)
    numbers = range(1, len(scenario.rates) + 1)
    plan = plan_of(scenario.requests // 4)
    supervisor = Supervisor(
        Dispatcher(plan, dict.fromkeys(numbers, "m"), balance=balance),
        {number: Start() for number in numbers},
        House(scenario, clock, inbox),
        wait_for_ready=True,
        begun={},
        stall_timeout_s=1e9,
        drain_timeout_s=1e9,
        clock=lambda: clock.now,
        inbox=inbox,
    )
    supervisor.run()
    return clock.now, sum(shard.ended for shard in supervisor.shards) / len(plan)


def run_virtual() -> None:
    """Print the table."""
    print("| scenario | ideal s | even s | pull s | pull ÷ ideal |\n|---|---|---|---|---|")
    for scenario in SCENARIOS:
        ideal = scenario.ideal_s()
        (even, even_done), (pull, pull_done) = (virtual_makespan_s(scenario, how) for how in ("even", "pull"))
        undone = "" if even_done == 1 else f", {1 - even_done:.0%} undone"
        assert pull_done == 1, "pull must leave nothing undone"
        print(f"| {scenario.name} | {ideal:.0f} | {even:.0f}{undone} | {pull:.0f} | {pull / ideal:.3f} |")


def run_http(instances: int) -> None:
    """Run the whole programs against a simulator whose three deployments have hidden limits of 50, 30 and 20."""
    model = "DeepSeek-V3-0324"
    limits = [f"--limit={model}=50", f"--limit={model}-2=30", f"--limit={model}-3=20"]
    command = [sys.executable, "-m", "simulator", "--port", "0", "--until-stdin-closes", "--latency", "0.1", *limits]
    print("| balance | trials | requests | seconds from the first request | ÷ ideal |\n|---|---|---|---|---|")
    for balance in ("even", "pull"):
        simulator = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert simulator.stdin is not None
        assert simulator.stdout is not None
        try:
            url = simulator.stdout.readline().split()[-1]
            with tempfile.TemporaryDirectory() as folder:
                seconds, requests = _one_http_run(url, model, balance, instances, Path(folder))
        finally:
            simulator.stdin.close()
            simulator.wait()
        print(f"| {balance} | {instances * 5} | {requests} | {seconds:.1f} | {seconds / (requests / 100):.3f} |")


def _one_http_run(url: str, model: str, balance: str, instances: int, folder: Path) -> tuple[float, int]:
    import orjson
    import requests as http

    program = [sys.executable, str(ROOT / "ultra_parallel_runner.py"), "--simulator-url", url, "--model", model]
    how = ["--num-instances", str(instances), "--qps", "20", "--balance", balance, "--max-workers", "40"]
    where = ["--results-dir", str(folder / "r"), "--logs-dir", str(folder / "l")]
    process = subprocess.Popen([*program, *how, *where], stdout=subprocess.DEVNULL)
    began = 0.0
    while process.poll() is None:
        time.sleep(0.05)
        if not began and orjson.loads(http.get(f"{url}/stats", timeout=5).content)["requests"]:
            began = time.monotonic()
    return time.monotonic() - began, orjson.loads(http.get(f"{url}/stats", timeout=5).content)["served"]


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Even split, pulled work and the ideal.")
    parser.add_argument("--http", action="store_true", help="run the whole programs against the simulator")
    parser.add_argument("--instances", type=int, default=300, help="trials per cell of the HTTP form")
    options = parser.parse_args()
    if options.http:
        run_http(options.instances)
    else:
        run_virtual()


if __name__ == "__main__":
    main()
