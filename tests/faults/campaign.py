"""The fault campaign: which fault meets which run, drawn from a seed, and the report of what became of them.

    python -m pytest tests/faults -m campaign --cycles 500 --seed 1 --campaign-report FILE

A cycle's faults, moments and runs are functions of the seed and the cycle's number: ``--cycles 40 --only-cycle 37``
repeats one of them. Processes race as they like, so a cycle repeats in kind, not to the microsecond.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from statistics import median
from threading import Lock

import faults_disk
import faults_files
import faults_limits
import faults_network
import faults_power
import faults_signals
from fault_cycle import Cycle, Fault, Outcome, Reference, refer
from fault_world import ROOT, Scenario
from io_shim import build, compiler

FAMILIES = (faults_signals, faults_disk, faults_files, faults_limits, faults_power, faults_network)
FAULTS: tuple[Fault, ...] = tuple(fault for family in FAMILIES for fault in family.FAULTS)
KINDS = ("workflow", "workflow", "questions", "keyed-workflow", "keyed-questions")
QUESTIONS = 90
SLOW_EVERY, SLOW_AT = 25, 13
"""Faults that take longer than a stall timeout come once in so many cycles, in their middle: others run meanwhile."""

FAULTY = ("--fault", "500=0.05", "--fault", "cut=0.04", "--fault", "non-json=0.02", "--fault", "429=0.01")


def draw_fault(seed: int, number: int, faults: Sequence[Fault] = FAULTS) -> Fault:
    """Return the fault of a cycle, numbered from 1: every kind comes once before any comes again."""
    quick = [fault for fault in faults if not fault.slow]
    slow = [fault for fault in faults if fault.slow]
    if not quick:
        return _deal(f"{seed} slow", slow, number - 1)
    if slow and number % SLOW_EVERY == SLOW_AT:
        return _deal(f"{seed} slow", slow, number // SLOW_EVERY)
    slow_before = (number + SLOW_EVERY - SLOW_AT) // SLOW_EVERY if slow else 0
    return _deal(f"{seed} quick", quick, number - slow_before - 1)


def _deal(seed: str, faults: list[Fault], place: int) -> Fault:
    deal, place = divmod(place, len(faults))
    return Random(f"{seed} {deal}").sample(faults, len(faults))[place]


def draw_scenario(rng: Random) -> Scenario:
    """Return what the run of a cycle does."""
    simulator: tuple[str, ...] = ((), FAULTY, ("--limit-qps", "40"))[rng.choices((0, 1, 2), (70, 15, 15))[0]]
    extra: tuple[str, ...] = ()
    shards = rng.randint(1, 3)
    if rng.random() < 0.2:
        extra += ("--cache", "sqlite:cache.db")
    elif shards > 1 and rng.random() < 0.2:
        extra += ("--hedge",)
    return Scenario(
        kind=rng.choice(KINDS),
        form=rng.choice(("parquet", "json")),
        shards=shards,
        workers=rng.randint(2, 5),
        latency_s=round(rng.uniform(0.08, 0.15), 3),
        simulator=simulator,
        extra=extra,
        stall_s=8.0 if has_stall_option() else None,
        transport=rng.choice(("auto", "requests")),
    )


@cache
def has_stall_option() -> bool:
    """Whether the product can be told after how long a silent shard is stalled; if not, slow faults take 30 s more."""
    command = [sys.executable, str(ROOT / "ultra_parallel_runner.py"), "--help"]
    return "--stall-timeout" in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class Campaign:
    """All cycles of one call of pytest, with what they share; ``at_once`` of them run at a time."""

    def __init__(self, seed: int, folder: Path, at_once: int = 1) -> None:
        self.seed, self._folder = seed, folder
        self._pool = ThreadPoolExecutor(at_once)
        self._begun: dict[int, Future[Outcome]] = {}
        self._running: set[Cycle] = set()
        self._referring = Lock()
        self._began = time.monotonic()
        self.bank = folder / "bank.jsonl"
        sums = (
            f'{{"id": "q{n}", "question": "What is {n} + {n + 7}?", "answer": "{2 * n + 7}"}}' for n in range(QUESTIONS)
        )
        self.bank.write_text("\n".join(sums) + "\n")
        self.library = build(folder) if compiler() else None
        self._references: dict[str, Reference] = {}
        self.outcomes: list[Outcome] = []

    def begin(self, drawn: Iterable[tuple[int, Fault]]) -> None:
        """Run these cycles in this order."""
        for number, fault in drawn:
            if self.library is not None or not (fault.needs_shim or fault.needs_log):
                self._begun[number] = self._pool.submit(self._run, number, fault)

    def outcome(self, number: int) -> Outcome | None:
        """Wait for a cycle's end and return what became of it; None if it needs the shim and there is none."""
        return self._begun[number].result() if number in self._begun else None

    def close(self) -> None:
        """End what still runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for cycle in list(self._running):
            cycle.end()
        self._pool.shutdown()

    def report(self) -> str:
        """Return the table of what has ended so far."""
        return report(self.outcomes, self.seed, time.monotonic() - self._began)

    def _run(self, number: int, fault: Fault) -> Outcome:
        """Run one cycle; what a cycle with complaints has left stays for a look."""
        rng = Random(f"{self.seed} {number}")
        scenario = fault.adapt(draw_scenario(rng), rng)
        if fault.slow or fault.drains:  # an endpoint's own faults would blur what is measured or allowed here
            scenario = replace(scenario, simulator=())
        folder = self._folder / f"cycle-{number:03d}"
        reference = self._reference(scenario.kind)
        cycle = Cycle(number, fault, scenario, reference, rng=rng, folder=folder, bank=self.bank, library=self.library)
        self._running.add(cycle)
        outcome = cycle.run()
        self._running.discard(cycle)
        self.outcomes.append(outcome)
        if not outcome.complaints:
            cycle.close()
        return outcome

    def _reference(self, kind: str) -> Reference:
        with self._referring:
            if kind not in self._references:
                folder = self._folder / f"calm-{kind}"
                shutil.rmtree(folder, ignore_errors=True)  # of one that could not be had
                self._references[kind] = refer(kind, folder, self.bank)
            return self._references[kind]


def report(outcomes: Iterable[Outcome], seed: int, took_s: float) -> str:
    """Return a table in Markdown: fault, times injected, survived, repeats, detection and recovery seconds."""
    by_fault: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_fault[outcome.fault].append(outcome)
    lines = [
        "| fault | injected | survived | resumed | failed | most repeats | allowed | detected s | recovered s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for fault, found in sorted(by_fault.items()):
        sound = [one for one in found if not one.complaints]
        survived = sum(one.survived for one in sound)
        detected = [one.detection_s for one in found if one.detection_s is not None]
        recovered = [one.recovery_s for one in found if one.recovery_s is not None]
        cells = [
            fault.replace("|", "/"),
            len(found),
            survived,
            len(sound) - survived,
            len(found) - len(sound),
            max(one.repeats for one in found),
            max(one.allowed for one in found),
            f"{max(detected):.2f}" if detected else "–",
            f"{median(recovered):.1f}" if recovered else "–",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    every = [one for found in by_fault.values() for one in found]
    failed = [one for one in every if one.complaints]
    cycles_s = sum(one.seconds for one in every)
    lines.append("")
    lines.append(
        f"{len(every)} cycles, seed {seed}: {len(every) - len(failed)} passed, {len(failed)} failed, "
        f"{sum(one.repeats for one in every)} requests repeated; "
        f"{cycles_s / 60:.1f} minutes of cycles in {took_s / 60:.1f} minutes"
    )
    lines += [f"- cycle {one.number} ({one.fault}; {one.scenario}): {one.complaints[0][:400]}" for one in failed]
    return "\n".join(lines) + "\n"
