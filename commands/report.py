"""The sub-command ``report`` beyond its printed table: a page, tables in other forms, plots as files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click
import orjson

from commands.inspect_results import open_results
from commands.options import EXIT_SCORED
from commands.values import name_of
from stores.parts import CONVERSATIONS, part_paths, read_part
from stores.results import ResultsStore
from stores.run_directory import RunDirectory, runs_in, whole_file
from telemetry.exports import Table, export
from telemetry.report.conversations import Said, Shortlist, pack
from telemetry.report.facts import Facts
from telemetry.report.limits import LimitChange, limit_changes
from telemetry.report.page import Report, write_page
from telemetry.report.plot_files import can_draw_png, write_plots
from telemetry.report.tables import SuiteResult, main_tables, phase_table, read_table, spent_table
from trials.errors import StoreError, UsageError

REPORT_FORMS = ("html", "md", "csv", "latex", "json")
MOST_MB = 28.0
_REST_MB = 3.0
"""What a page has beside its conversations, at most: tables, plots and the index."""


def write_report(
    results_dir: str,
    out: str,
    *,
    form: str = "html",
    logs_dir: str = "logs",
    plots: str | None = None,
    seed: int = 0,
    most_mb: float = MOST_MB,
) -> int:
    """Write the report of a store to a file, ``-`` being standard output, and its plots to a directory if one is given.

    With an empty ``out`` only the plots are written.

    ``html`` is the whole report; of the other forms ``csv`` is the table of results alone, ``md``, ``latex`` and
    ``json`` are all tables. An HTML file has at most ``most_mb`` megabytes, whatever the store holds. Raises UsageError
    and StoreError.
    """
    form = name_of("--format", form, REPORT_FORMS)
    store = open_results(results_dir)
    facts, shortlist = Facts(), Shortlist(seed)
    facts.simulated = store.simulated
    for row in store.rows():
        facts.add(row)
        if form == "html":
            shortlist.offer(row)
    suites, notes = _suites(store)
    changes = list(limits_of(store, Path(logs_dir), facts.runs))
    report = Report(
        source="/".join(store.path.resolve().parts[-2:]),
        facts=facts,
        written_at=time.time(),
        changes=changes,
        suites=suites,
        notes=notes,
    )
    if plots is not None:
        _write_plots(report, Path(plots))
    if not out:
        return EXIT_SCORED
    if form != "html":
        _write(out, lambda file: _write_tables(report, form, file))
        return EXIT_SCORED
    room = int((most_mb - _REST_MB) * 1e6)
    packed = pack(shortlist, lambda: _said(store), room) if facts.rows else None
    _write(out, lambda file: write_page(replace(report, conversations=packed), file))
    return EXIT_SCORED


def _said(store: ResultsStore) -> Iterator[Said]:
    for part in part_paths(store.path / CONVERSATIONS, "parquet"):
        for row in read_part(part, ("run_id", "shard", "journal_offset", "conversation", "detail")):
            origin = row["run_id"], row["shard"], row["journal_offset"]
            yield Said(origin, row["conversation"] or "", row["detail"] or "")


def _suites(store: ResultsStore) -> tuple[list[SuiteResult], list[str]]:
    """Return what the store's suites ended with, and what of it could not be read."""
    found, notes = [], []
    for path in sorted((store.path / "suites").glob("[0-9].[0-9].json")):
        name = path.stem
        try:
            tables = [_table(path), _table(path.with_name(f"{name}-comparisons.json"))]
            reading = path.with_suffix(".txt").read_text(encoding="utf-8", errors="replace").strip()
        except (OSError, ValueError) as problem:
            notes.append(f"suite {name} is left out, its files cannot be read: {problem}")
            continue
        found.append(SuiteResult(name=name, tables=tuple(tables), reading=reading))
    return found, notes


def _table(path: Path) -> Table:
    record = orjson.loads(path.read_bytes())
    if not isinstance(record, dict):
        raise ValueError(f"{path.name} holds no table")
    return read_table(record)


def limits_of(store: ResultsStore, logs_dir: Path, run_ids: set[str]) -> Iterator[LimitChange]:
    """Yield the changes of limits that the logs of the store's runs tell of, as far as these are still there."""
    for run in runs_in(logs_dir) if logs_dir.is_dir() else ():
        if run.run_id in run_ids and run.results_dir.resolve() == store.path.resolve():
            yield from _changes_of(run)


def _changes_of(run: RunDirectory) -> Iterator[LimitChange]:
    for folder in sorted((run.path / "shards").glob("*")):
        name = _deployment_of(run, folder)
        for path in sorted(folder.glob("shard.log*"), reverse=True):
            with path.open(encoding="utf-8", errors="replace") as lines:
                yield from limit_changes(name, lines)


def _deployment_of(run: RunDirectory, folder: Path) -> str:
    try:
        return str(run.read_json(f"shards/{folder.name}/shard.json")["deployment"]["name"])
    except (StoreError, KeyError, TypeError):
        return f"shard {folder.name}"


def _write_plots(report: Report, directory: Path) -> None:
    try:
        written = write_plots(report.figures(), directory, simulated=report.facts.simulated)
    except OSError as problem:
        raise UsageError(f"--plots: {directory} cannot be written to ({problem.strerror})") from problem
    hint = "" if can_draw_png() else " (SVG alone; for PNG too: pip install resvg-py)"
    click.echo(f"plots     {len(written)} files in {directory}{hint}", err=True)


def _write_tables(report: Report, form: str, file: BinaryIO) -> None:
    tables = main_tables(report.facts)
    if form != "csv":
        tables += [table for suite in report.suites for table in suite.tables]
        tables += [table for table in (phase_table(report.facts), spent_table(report.facts)) if table is not None]
    if form == "json":
        records = [json.loads(export(table, "json")) for table in tables]
        file.write(json.dumps(records, indent=2).encode() + b"\n")
        return
    file.write("\n".join(export(table, form) for table in tables).encode("utf-8", "replace"))


def _write(out: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a file whole or not at all, or write to standard output."""
    if out == "-":
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = Path(out)
    try:
        with whole_file(path) as file:
            write(file)
    except OSError as problem:
        raise UsageError(f"{path} cannot be written ({problem.strerror}); name a file elsewhere") from problem
    click.echo(f"report    {path} ({_megabytes(path)})", err=True)


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
