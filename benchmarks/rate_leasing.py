"""Holders of leases in virtual time: the control of each node, its way to the keeper, and what crosses it.

Used by benchmarks/scale.py and tests; ``python benchmarks/rate_leasing.py`` prints what sharing a limit costs.
"""

from __future__ import annotations

import argparse
from collections import deque
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from rate_scenarios import SCENARIOS
from rate_servers import Bucket, FixedWindow
from rate_simulation import Controller, Ours, Scenario, Seen, Simulation, score

from providers.rate_control import NO_HINTS, Permit, RateControl
from providers.rate_hints import Hints
from providers.rate_leased import Leased
from providers.rate_leases import Leases
from providers.retry import Backoff

WAY_S = 0.01
"""From a holder to the keeper and back."""


@dataclass(slots=True)
class Wire:
    """The way between holders and keepers, which counts what crosses it. ``lost`` are holders that are cut off."""

    leases: Leases = field(default_factory=Leases)
    messages: int = 0
    lost: set[str] = field(default_factory=set)

    def ask(self, scope: str, report: dict[str, Any], now: float) -> dict[str, Any] | None:
        """Take a report to the keeper; return its grant, None if it does not get there."""
        self.messages += 1
        return None if report["party"] in self.lost else self.leases.renew(scope, report, now)


class Holder(RateControl):
    """The control of one node, under a lease. See ``rate_simulation.Controller``."""

    def __init__(self, wire: Wire, party: str, qps: float, *, adaptive: bool = True, scope: str = "s") -> None:
        self.law = Leased(party, qps, 0.0, adaptive=adaptive)
        super().__init__(qps, 0.0, adaptive=adaptive, law=self.law)
        self._wire, self._scope = wire, scope
        self._coming: deque[tuple[float, dict[str, Any]]] = deque()
        self._backoff = Backoff(draw=lambda: 0.5)

    def try_acquire(self, now: float, tokens: float = 0.0) -> Permit | float:
        self.tick(now)
        answer = super().try_acquire(now, tokens)
        self.tick(now)
        if self._coming and not isinstance(answer, Permit):
            return min(answer, max(1e-6, self._coming[0][0] - now))
        return answer

    def settle(
        self, now: float, permit: Permit, outcome: str, hints: Hints = NO_HINTS, tokens: float | None = None
    ) -> None:
        super().settle(now, permit, outcome, hints, tokens)
        self.tick(now)

    def retry_in_s(self, refusals: int, hints: Hints) -> float:
        return self._backoff.delay_s(refusals)

    def tick(self, now: float) -> None:
        """Take what has come, and send what is due."""
        while self._coming and self._coming[0][0] <= now:
            if self.law.take(self._coming.popleft()[1], now):
                self.moved(now)
        if (report := self.law.due(now)) is not None:
            grant = self._wire.ask(self._scope, report, now)
            if grant is not None:
                self._coming.append((now + WAY_S, grant))


def play(scenario: Scenario, holders: int, *, seed: int = 1, adaptive: bool = True) -> tuple[Seen, Wire]:
    """Run a scenario with so many holders on its scope."""
    wire = Wire()
    shared = replace(scenario, processes=holders, workers=max(4, scenario.workers * scenario.processes // holders))

    def made(number: int) -> Controller:
        return Holder(wire, f"n{number}", scenario.start, adaptive=adaptive)

    return Simulation(shared, made, seed).run(), wire


def play_alone(scenario: Scenario, *, seed: int) -> Seen:
    """Run a scenario with one control for all of its workers."""
    joint = replace(scenario, processes=1, workers=scenario.workers * scenario.processes)
    return Simulation(joint, lambda number: Ours(scenario.start, joint.workers, seed), seed).run()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="A limit shared by leases, against one control for all.")
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    parser.add_argument("--holders", type=int, nargs="*", default=[1, 3, 20])
    options = parser.parse_args()
    more = (
        Scenario(name="200 rps", server=lambda: Bucket(200.0), workers=1200),
        Scenario(name="1000 rps", server=lambda: Bucket(1000.0), workers=4000, seconds=120.0, start=100.0),
        Scenario(name="fixed second, 200", server=lambda: FixedWindow(200.0, 1.0), workers=1200),
    )
    print("| scenario | one control | " + " | ".join(f"{n} holders | messages per 100" for n in options.holders) + " |")
    print("|---" * (2 + 2 * len(options.holders)) + "|")
    for scenario in (*SCENARIOS, *more):
        if options.only not in scenario.name or scenario.name == "429 for ever":
            continue
        cells = [_shares(scenario, [play_alone(scenario, seed=seed) for seed in (1, 2)])]
        for holders in options.holders:
            pairs = [play(scenario, holders, seed=seed) for seed in (1, 2)]
            requests = sum(len(seen.times) for seen, _ in pairs)
            cells.append(_shares(scenario, [seen for seen, _ in pairs]))
            cells.append(f"{100 * sum(wire.messages for _, wire in pairs) / requests:.2f}")
        print(f"| {scenario.name} | {' | '.join(cells)} |", flush=True)


def _shares(scenario: Scenario, runs: list[Seen]) -> str:
    scores = [score(scenario, seen) for seen in runs]
    return f"{fmean(one.used for one in scores):.3f} / {fmean(one.refused for one in scores):.4f}"


if __name__ == "__main__":
    main()
