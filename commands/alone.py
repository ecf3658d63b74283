"""A shard that runs by itself: its share of the run's plan, its run directory, a display, and the merge at its end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import click

from commands.ledger import Ledger, begun, open_places, take_in
from commands.options import EXIT_NOT_STARTED, EXIT_SCORED, EXIT_UNSCORED
from commands.request import Request, resolve
from commands.simulation import OwnSimulator
from commands.traced import trace_order
from commands.values import nearest
from processes.dispatch import Dispatcher, shares
from providers.catalog import simulated
from providers.keys import Environment
from stores.run_directory import RunDirectory
from telemetry.live import Display, choose_display
from trials.errors import UsageError
from trials.plan import TrialPlan
from trials.progress import RunView, ShardProgress, ShardView
from trials.spec import ShardOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """All that one shard needs to run without a supervisor."""

    run: RunDirectory
    number: int
    order: ShardOrder
    ledger: Ledger
    dispatcher: Dispatcher
    begun: dict[int, Any]
    environment: Environment
    request: Request
    display: Display
    began_at: float

    def show(self, endings: Counter[str], progress: ShardProgress) -> None:
        """Show how the share stands."""
        share, earlier = self.dispatcher.share[self.number], self.dispatcher.earlier[self.number]
        deployment = self.order.deployment
        errors = progress.provider_errors + progress.harness_errors
        shard = ShardView(
            number=self.number,
            model=deployment.model,
            deployment=deployment.name,
            total=share,
            earlier=earlier,
            progress=progress,
        )
        self.display.show(
            RunView(
                run_id=self.run.run_id,
                state="running",
                simulated=self.run.spec.simulated,
                planned=share,
                scored=earlier + progress.done - errors,
                provider_errors=progress.provider_errors,
                harness_errors=progress.harness_errors,
                pending=share - earlier - progress.done,
                elapsed_s=time.monotonic() - self.began_at,
                shards=(shard,),
            )
        )

    def finish(self, code: int, failure: str, signal_number: int) -> int:
        """Merge, say what became of the share, and return the exit code."""
        self.display.close()
        take_in(self.ledger.store, self.request.logs_dir, self.run, click.echo)
        all_scored = self.ledger.standing().done(retry_errors=True)
        share = self.dispatcher.share[self.number]
        scored = sum(number in all_scored for numbers in self._share() for number in numbers)
        click.echo(f"shard {self.number} ({self.order.deployment.name}): {scored} of its {share} trials scored")
        click.echo(f"results: {self.ledger.store.path}")
        if failure:
            click.echo(f"error: {failure}", err=True)
        if signal_number:
            return 128 + signal_number
        if code:
            return EXIT_NOT_STARTED
        return EXIT_SCORED if scored == share else EXIT_UNSCORED

    def _share(self) -> list[range]:
        return shares(self.ledger.plan, self.request.shard_models())[self.number]


@contextmanager
def prepare_alone(values: dict[str, Any], name: str | None) -> Iterator[Alone]:
    """Check, open and lock everything for one shard; let go of it at the end. Raises UsageError."""
    environment = Environment.read()
    request = resolve(values, environment)
    number = _pick(request, name)
    with ExitStack() as stack:
        store, run = open_places(request)
        stack.callback(run.lock(shared=True).release)
        take_in(store, request.logs_dir, run, click.echo)
        plan = TrialPlan(request.spec, request.workload)
        ledger = Ledger(plan, store, run)
        now = ledger.standing()
        dispatcher = Dispatcher(
            plan, request.shard_models(), done=now.done(retry_errors=request.options.retry_errors), balance="even"
        )
        for sibling in request.shards():
            if sibling != number:
                dispatcher.close(sibling)
        deployment, judge = request.shards()[number], request.judge
        if request.spec.simulated and not request.simulator_url:
            own = stack.enter_context(OwnSimulator(run.shard_dir(number) / "simulator.log", request.spec))
            deployment, judge = simulated(deployment, own.url), simulated(judge, own.url) if judge else None
        display = choose_display(sys.stdout)
        stack.callback(display.close)
        yield Alone(
            run=run,
            number=number,
            order=request.options.order(number, deployment, judge, trace_order(request, run.run_id, number, None)),
            ledger=ledger,
            dispatcher=dispatcher,
            begun=begun(run, now.pending()),
            environment=environment,
            request=request,
            display=display,
            began_at=time.monotonic(),
        )


def _pick(request: Request, name: str | None) -> int:
    names = {deployment.name: number for number, deployment in reversed(request.shards().items())}
    if name is None:
        return 1
    if name not in names:
        raise UsageError(f"--deployment: unknown {name!r}; {nearest(name, names)}")
    return names[name]
