"""Runs a rate controller in virtual time against a simulated provider: a discrete-event simulation, no threads.

Each process is a controller with a line of workers before it; a worker asks, is answered after a lognormal latency, or
refused after a short one, and asks again. Requests take 25 to 45 ms to arrive, so that they do not come evenly.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rate_servers import Curve, Server

from providers.rate_control import FAILED, OK, REJECTED, Permit, RateControl
from providers.rate_hints import Hints
from providers.retry import Backoff as ClientBackoff

WIRE_S, JITTER_S = 0.025, 0.02
ON_THE_WAY_S = 2 * WIRE_S + JITTER_S / 2
SIGMA = 0.3


class Controller(Protocol):
    """What is compared."""

    limit_qps: Any

    def try_acquire(self, now: float, tokens: float = 0.0) -> Permit | float: ...

    def settle(self, now: float, permit: Permit, outcome: str, hints: Hints, tokens: float | None = None) -> None: ...

    def retry_in_s(self, refusals: int, hints: Hints) -> float: ...


class Ours(RateControl):
    """The control that the runner uses, with the backoff that its client adds."""

    def __init__(self, start: float, workers: int, seed: int) -> None:
        super().__init__(start, 0.0, max_in_flight=workers)
        self._backoff = ClientBackoff(draw=random.Random(seed).random)

    def retry_in_s(self, refusals: int, hints: Hints) -> float:
        return self._backoff.delay_s(refusals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A provider, and how it is asked. ``steady_from`` is when the start counts as over, ``workers`` are of a process.

    After each of ``steps`` 10 s do not count. ``prompts`` draws a request's prompt tokens.
    """

    name: str
    server: Callable[[], Server]
    latency: Curve = lambda now: 2.0
    workers: int = 600
    processes: int = 1
    seconds: float = 300.0
    steps: tuple[float, ...] = ()
    steady_from: float = 10.0
    start: float = 10.0
    failures: float = 0.0
    prompts: Callable[[random.Random], float] = lambda draw: 0.0
    max_tokens: int = 0


@dataclass(slots=True)
class Seen:
    """What arrived at the provider, in order: when, whether it was admitted, how much it used of the limit."""

    times: list[float] = field(default_factory=list)
    admitted: list[bool] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    limits: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares in the steady state, and of the whole run; ``ramp_s`` is how long after the start 90 % were reached."""

    used: float
    refused: float
    used_whole: float
    refused_whole: float
    ramp_s: float
    requests: int


class _Worker:
    __slots__ = ("process", "prompt", "refusals")

    def __init__(self, process: int) -> None:
        self.process = process
        self.refusals = 0
        self.prompt = -1.0


class Simulation:
    """One run; ``control(process)`` makes each process's controller."""

    def __init__(self, scenario: Scenario, control: Callable[[int], Controller], seed: int = 1) -> None:
        self.scenario = scenario
        self.seen = Seen()
        self._draw = random.Random(seed)
        self._server = scenario.server()
        self._controls = [control(number) for number in range(scenario.processes)]
        self._lines: list[deque[_Worker]] = [
            deque(_Worker(number) for _ in range(scenario.workers)) for number in range(scenario.processes)
        ]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._turns = [0] * scenario.processes
        self.now = 0.0

    def run(self) -> Seen:
        """Run to the end and return what the provider saw."""
        for number in range(self.scenario.processes):
            self._at(0.0, self._turn, number, 0)
        self._at(0.0, self._sample)
        while self._events:
            self.now, _, act, args = heapq.heappop(self._events)
            if self.now > self.scenario.seconds:
                break
            act(*args)
        return self.seen

    def _at(self, time: float, act: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, act, args))

    def _sample(self) -> None:
        self.seen.limits.append((self.now, sum(float(control.limit_qps) for control in self._controls)))
        self._at(self.now + 0.5, self._sample)

    def _turn(self, number: int, turn: int) -> None:
        if turn == self._turns[number]:
            self._serve(number)

    def _serve(self, number: int) -> None:
        """Let the first of a process's line go, as long as it may."""
        self._turns[number] += 1
        line, control = self._lines[number], self._controls[number]
        while line:
            worker = line[0]
            if worker.prompt < 0:
                worker.prompt = self.scenario.prompts(self._draw)
            answer = control.try_acquire(self.now, worker.prompt + self.scenario.max_tokens)
            if not isinstance(answer, Permit):
                self._at(self.now + max(answer, 1e-6), self._turn, number, self._turns[number])
                return
            line.popleft()
            self._at(self.now + WIRE_S + self._draw.random() * JITTER_S, self._arrive, worker, answer)

    def _arrive(self, worker: _Worker, permit: Permit) -> None:
        server, draw, seen = self._server, self._draw, self.seen
        refusal = server.refuse(self.now, permit.tokens)
        seen.times.append(self.now)
        seen.admitted.append(refusal is None)
        seen.costs.append(server.cost(permit.tokens))
        if refusal is not None:
            self._at(self.now + WIRE_S, self._answer, worker, permit, REJECTED, refusal)
        elif draw.random() < self.scenario.failures:
            server.done(self.now)
            self._at(self.now + WIRE_S, self._answer, worker, permit, FAILED, Hints())
        else:
            latency_s = self.scenario.latency(self.now) * math.exp(SIGMA * draw.gauss(0, 1) - SIGMA**2 / 2)
            self._at(self.now + latency_s, self._finish, worker, permit)

    def _finish(self, worker: _Worker, permit: Permit) -> None:
        self._server.done(self.now)
        self._at(self.now + WIRE_S, self._answer, worker, permit, OK, self._server.headers(self.now))

    def _answer(self, worker: _Worker, permit: Permit, outcome: str, hints: Hints) -> None:
        control = self._controls[worker.process]
        used = worker.prompt + self._draw.randint(1, self.scenario.max_tokens) if self.scenario.max_tokens else None
        control.settle(self.now, permit, outcome, hints, used if outcome == OK else None)
        if outcome == REJECTED:
            worker.refusals += 1
            self._at(self.now + control.retry_in_s(worker.refusals, hints), self._queue, worker)
        else:
            worker.refusals, worker.prompt = 0, -1.0
            self._queue(worker)
        self._serve(worker.process)

    def _queue(self, worker: _Worker) -> None:
        self._lines[worker.process].append(worker)
        if len(self._lines[worker.process]) == 1:
            self._serve(worker.process)


