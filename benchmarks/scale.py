"""Where a run over many nodes spends its time, messages and memory, and what breaks first: real code in virtual time.

    python benchmarks/scale.py            one core, a few minutes
    python benchmarks/scale.py --quick    half a minute

Real: supervisor, dispatcher, the packing of messages, the ledger; in the second part rate controls, leases and their
keeper. Virtual: time, the shards' processes, the providers and their limits. Sampled:

- Trials. A shard has a few minutes of work, not days. How long the tail of a run is in seconds does not depend on what
  came before it, so makespan ÷ ideal of a longer run is nearer to 1; rates, and messages per second, are those of any.
- Messages. A shard tells of its ended trials as often as a real one does, its progress twice a second. What the driver
  takes to unpack and heed them is measured in CPU seconds; what its threads take to read from pipes is not in it.
- Scopes. Each has a keeper of its own and shares nothing else, so some of each kind stand for thousands.
"""

from __future__ import annotations

import argparse
import queue
import random
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rate_leasing import Holder, Wire
from rate_servers import Bucket
from rate_simulation import Controller, Scenario, Score, Simulation, score
from virtual import Clock, Silence, plan_of

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from commands.ledger import Standing  # noqa: E402
from processes.dispatch import Dispatcher  # noqa: E402
from processes.messages import pack, unpack  # noqa: E402
from processes.supervisor import Start, Supervisor  # noqa: E402
from trials.progress import ShardProgress  # noqa: E402

TRIAL_S, REQUESTS = 2.0, 4
"""How long a trial takes, and how many requests it makes."""

MEAN_RATE = 5.0
"""Trials per second of a shard, on average: 20 requests per second of one key."""

BYTES_A_TRIAL = 2_000
"""What a trial's lines in the journal come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """How a shard fares: trials per second, and when it dies or becomes ten times slower."""

    rate: float
    dies_at_s: float = float("inf")
    slows_at_s: float = float("inf")

    def rate_at(self, now: float) -> float:
        """Return its rate at a time."""
        return 0.0 if now >= self.dies_at_s else self.rate / (10 if now >= self.slows_at_s else 1)


def draw_shards(count: int, ideal_s: float, seed: int = 1) -> list[Shard]:
    """Return shards of lognormal rates, a hundred to one between the fast and the slow; 1 % die, 1 % slow down."""
    draw = random.Random(seed)
    rates = [draw.lognormvariate(0.0, 1.0) for _ in range(count)]
    scale = MEAN_RATE * count / sum(rates)
    shards = []
    for rate in rates:
        fate, at_s = draw.random() if count > 1 else 1.0, draw.uniform(0.2, 0.9) * ideal_s
        dies, slows = fate < 0.01, 0.01 <= fate < 0.02
        shards.append(
            Shard(rate=rate * scale, **({"dies_at_s": at_s} if dies else {"slows_at_s": at_s} if slows else {}))
        )
    return shards


def work_in(shards: Sequence[Shard], seconds: float) -> float:
    """Return how many trials all shards can end in a time."""
    return sum(
        one.rate * (min(seconds, one.dies_at_s, one.slows_at_s) + max(0.0, seconds - one.slows_at_s) / 10)
        for one in shards
    )


class Driver(queue.SimpleQueue):  # type: ignore[type-arg]
    """The supervisor's inbox. What passes outside of ``get`` is the driver's own; in it virtual time passes."""

    def __init__(self, clock: Clock, until_s: float = float("inf")) -> None:
        super().__init__()
        self._clock = clock
        self._until_s = until_s
        self.messages = 0
        self.outside_s = 0.0
        self.supervisor: Supervisor | None = None

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next message, or raise Empty after ``timeout`` of virtual time."""
        if self.empty() and timeout is not None:
            began = time.process_time()
            self._clock.advance(self._clock.now + timeout, lambda: not self.empty())
            self.outside_s += time.process_time() - began
            if self._clock.now >= self._until_s and self.supervisor is not None:
                for shard in self.supervisor.shards:
                    shard.over = True
        return self.get_nowait()

    def get_nowait(self) -> Any:
        """Return the next message, or raise Empty."""
        child, line = super().get_nowait()
        self.messages += 1
        return child, line and unpack(line)


