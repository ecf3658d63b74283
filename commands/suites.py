"""Suites 5.1 to 5.5: five scenarios, each a run of its own, each ended by its table and a reading of it.

They share one results store, and what it holds as scored is not asked again: a cell that two suites have in common (the
optimal prompt at a tool success rate of 0.8 is in 5.1, 5.4 and 5.5) is asked once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from commands.options import EXIT_SCORED
from commands.request import Request, resolve
from commands.results import planned_of
from commands.run import Ended, print_plan, run_request
from commands.values import names_of
from providers.keys import Environment
from stores.run_directory import write_whole
from telemetry.exports import export, show
from telemetry.suite_tables import suite_report
from trials.errors import UsageError
from trials.rows import Row
from workflows.flaws import FLAWS

SUITES: Mapping[str, Mapping[str, Any]] = {
    "5.1": {"prompt_types": "optimal", "difficulty": "easy", "tool_success_rates": ("0.8",)},
    "5.2": {"prompt_types": "optimal", "difficulty": "very_easy,medium", "tool_success_rates": ("0.8",)},
    "5.3": {
        "prompt_types": "optimal,flawed",
        "difficulty": "easy",
        "tool_success_rates": ("0.8",),
        # One control for all flaws: every cell draws only tasks that can carry each of them.
        "drawn_for": tuple(FLAWS),
    },
    "5.4": {"prompt_types": "optimal", "difficulty": "easy", "tool_success_rates": ("0.9", "0.8", "0.7", "0.6")},
    "5.5": {"prompt_types": "baseline,cot,optimal", "difficulty": "easy", "tool_success_rates": ("0.8",)},
}
TITLES = {
    "5.1": "baseline: models under the optimal prompt",
    "5.2": "scale: models by difficulty",
    "5.3": "flawed plans",
    "5.4": "tool reliability",
    "5.5": "prompt sensitivity",
}
_SET_BY_SUITES = {
    "prompt_types": "--prompt-types",
    "difficulty": "--difficulty",
    "tool_success_rates": "--tool-success-rate",
}
FILE_FORMS = {"csv": "csv", "md": "md", "latex": "tex", "json": "json"}


def run_suites(names: str, values: Mapping[str, Any], *, dry_run: bool) -> int:
    """Run the suites one after another, then print and write their tables; return the worst exit code."""
    if values["questions"]:
        raise UsageError("--suite runs the tool-use benchmark; leave it out with --questions")
    wanted = names_of("--suite", names, tuple(SUITES), {"all": tuple(SUITES)})
    environment = Environment.read()
    requests = {name: resolve(_values_of(name, values), environment, need_keys=not dry_run) for name in wanted}
    ended: dict[str, Ended] = {}
    for name, request in requests.items():
        click.echo(f"\nsuite {name}, {TITLES[name]}")
        if dry_run:
            print_plan(request, environment)
            continue
        ended[name] = run_request(request)
        if ended[name].exit_code > 128 or ended[name].bound:  # the same command resumes
            break
    for name, end in ended.items():
        _report(name, requests[name], end)
        if end.goes_on:
            click.echo(f"stopped   {end.goes_on}")
    if not dry_run and (left := [name for name in wanted if name not in ended]):
        click.echo(f"not begun {', '.join(left)}")
    return max((end.exit_code for end in ended.values()), default=EXIT_SCORED)


def _values_of(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's options with the suite's own put in. Raises UsageError where the two collide."""
    for option, flag in _SET_BY_SUITES.items():
        if values[option]:
            raise UsageError(f"{flag}: suite {name} sets this itself; leave it out, or run without --suite")
    return {**values, **SUITES[name]}


def _report(name: str, request: Request, ended: Ended) -> None:
    """Print a suite's table and reading, and write both below the results store."""
    rows: list[Row] = [row for _, row in ended.ledger.rows()]
    planned, simulated = planned_of(ended.ledger.plan), request.spec.simulated
    report = suite_report(name, rows, planned, simulated=simulated)
    click.echo()
    show(report.table, sys.stdout)
    if name == "5.1" and report.comparisons.rows:  # the other suites' tables have their comparisons inside
        click.echo()
        show(report.comparisons, sys.stdout)
    click.echo(f"\n{click.wrap_text(report.reading, 110)}")
    folder = ended.ledger.store.path / "suites"
    folder.mkdir(mode=0o700, exist_ok=True)
    for form, suffix in FILE_FORMS.items():
        write_whole(folder / f"{name}.{suffix}", export(report.table, form).encode())
        write_whole(folder / f"{name}-comparisons.{suffix}", export(report.comparisons, form).encode())
    write_whole(folder / f"{name}.txt", f"{report.reading}\n".encode())
    click.echo(f"tables    {_pattern(folder, name)}")


def _pattern(folder: Path, name: str) -> str:
    return f"{folder}/{name}.{{csv,md,tex,json,txt}}"