def score(scenario: Scenario, seen: Seen) -> Score:
    """Return the shares of what could be used, and of what was refused."""
    begins = (scenario.steady_from, *(step + 10.0 for step in scenario.steps))
    ends = (*scenario.steps, scenario.seconds)
    used, refused = _shares(scenario, seen, list(zip(begins, ends, strict=True)))
    used_whole, refused_whole = _shares(scenario, seen, [(0.0, scenario.seconds)])
    return Score(
        used=used,
        refused=refused,
        used_whole=used_whole,
        refused_whole=refused_whole,
        ramp_s=_ramp_s(scenario, seen),
        requests=len(seen.times),
    )


def _shares(scenario: Scenario, seen: Seen, spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    usable = sum(_usable(scenario, begin, end) for begin, end in spans)
    inside = [any(begin <= time < end for begin, end in spans) for time in seen.times]
    admitted = sum(cost for cost, ok, here in zip(seen.costs, seen.admitted, inside, strict=True) if ok and here)
    refused = sum(here and not ok for ok, here in zip(seen.admitted, inside, strict=True))
    return admitted / usable if usable else 0.0, refused / max(1, sum(inside))


def _usable(scenario: Scenario, begin: float, end: float, step: float = 0.1) -> float:
    """Return what could be used: the limit, or what the workers can do in their latency."""
    server, workers = scenario.server(), scenario.workers * scenario.processes
    times = [begin + step * number for number in range(round((end - begin) / step))]
    mean = server.cost(_mean_tokens(scenario))
    able = [workers / (scenario.latency(time) + ON_THE_WAY_S) * mean for time in times]
    return sum(min(server.usable(time), most) * step for time, most in zip(times, able, strict=True))


def _mean_tokens(scenario: Scenario) -> float:
    draw = random.Random(0)
    return sum(scenario.prompts(draw) for _ in range(1000)) / 1000 + scenario.max_tokens


def _ramp_s(scenario: Scenario, seen: Seen) -> float:
    """Return the end of the first 2 s in which 90 % of what can be used was."""
    admitted: dict[int, float] = defaultdict(float)
    for time, ok, cost in zip(seen.times, seen.admitted, seen.costs, strict=True):
        admitted[int(time)] += cost if ok else 0.0
    for begin in range(int(scenario.seconds) - 2):
        if admitted[begin] + admitted[begin + 1] >= 0.9 * _usable(scenario, begin, begin + 2) > 0:
            return begin + 2.0
    return math.inf
