"""One cycle: a real run, one fault, then the same command to its end, and the audit of what it has left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import auditor
import psutil
from fault_proxy import FaultProxy, forward_to
from fault_world import SECRETS, House, Running, Scenario, Simulator, wait_for
from io_shim import A_NAME, Shim
from power_cut import Losses

EMPTY_WITHIN_S = 15.0
"""Children of a supervisor that has gone leave within this; of one that hangs, within the stall timeout and this."""
UNSYNCED_S = 0.3
"""Completions are synced every 50 ms; a power cut may cost what came in this time on a loaded machine."""

Strike = Callable[["Cycle"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A kind of fault. ``strike`` waits for its moment, does it, and returns once it is over or will end by itself.

    ``codes`` are the exit codes that the struck run may end with. ``tampers`` says that what was written is damaged
    afterwards, ``loses`` that everything asked so far may be gone, ``drains`` that no request is cut off, ``unwritten``
    that a worker may lose its last reply, which waits for a write that fails, and the one it asks for meanwhile.
    ``needs_shim`` and ``needs_log`` name what the run must be started with; ``adapt`` may change what it does. The
    ``options`` are given to the struck run alone. The requests of one that ``needs_proxy`` take a way that can fail; if
    it ``needs_name``, to where a name stands for.
    """

    family: str
    name: str
    strike: Strike
    codes: frozenset[int] = frozenset({0})
    slow: bool = False
    tampers: bool = False
    loses: bool = False
    needs_shim: bool = False
    needs_log: bool = False
    drains: bool = False
    unwritten: bool = False
    needs_proxy: bool = False
    needs_name: bool = False
    options: tuple[str, ...] = ()
    adapt: Callable[[Scenario, Random], Scenario] = lambda scenario, _: scenario

    @property
    def title(self) -> str:
        """Family and name."""
        return f"{self.family}: {self.name}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What a run of some kind ends with if nothing happens to it, and how many requests that takes."""

    scores: auditor.Expected
    requests: int


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a cycle, for the report."""

    number: int
    fault: str
    scenario: str
    codes: list[int] = field(default_factory=list)
    survived: bool = False
    repeats: int = 0
    allowed: int = 0
    detection_s: float | None = None
    recovery_s: float | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Cycle:
    """One cycle under way; what a fault's strike is handed."""

    def __init__(
        self,
        number: int,
        fault: Fault,
        scenario: Scenario,
        reference: Reference,
        *,
        rng: Random,
        folder: Path,
        bank: Path,
        library: Path | None,
    ) -> None:
        self.fault, self.scenario, self.rng = fault, scenario, rng
        self._reference, self._bank, self.folder = reference, bank, folder
        self.house = House(folder / "house")
        self.outcome = Outcome(number=number, fault=fault.title, scenario=_in_words(scenario))
        self.allowed = 0 if fault.drains else scenario.in_flight * (1 + fault.unwritten)
        self.struck_at = time.monotonic()
        self.lost: list[Losses] = []
        self.simulator = Simulator(scenario.simulator_options())
        self.proxy = FaultProxy(forward_to(self.simulator.url)) if fault.needs_proxy else None
        self.shim: Shim | None = None
        if fault.needs_shim:
            assert library is not None, "this fault needs the shim"
            self.shim = Shim(library, folder / "shim", self.house.roots, logs=fault.needs_log)
        self.running: Running

    def run(self) -> Outcome:
        """Do it all; complaints are in what is returned."""
        began = time.monotonic()
        try:
            self.start()
            self.fault.strike(self)
            self._settle()
            self._finish()
            self._audit()
        except AssertionError as problem:
            self.outcome.complaints.append(str(problem))
        finally:
            self.end()
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def end(self) -> None:
        """End every process of it; may be called from another thread, and then ends the cycle."""
        self.house.kill_everything()
        self.simulator.close()
        if self.proxy:
            self.proxy.close()

    def close(self) -> None:
        """Remove what a cycle without complaints has left."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, before: tuple[str, ...] = ()) -> Running:
        """Start the run as the fault wants it."""
        shim = self.shim.environment() if self.shim else {}
        self.running = self._start(shim, before, self.fault.options)
        return self.running

    def _start(self, env: Mapping[str, str], before: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> Running:
        arguments = (*self.scenario.arguments(self._bank), *options)
        if self.scenario.keyed:
            return self.house.start(arguments, {**env, "IDEALLAB_BASE_URL": f"{self.url}/v1"}, before)
        return self.house.start(("--simulator-url", self.url, *arguments), env, before)

    @property
    def url(self) -> str:
        """Where the endpoint is, as the run is told."""
        if self.proxy is None:
            return self.simulator.url
        return f"http://{A_NAME}:{self.proxy.port}" if self.fault.needs_name else self.proxy.url

    def await_moment(self, least: float = 0.0, most: float = 1.0, *, may_be_early: bool = True) -> None:
        """Wait until a random share of all requests has come; now and then for a moment of start or end instead."""
        kind = self.rng.random()
        if may_be_early and kind < 0.15:
            # Not while Python still starts: there is nothing to lose then, and no program yet to say a word of it.
            wait_for(lambda: self.house.logs.exists() or not self.running.alive(), "the run has begun")
            time.sleep(self.rng.uniform(0.0, 1.2))
        else:
            count = round(self._reference.requests * self.rng.uniform(max(least, 0.05), min(most, 0.9)))
            if may_be_early and kind > 0.9:
                count = self._reference.requests
            self.await_requests(count)
            if may_be_early and kind > 0.9:
                time.sleep(self.rng.uniform(0.0, 0.6))
        self.struck_at = time.monotonic()

    def await_requests(self, count: int) -> None:
        """Wait until so many requests have come, or the run has ended."""
        wait_for(lambda: self.simulator.now.requests >= count or not self.running.alive(), f"{count} requests came")

    def await_shard(self) -> tuple[int, psutil.Process] | None:
        """Return one of the shards there are, once there is one; None if the run ends first."""
        wait_for(lambda: self.running.shards() or not self.running.alive(), "a shard is there")
        shards = sorted(self.running.shards().items())
        return self.rng.choice(shards) if shards else None

    def kill_everything(self) -> None:
        """End all processes of the run at once, and wait until they have gone."""
        self.house.kill_everything()
        self.running.wait()
        self.house.wait_until_empty(EMPTY_WITHIN_S)

    def check(self, holds: bool, complaint: str) -> None:
        """Note a complaint unless something holds."""
        if not holds:
            self.outcome.complaints.append(complaint)

    def _settle(self) -> None:
        code = self.running.wait()
        self.outcome.codes.append(code)
        if self.shim:
            self.shim.heal()
        if self.proxy:
            self.proxy.heal()
        gone_within_s = EMPTY_WITHIN_S + (self.scenario.stall_s or 30.0)
        self.house.wait_until_empty(gone_within_s)
        self.outcome.survived = code == 0
        said = self.running.said
        self.check(code in self.fault.codes, f"exit code {code} instead of {sorted(self.fault.codes)}; said:\n{said}")
        self.outcome.complaints += auditor.audit_said(said)

    def _finish(self) -> None:
        """Run the same command to its end; where the endpoint fails at times, it may take another one."""
        began = time.monotonic()
        names = self.shim.environment() if self.shim and self.fault.needs_name else {}
        for _ in range(2):
            last = self._start(names)
            code = last.wait()
            self.outcome.codes.append(code)
            self.outcome.complaints += auditor.audit_said(last.said)
            if code == 0:
                break
            explained = code == 1 and " 0 provider_error + 0 harness_error" not in last.said and self._errs()
            self.check(explained, f"the same command ends with {code}, and no failure of the endpoint explains it")
        self.check(code == 0, f"the same command ends with {code} again; it said:\n{last.said}")
        if self.outcome.recovery_s is None and not self.outcome.survived:
            self.outcome.recovery_s = time.monotonic() - began
        self.house.wait_until_empty(EMPTY_WITHIN_S)

    def _errs(self) -> bool:
        return bool(self.scenario.simulator) or self.fault.family == "simulator"

    def _audit(self) -> None:
        self.simulator.look()
        complaints = self.outcome.complaints
        complaints += auditor.audit_rows(self.house.results, self._reference.scores)
        complaints += auditor.audit_summary(self.house.results)
        complaints += auditor.audit_journals(self.house.logs, self.house.results, whole=not self.fault.tampers)
        complaints += auditor.audit_secrets(self.house.path, SECRETS)
        rows = auditor.rows_of(auditor.store_in(self.house.results) / "trials")
        self.outcome.repeats = max(0, self.simulator.now.served - auditor.asked(rows))
        self.outcome.allowed = self._bound(max((row["requests"] for row in rows), default=1))
        self.check(
            self.outcome.repeats <= self.outcome.allowed,
            f"{self.outcome.repeats} requests repeated, no more than {self.outcome.allowed} could be in flight",
        )

    def _bound(self, longest: int) -> int:
        """Return how many requests may be served beyond those of the rows, the longest of which took ``longest``."""
        if self.fault.loses:
            return 10 * self._reference.requests
        # At the end of each start, all that is in flight may be tried a second time, from its first request on.
        starts = len(self.outcome.codes)
        hedged = self.scenario.in_flight * starts * longest if "--hedge" in self.scenario.extra else 0
        swallowed = self.proxy.swallowed if self.proxy else 0
        return self.allowed + swallowed + hedged


def _in_words(scenario: Scenario) -> str:
    extra = " ".join((*scenario.extra, *scenario.simulator))
    size = f"{scenario.shards}×{scenario.workers}"
    return f"{scenario.kind} {scenario.form} {size} {scenario.transport} {extra}".strip()


def refer(kind: str, folder: Path, bank: Path) -> Reference:
    """Run something of this kind undisturbed."""
    calm = Scenario(kind=kind, form="json", shards=1, workers=8, latency_s=0.01)
    nothing = Fault(family="none", name="nothing", strike=lambda _: None)
    cycle = Cycle(0, nothing, calm, Reference({}, 0), rng=Random(0), folder=folder, bank=bank, library=None)
    try:
        code = cycle.start().wait()
        assert code == 0, cycle.running.said
    finally:
        cycle.house.kill_everything()
        cycle.simulator.close()
    rows: list[dict[str, Any]] = auditor.rows_of(auditor.store_in(cycle.house.results) / "trials")
    assert rows
    assert {row["status"] for row in rows} == {"scored"}
    found = Reference(auditor.scores(rows), auditor.asked(rows))
    cycle.close()
    return found