class VirtualShard:
    """Behaves as a shard's process does, some trials at a time. What it is told it does once the driver has let go."""

    def __init__(self, number: int, shard: Shard, clock: Clock, inbox: Driver, offset_s: float) -> None:
        self.pid = number
        self.returncode: int | None = None
        self._shard, self._clock, self._inbox = shard, clock, inbox
        self._held: deque[int] = deque()
        self._done = 0.0
        self._at = clock.now
        self._threads = max(2, int(shard.rate * TRIAL_S) + 1)
        self._step_s = min(0.25, max(0.05, 1 / shard.rate))
        self._finishing = False
        self._beat_at = self._wanted_at = 0.0
        self._tell("ready")
        clock.at(clock.now + offset_s, self._step)

    def send(self, kind: str, **fields: Any) -> None:
        """Take a message of the supervisor."""
        line = pack(kind, **fields)
        if kind != "beat":
            self._clock.at(self._clock.now + 0.002, lambda: self._take(unpack(line)))

    def kill(self) -> None:
        """Die; nothing more is heard of it but its end."""
        if self.returncode is None:
            self.returncode = -9
            self._inbox.put((self, None))

    def is_held_up(self) -> bool:
        """Whether others keep it from going on: nobody does."""
        return False

    def usage(self) -> tuple[int, float]:
        """Return nothing: there is no process."""
        return 0, 0.0

    def _tell(self, kind: str, **fields: Any) -> None:
        if self.returncode is None:
            self._inbox.put((self, pack(kind, **fields)))

    def _take(self, message: dict[str, Any] | None) -> None:
        assert message is not None
        if message["type"] == "assign":
            self._held.extend(message["trials"])
            self._wanted_at = 0.0
        elif message["type"] == "recall":
            begun = min(len(self._held), self._threads)
            count = min(message["count"], len(self._held) - begun)
            if not count and message["running"]:
                count = -(-begun // 2)
            self._tell("returned", numbers=[self._held.pop() for _ in range(count)])
        elif message["type"] == "finish":
            self._finishing = True

    def _step(self) -> None:
        """End what has been done since the last time, ask for more, say how it goes."""
        if self.returncode is not None:
            return
        now = self._clock.now
        if now >= self._shard.dies_at_s:
            self._tell("fatal", message="key refused", everyone=False)
            self.kill()
            return
        rate = self._shard.rate_at(now)
        self._done = min(self._done + rate * (now - self._at), float(len(self._held)))
        self._at = now
        ended = [self._held.popleft() for _ in range(int(self._done))]
        self._done -= len(ended)
        if ended:
            self._tell("ended", endings={"full": ended})
        if now - self._beat_at >= 0.5:
            self._beat_at = now
            self._tell("progress", progress=ShardProgress(state="running", qps_limit=rate * REQUESTS).to_json())
        if self._finishing and not self._held:
            self.returncode = 0
            self._inbox.put((self, None))
            return
        wanted = 3 * self._threads - len(self._held)
        if not self._finishing and wanted >= self._threads and now - self._wanted_at > 0.5:
            self._wanted_at = now
            self._tell("want", count=wanted)
        self._clock.at(now + self._step_s, self._step)


class Hooks(Silence):
    """The supervisor's hooks in virtual time."""

    def __init__(self, shards: Sequence[Shard], clock: Clock, inbox: Driver) -> None:
        self._shards, self._clock, self._inbox = shards, clock, inbox
        self._draw = random.Random(7)

    def launch(self, shard: int, inbox: Any) -> Any:
        """See ``Hooks`` of the supervisor."""
        return VirtualShard(shard, self._shards[shard - 1], self._clock, self._inbox, self._draw.uniform(0.0, 0.25))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a run. ``ended`` trials in ``seconds``, for which the driver took ``driver_s`` of CPU."""

    shards: int
    trials: int
    ended: int
    seconds: float
    ideal_s: float
    messages: int
    driver_s: float
    tail_driver_s: float

    def row(self) -> str:
        """Return its line of the table."""
        per_second = self.ended / self.seconds
        whole = f"{self.seconds / self.ideal_s:.3f}" if self.ended == self.trials else "–"
        busy, said = self.driver_s / self.seconds, self.messages / self.seconds
        return (
            f"| {self.shards:,} | {self.trials:,} | {whole} | {per_second:,.0f} | {said:,.0f} | "
            f"{1000 * self.driver_s / max(self.ended, 1):.4f} | {busy:.1%} | {self.tail_driver_s:.2f} | "
            f"{per_second * BYTES_A_TRIAL / 1e6:,.1f} |"
        )


HEAD = (
    "| shards | trials | makespan ÷ ideal | trials/s | messages/s to the driver | driver's CPU s per 1,000 trials | "
    "driver busy | CPU s of the last 5 s | journal MB/s |\n|---|---|---|---|---|---|---|---|---|"
)


def play_run(count: int, ideal_s: float, *, until_s: float = float("inf")) -> Run:
    """Run so many shards through work of ``ideal_s``, or only the first ``until_s`` of it."""
    shards = draw_shards(count, ideal_s)
    trials = int(work_in(shards, ideal_s))
    clock = Clock()
    inbox = Driver(clock, until_s)
    numbers = range(1, count + 1)
    supervisor = Supervisor(
        Dispatcher(plan_of(trials), dict.fromkeys(numbers, "m")),
        {number: Start() for number in numbers},
        Hooks(shards, clock, inbox),
        wait_for_ready=True,
        begun={},
        stall_timeout_s=1e9,
        drain_timeout_s=1e9,
        clock=lambda: clock.now,
        inbox=inbox,
    )
    inbox.supervisor = supervisor
    marks: list[float] = []

    def mark() -> None:
        marks.append(time.process_time() - began - inbox.outside_s)

    clock.at(max(0.0, ideal_s - 2.0), mark)
    clock.at(ideal_s + 3.0, mark)
    began = time.process_time()
    supervisor.run()
    driver_s = time.process_time() - began - inbox.outside_s
    tail_s = (marks[1] if len(marks) > 1 else driver_s) - marks[0] if marks else 0.0
    return Run(
        shards=count,
        trials=trials,
        ended=sum(shard.ended for shard in supervisor.shards),
        seconds=clock.now,
        ideal_s=ideal_s,
        messages=inbox.messages,
        driver_s=driver_s,
        tail_driver_s=tail_s,
    )


def show_memory(trials: int, shards: int) -> None:
    """Print what the driver keeps per trial, whatever has become of it, and per shard."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    plan = plan_of(trials)
    planned = tracemalloc.get_traced_memory()[0]
    standing = Standing(trials)
    done = standing.done()
    stood = tracemalloc.get_traced_memory()[0]
    dispatcher = Dispatcher(plan, dict.fromkeys(range(1, shards + 1), "m"), done=done)
    dispatched = tracemalloc.get_traced_memory()[0]
    taken = dispatcher.take(1, 10_000)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    million = trials / 1e6
    print("\n| memory of the driver | |\n|---|---|")
    print(f"| plan, MB a million trials | {(planned - before) / 1e6 / million:.3f} |")
    print(f"| ledger, MB a million trials | {(stood - planned) / 1e6 / million:.3f} |")
    print(f"| dispatcher, kB a shard | {(dispatched - stood) / 1e3 / shards:.2f} |")
    print(
        f"| dispatcher, bytes a trial that is handed out and has not ended | {(held - dispatched) / len(taken):.0f} |"
    )


LEASES = (
    # scopes, holders of each, requests per second of each scope
    (8, 1, 20.0),
    (2, 3, 200.0),
    (1, 10, 1_000.0),
    (1, 20, 1_000.0),
    (1, 100, 2_000.0),
)


def show_leases(seconds: float, *, quick: bool) -> float:
    """Print what leases cost; return the keeper's CPU seconds per message."""
    print(
        "\n| nodes on one scope | limit/s | used | refused | lease messages per 100 requests | keeper, µs a message |"
    )
    print("|---|---|---|---|---|---|")
    mean = 0.0
    for scopes, holders, limit in LEASES[: 3 if quick else None]:
        wire = _TimedWire()
        requests, used, refused = 0, 0.0, 0.0
        for seed in range(scopes):
            result = _play_scope(wire, f"s{seed}", holders, limit, seconds, seed + 1)
            requests += result.requests
            used += result.used / scopes
            refused += result.refused / scopes
        mean = wire.took_s / wire.messages
        print(
            f"| {holders} | {limit:g} | {used:.3f} | {refused:.4f} | {100 * wire.messages / requests:.2f} | "
            f"{1e6 * mean:.0f} |",
            flush=True,
        )
    return mean


def _play_scope(wire: Wire, scope: str, holders: int, limit: float, seconds: float, seed: int) -> Score:
    """Let so many nodes, each with enough workers, find and keep the limit of one scope."""
    scenario = Scenario(
        name="",
        server=lambda: Bucket(limit),
        workers=max(4, int(5 * limit / holders)),
        processes=holders,
        seconds=seconds,
        steady_from=seconds / 3,
        start=limit / 5,
    )

    def made(node: int) -> Controller:
        return Holder(wire, f"n{node}", limit / 5, scope=scope)

    return score(scenario, Simulation(scenario, made, seed).run())


class _TimedWire(Wire):
    """A way to the keeper that knows how long the keeper took."""

    def __init__(self) -> None:
        super().__init__()
        self.took_s = 0.0

    def ask(self, scope: str, report: dict[str, Any], now: float) -> dict[str, Any] | None:
        began = time.process_time()
        try:
            return super().ask(scope, report, now)
        finally:
            self.took_s += time.process_time() - began


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="What a run over many nodes costs its driver, and what breaks first.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, half a minute")
    options = parser.parse_args()
    sizes = ((10, 60.0, None), (100, 60.0, None), (1_000, 60.0, None)) if options.quick else (
        (10, 120.0, None), (100, 120.0, None), (1_000, 120.0, None), (10_000, 60.0, 6.0), (100_000, 60.0, 1.0)
    )  # fmt: skip
    print(HEAD)
    for count, ideal_s, until_s in sizes:
        print(play_run(count, ideal_s, until_s=until_s or float("inf")).row(), flush=True)
    show_memory(200_000 if options.quick else 10_000_000, 1_000)
    show_leases(30.0 if options.quick else 90.0, quick=options.quick)


if __name__ == "__main__":
    main()
