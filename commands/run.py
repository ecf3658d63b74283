"""The plain call: check, plan, start shards, watch them, merge, report. Each step is one function here."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.bounds import Bounds
from commands.budget import Budget
from commands.engines import RAY, open_engine
from commands.farewell import Farewell
from commands.ledger import Ledger, Standing, open_places, take_in
from commands.manifest import note_reported_models, write_manifest
from commands.options import EXIT_NOT_STARTED, EXIT_SCORED, EXIT_UNSCORED
from commands.request import Request, resolve
from commands.results import print_results, print_written
from commands.signals import LastWords, heeding
from commands.simulation import OwnSimulator
from commands.traced import run_trace, trace_order
from commands.under_way import RunUnderWay
from commands.watched import Watch
from processes.dispatch import even_split
from providers.catalog import simulated
from providers.keys import Environment, find_key
from stores.output import check_output
from stores.run_directory import RunDirectory
from telemetry.live import Display, choose_display
from telemetry.tables import PlanRow, render_plan
from trials.plan import TrialPlan
from trials.words import SCORED, Deployment


def dry_run(values: Mapping[str, Any]) -> int:
    """Print the plan as a table; start and write nothing."""
    environment = Environment.read()
    with tempfile.TemporaryDirectory() as scratch:
        request = resolve(values, environment, need_keys=False, banks_dir=Path(scratch), tell=print)
        print_plan(request, environment)
    return EXIT_SCORED


def print_plan(request: Request, environment: Environment) -> None:
    """Print who would be asked what, and which tasks some flaws leave out."""
    plan = TrialPlan(request.spec, request.workload)
    shares = even_split(plan, request.shard_models())
    rows = [
        PlanRow(
            shard=number,
            model=deployment.model,
            deployment=deployment.name,
            key_name=_key_name(deployment, environment),
            workers=deployment.workers,
            qps=deployment.qps,
            trials=shares[number],
            start_delay_s=deployment.start_delay_s,
        )
        for number, deployment in request.shards().items()
    ]
    options = request.options
    caption = f"{len(plan)} trials, rate mode {options.rate_mode}"
    if options.replicas > 1:
        caption += f", {options.replicas} shards to a key, which share its QPS"
    if options.engine == RAY:
        caption += f", on Ray{' at ' if options.ray_address else ''}{options.ray_address}"
    render_plan(rows, sys.stdout, caption=caption, start_when_ready=request.options.stagger_s is None)
    for line in request.workload.remarks(request.spec):
        print(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that has come to its end, finished or not.

    ``cost`` says what it has spent, if that is known; ``bound`` which bound has ended it, if one has, and
    ``goes_on`` how it goes on then.
    """

    ledger: Ledger
    exit_code: int
    cost: str
    bound: str = ""
    goes_on: str = ""


def run(values: Mapping[str, Any]) -> int:
    """Do what the user asked, from the first check to the result table; return the exit code."""
    environment = Environment.read()
    request = resolve(values, environment, tell=print)
    if request.output:
        check_output(request.output, environment)
    ended = run_request(request)
    print_results(request.spec, ended.ledger)
    if request.output:
        print_written(request.output, ended.ledger, environment)
    if ended.cost:
        print(f"cost      {ended.cost}")
    if ended.goes_on:
        print(f"stopped   {ended.goes_on}")
    return ended.exit_code


def run_request(request: Request) -> Ended:
    """Ask whatever a checked request still lacks, and merge it."""
    with ExitStack() as stack:
        watch = stack.enter_context(Watch(request))
        store, directory = open_places(request)
        lock = directory.lock()
        farewell, last_words = Farewell(request, directory), LastWords()
        stack.callback(last_words.end)
        stack.callback(farewell.post)
        stack.callback(lock.release)
        stack.enter_context(farewell)
        display = choose_display(sys.stdout)
        stack.callback(display.close)
        stack.callback(last_words.begin)
        budget = Budget(directory, request.shards(), request.judge, request.options.max_cost_usd)
        farewell.spends_from(budget)
        bounds = Bounds(budget, request.deadline)
        take_in(store, request.logs_dir, directory, display.note)
        write_manifest(directory, request)
        plan = TrialPlan(request.spec, request.workload)
        ledger = Ledger(plan, store, directory)
        before = ledger.standing()
        watch.begin(ledger, before.done(retry_errors=request.options.retry_errors))
        farewell.standing(before.counts())
        supervisor = None
        if len(before.done(retry_errors=request.options.retry_errors)) < len(plan):
            if remark := budget.remark():
                display.note(remark)
            if bounds.look():
                display.note(bounds.before_start())
            else:
                supervisor = _supervise(request, plan, before, directory, display, stack, watch, budget, bounds)
                farewell.standing(supervisor.counts())
            take_in(store, request.logs_dir, directory, display.note)
        else:
            display.note(f"run {directory.run_id} is finished: every trial has a result, nothing is asked again")
        display.close()
        note_reported_models(ledger)
        watch.end(ledger, interrupted=supervisor is not None and supervisor.signal_number != 0)
        counts = ledger.counts()
        exit_code = _exit_code(supervisor, counts, len(plan))
        bound = bounds.reached if exit_code == EXIT_UNSCORED else ""
        farewell.ended(counts, exit_code, bound=bound)
        goes_on = bounds.how_to_go_on(len(plan) - counts[SCORED]) if bound else ""
        return Ended(ledger=ledger, exit_code=exit_code, cost=budget.in_words(), bound=bound, goes_on=goes_on)


def _supervise(
    request: Request,
    plan: TrialPlan,
    before: Standing,
    directory: RunDirectory,
    display: Display,
    stack: ExitStack,
    watch: Watch,
    budget: Budget,
    bounds: Bounds,
) -> RunUnderWay:
    deployments, judge = request.shards(), request.judge
    if request.spec.simulated and not request.simulator_url:
        own = stack.enter_context(OwnSimulator(directory.path / "simulator.log", request.spec))
        deployments = {number: simulated(one, own.url) for number, one in deployments.items()}
        judge = simulated(judge, own.url) if judge else None
    trace = run_trace(request, directory.run_id, len(plan), deployments, display.note)
    orders = {}
    for number, deployment in deployments.items():
        told = trace_order(request, directory.run_id, number, trace)
        orders[number] = order = request.options.order(number, deployment, judge, told)
        directory.shard_dir(number)
        directory.write_json(f"shards/{number:02d}/shard.json", order.to_json())
    engine = open_engine(request.options, directory, orders, display.note)
    stack.callback(engine.close)
    run = RunUnderWay(request, plan, before, directory, display, deployments, watch, budget, bounds, engine)
    run.trace = trace
    with heeding(run.interrupt):
        run.supervisor.run()
    run.end_trace()
    return run


def _exit_code(run: RunUnderWay | None, after: Mapping[str, int], planned: int) -> int:
    if run is not None and run.signal_number:
        return 128 + run.signal_number
    if after[SCORED] == planned:
        return EXIT_SCORED
    if run is not None and any(shard.failure and not shard.ended for shard in run.supervisor.shards):
        return EXIT_NOT_STARTED
    return EXIT_UNSCORED


def _key_name(deployment: Deployment, environment: Environment) -> str:
    if deployment.simulated:
        return "(simulated)"
    key = find_key(deployment, environment)
    return key.name if key else f"{deployment.key_names[0]} (not set)"
