"""The sub-commands ``merge``, ``report`` and ``conversation``: looking after a results store and into it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from commands.ledger import take_in
from commands.options import EXIT_SCORED
from commands.results import stored_questions
from commands.values import name_of
from stores.parts import FORMS
from stores.results import ResultsStore, read_store
from stores.run_directory import runs_in
from telemetry.question_tables import render_questions
from telemetry.tables import render_results
from telemetry.wording import clean
from trials.errors import StoreError, UsageError
from trials.words import QUESTION

BY = ("auto", "cell", "group")


def merge_results(results_dir: str | None, logs_dir: str, form: str | None, *, compact: bool) -> int:
    """Merge every idle run into its store, or those of one store; convert and compact as asked."""
    if form is not None:
        name_of("--storage-format", form, FORMS)
    places = [results_dir] if results_dir else sorted({str(run.results_dir) for run in runs_in(Path(logs_dir))})
    if not places:
        raise UsageError(f"--logs-dir: no run in {logs_dir}; name a results store with --results-dir")
    for place in places:
        store = open_results(place)
        if form is not None:
            store = store.convert(form)
        added = take_in(store, Path(logs_dir), None, click.echo)
        if compact:
            store.compact()
        click.echo(f"{added} rows added to {store.path}")
    return EXIT_SCORED


def report_results(results_dir: str, by: str) -> int:
    """Print the tables of everything in a store."""
    store, by = open_results(results_dir), name_of("--by", by, BY)
    figures = store.tally().cells()
    workflows = {key: one for key, one in figures.items() if key.prompt_type != QUESTION}
    if not figures:
        click.echo(f"{store.path} holds no results yet")
        return EXIT_SCORED
    if workflows:
        render_results(workflows, sys.stdout, simulated=store.simulated, by=by)
    if len(workflows) < len(figures):
        render_questions(stored_questions(store).figures(), sys.stdout, simulated=store.simulated)
    click.echo("counts are of what is stored here; what a run had planned, and what is pending, 'status' tells")
    return EXIT_SCORED


def print_conversation(trial_key: str, results_dir: str) -> int:
    """Print one conversation, a block per message."""
    store = open_results(results_dir)
    row = store.find(trial_key)
    click.echo(f"trial {row['trial_key']} of run {row['run_id']}")
    for message in (store.conversation(row) or {}).get("conversation", ()):
        click.echo(message_text(message))
    return EXIT_SCORED


def message_text(message: dict[str, object]) -> str:
    """Return one chat message for reading; control characters of a model's reply are not let through."""
    lines = [f"\n── {message.get('role')} ──"]
    if message.get("content"):
        lines.extend(clean(line, 10**6) for line in str(message["content"]).splitlines())
    if message.get("tool_calls"):
        lines.append(f"tool calls: {clean(str(message['tool_calls']), 10**6)}")
    return "\n".join(lines)


def open_results(results_dir: str) -> ResultsStore:
    """Open the store that --results-dir names. Raises UsageError, with a hint where simulated results are near."""
    path = Path(results_dir)
    try:
        return read_store(path)
    except StoreError as problem:
        inside = path / "simulated"
        hint = f"; simulated results are in {inside}" if (inside / "store.json").exists() else ""
        raise UsageError(f"--results-dir: {problem}{hint}") from problem
