"""The sub-command ``status``: how a run stands, seen from another terminal, while it runs or after."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
import orjson

from commands.ledger import Ledger, take_in
from commands.options import EXIT_SCORED
from commands.values import nearest
from commands.workloads import open_workload
from stores.results import read_store
from stores.run_directory import RunDirectory, runs_in
from telemetry.live import write_view
from trials.errors import StoreError, UsageError
from trials.plan import TrialPlan
from trials.progress import RunView
from trials.words import HARNESS_ERROR, PENDING, PROVIDER_ERROR, SCORED


def show_status(name: str | None, logs_dir: str, *, as_json: bool) -> int:
    """Print a run's picture; of a run that nobody works on, the counts come from its results."""
    run = _find(name, Path(logs_dir))
    view = _last_view(run)
    if run.is_idle():
        view = _at_rest(run, view, Path(logs_dir))
    if as_json:
        click.echo(orjson.dumps(view.to_json()))
    else:
        write_view(view, sys.stdout)
    return EXIT_SCORED


def _find(name: str | None, logs_dir: Path) -> RunDirectory:
    runs = {run.run_id: run for run in runs_in(logs_dir)}
    if not runs:
        raise UsageError(f"--logs-dir: no run in {logs_dir}")
    if name is None:
        return max(runs.values(), key=_last_worked_on)
    if name not in runs:
        raise UsageError(f"no run {name!r} in {logs_dir}; {nearest(name, runs)}")
    return runs[name]


def _last_worked_on(run: RunDirectory) -> float:
    lock = run.path / "run.lock"
    return lock.stat().st_mtime if lock.exists() else run.created_at


def _last_view(run: RunDirectory) -> RunView:
    """Return the last picture that the run's supervisor left, or an empty one."""
    try:
        return RunView.from_json(run.read_json("status.json"))
    except (StoreError, TypeError, KeyError):
        return RunView(
            run_id=run.run_id,
            state="not started",
            simulated=run.spec.simulated,
            planned=0,
            scored=0,
            provider_errors=0,
            harness_errors=0,
            pending=0,
            elapsed_s=0.0,
            shards=(),
        )


def _at_rest(run: RunDirectory, view: RunView, logs_dir: Path) -> RunView:
    """Return the picture of a run that no process works on, counted afresh from its journals."""
    workload = open_workload(run.spec, run.banks_dir)
    if run.spec.definition != workload.definition:
        return replace(view, state="ended", message="made by another version of the benchmark; counts as it left them")
    store = read_store(run.results_dir)
    take_in(store, logs_dir, run, lambda text: click.echo(text, err=True))
    plan = TrialPlan(run.spec, workload)
    counts = Ledger(plan, store, run).standing().counts()
    left = counts[PENDING] + counts[PROVIDER_ERROR]
    return replace(
        view,
        state="finished" if not left else "stopped",
        planned=len(plan),
        scored=counts[SCORED],
        provider_errors=counts[PROVIDER_ERROR],
        harness_errors=counts[HARNESS_ERROR],
        pending=counts[PENDING],
        eta_s=None,
        message="" if not left else "nobody works on this run; the same command resumes it",
    )
