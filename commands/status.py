"""The sub-command ``status``: how runs stand, seen from another terminal, while they work or after."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import orjson

from commands.farewell import DONE
from commands.ledger import Ledger, take_in
from commands.manifest import NAME as MANIFEST
from commands.options import EXIT_SCORED
from commands.signals import Interrupted
from commands.values import nearest
from commands.workloads import open_workload
from stores.results import read_store
from stores.run_directory import RunDirectory, runs_in
from stores.spending import Spending
from telemetry.live import choose_display, write_view
from telemetry.notify import BUDGET, DEADLINE, FAILED, INTERRUPTED
from telemetry.tables import RunRow, render_runs
from telemetry.terminal import Keys
from telemetry.view import WATCHING_HINTS
from trials.errors import StoreError, UsageError
from trials.plan import TrialPlan
from trials.progress import RunView
from trials.words import HARNESS_ERROR, PENDING, PROVIDER_ERROR, SCORED

LOOK_EVERY_S = 0.5
CRASHED, STOPPED, FINISHED = "crashed", "stopped", "finished"
_LEFT = ("q", "Q", "\x03", "\x04")


def show_status(name: str | None, logs_dir: str, *, as_json: bool, watch: bool = False, every: bool = False) -> int:
    """Print a run's picture, once or until it ends, or a line for each run. Raises UsageError for what excludes itself.

    Of a run that nobody works on, the counts come from its results.
    """
    if every and (name is not None or watch):
        raise UsageError("status --all lists every run; leave RUN and --watch out, or --all")
    if watch and as_json:
        raise UsageError("status --json prints one object; leave --watch out, and ask again")
    runs = _runs(Path(logs_dir))
    if every:
        return _list(runs, as_json=as_json)
    run = _find(name, runs, Path(logs_dir))
    if watch and not run.is_idle():
        return _watch(run, Path(logs_dir))
    view = _view(run, Path(logs_dir))
    if as_json:
        click.echo(orjson.dumps(view.to_json()))
    else:
        write_view(view, sys.stdout)
    return EXIT_SCORED


def _runs(logs_dir: Path) -> dict[str, RunDirectory]:
    """Return all runs by their name, the one worked on last first."""
    runs = sorted(runs_in(logs_dir), key=_last_worked_on, reverse=True)
    if not runs:
        raise UsageError(f"--logs-dir: no run in {logs_dir}")
    return {run.run_id: run for run in runs}


def _find(name: str | None, runs: dict[str, RunDirectory], logs_dir: Path) -> RunDirectory:
    """Return the run of a name, or of the beginning of one; the newest if there is no name."""
    if name is None:
        return next(iter(runs.values()))
    if name in runs:
        return runs[name]
    begun = [one for one in runs if name and one.startswith(name)]
    if len(begun) > 1:
        shown = ", ".join(begun[:3]) + (", …" if len(begun) > 3 else "")
        raise UsageError(f"{len(begun)} runs in {logs_dir} begin with {name!r}: {shown}; give more of the name")
    if not begun:
        raise UsageError(f"no run {name!r} in {logs_dir}; {nearest(name, runs)}")
    return runs[begun[0]]


def _last_worked_on(run: RunDirectory) -> float:
    lock = run.path / "run.lock"
    return lock.stat().st_mtime if lock.exists() else run.created_at


def _watch(run: RunDirectory, logs_dir: Path) -> int:
    """Show a run that is worked on until it ends, or whoever watches leaves; the run does not notice either."""
    display = choose_display(sys.stdout, hints=WATCHING_HINTS)
    try:
        with Keys(sys.stdin) as keys:
            while not run.is_idle():
                display.show(_last_view(run))
                if keys.pressed(LOOK_EVERY_S) in _LEFT:
                    return EXIT_SCORED
            display.show(_at_rest(run, _last_view(run), logs_dir))
    except Interrupted as leaving:
        if leaving.number != signal.SIGINT:
            raise
    finally:
        display.close()
    return EXIT_SCORED


def _view(run: RunDirectory, logs_dir: Path) -> RunView:
    view = _last_view(run)
    return _at_rest(run, view, logs_dir) if run.is_idle() else view


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
    counts = Ledger(plan, store, run).counts()
    left = counts[PENDING] + counts[PROVIDER_ERROR]
    state, message = (FINISHED, "") if not left else _why(run, _farewell(run), started=bool(view.shards))
    return replace(
        _stilled(view, state),
        state=state,
        planned=len(plan),
        scored=counts[SCORED],
        provider_errors=counts[PROVIDER_ERROR],
        harness_errors=counts[HARNESS_ERROR],
        pending=counts[PENDING],
        eta_s=None,
        message=message,
        cost_usd=None if view.cost_usd is None else _spent(run),
    )


def _stilled(view: RunView, state: str) -> RunView:
    """Return a picture in which nothing goes on any more, whatever went on when it was left."""
    still = "died" if state == CRASHED else STOPPED
    shards = tuple(
        replace(
            shard,
            progress=replace(
                shard.progress,
                state=shard.progress.state if shard.progress.state in ("done", "failed", "not started") else still,
                in_flight=0,
                workers=0,
                requests_per_s=0.0,
            ),
            rss_bytes=0,
            eta_s=None,
        )
        for shard in view.shards
    )
    return replace(view, shards=shards, trials_per_s=0.0, slowdown="", metrics_url="", deadline_s=None)


def _why(run: RunDirectory, farewell: dict[str, Any] | None, *, started: bool) -> tuple[str, str]:
    """Return the state of an unfinished run, and in words why it is in it and what makes it go on."""
    if farewell is None and started:
        return CRASHED, f"it crashed or was killed: no process works on it, none took its leave; {_resume(run)}"
    outcome = farewell["outcome"] if farewell else ""
    if outcome == BUDGET:
        return STOPPED, f"stopped at its --max-cost; {_resume(run, ' --max-cost MORE')}"
    if outcome == DEADLINE:
        return STOPPED, f"stopped at its --deadline; {_resume(run)}"
    if outcome == FAILED:
        reason = farewell["message"] if farewell else ""
        return FAILED, f"{reason or 'no shard could work; see the messages above'}; mended, {_resume(run)}"
    if outcome == INTERRUPTED:
        return STOPPED, f"it was interrupted; {_resume(run)}"
    return STOPPED, f"nobody works on this run; {_resume(run)}"


def _resume(run: RunDirectory, more: str = "") -> str:
    """Say which command goes on with a run."""
    words = f"the same command{f' with{more}' if more else ''} resumes it"
    manifest = run.path / MANIFEST
    if manifest.exists():
        words += f", and so does: ultra_parallel_runner.py --from-manifest {manifest}{more}"
    return words


def _farewell(run: RunDirectory) -> dict[str, Any] | None:
    try:
        said = run.read_json(DONE)
    except StoreError:
        return None
    return said if isinstance(said, dict) and "outcome" in said else None


def _spent(run: RunDirectory) -> float:
    spending = Spending(run.journals)
    spending.update()
    return spending.usd


def _list(runs: dict[str, RunDirectory], *, as_json: bool) -> int:
    """Print a line for each run as it left itself, the one worked on last first; nothing is counted afresh."""
    rows = [_row(run) for run in runs.values()]
    if as_json:
        click.echo(orjson.dumps({"runs": rows}))
    else:
        render_runs(rows, sys.stdout, now=time.time())
    return EXIT_SCORED


def _row(run: RunDirectory) -> RunRow:
    view, farewell = _last_view(run), _farewell(run)
    state = view.state
    if run.is_idle():
        unfinished = view.pending + view.provider_errors
        state = farewell["outcome"] if farewell else CRASHED if view.shards and unfinished else state
    told = farewell or view.to_json()
    return RunRow(
        run_id=run.run_id,
        state=state,
        simulated=run.spec.simulated,
        planned=told["planned"],
        scored=told["scored"],
        cost_usd=told["cost_usd"],
        worked_on_at=_last_worked_on(run),
        results_dir=str(run.results_dir),
    )
