"""Layer 1, the supervisor: plan → launch → watch → merge → report.

One process per deployment or key (``smart_batch_runner.py``), each with its worker threads (``batch_test_runner.py``):

    python ultra_parallel_runner.py --simulate --model qwen2.5-72b-instruct --num-instances 20

The same command resumes an interrupted run, and asks nothing if it is finished.
"""

from __future__ import annotations

from commands.signals import leave_quietly

if __name__ == "__main__":
    leave_quietly()  # before all that takes time to import

from typing import Any

import click

from commands.options import refuse_options, run_options, run_program
from trials.errors import UsageError


@click.group(
    invoke_without_command=True,
    help="Evaluate language models over many providers, deployments and API keys at once. "
    "The same command resumes an interrupted run.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and start nothing.")
@click.option("--suite", metavar="NAMES", help="5.1, 5.2, 5.3, 5.4, 5.5 or all: a scenario, ended by its table.")
@run_options
@click.pass_context
def cli(context: click.Context, /, dry_run: bool, suite: str | None, **values: Any) -> int | None:
    """Run, or pass on to a sub-command."""
    if context.invoked_subcommand is not None:
        refuse_options(context)
        return None
    if suite is not None:
        from commands.suites import run_suites

        return run_suites(suite, values, dry_run=dry_run)
    from commands.run import dry_run as show_plan
    from commands.run import run

    return show_plan(values) if dry_run else run(values)


@cli.command()
@click.argument("run", required=False)
@click.option("--logs-dir", default="logs", show_default=True, help="Where run directories are.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--watch", is_flag=True, help="Show it until the run ends; q or Ctrl-C leaves.")
@click.option("--all", "every", is_flag=True, help="A line for each run, the newest first.")
def status(run: str | None, logs_dir: str, as_json: bool, watch: bool, every: bool) -> int:
    """Show how a run stands, from any terminal: the newest one, or the one whose name begins with RUN."""
    from commands.status import show_status

    return show_status(run, logs_dir, as_json=as_json, watch=watch, every=every)


@cli.command()
@click.option("--results-dir", help="Only this results store.  [default: every one that a run in --logs-dir is for]")
@click.option("--logs-dir", default="logs", show_default=True, help="Where run directories are.")
@click.option("--storage-format", metavar="FORM", help="Convert the store to parquet or json.")
@click.option("--compact", is_flag=True, help="Rewrite many part files as one.")
def merge(results_dir: str | None, logs_dir: str, storage_format: str | None, compact: bool) -> int:
    """Merge the journals of all idle runs into their results store; changes nothing the second time."""
    from commands.inspect_results import merge_results

    return merge_results(results_dir, logs_dir, storage_format, compact=compact)


@cli.command()
@click.option("--results-dir", help="Only this results store.  [default: every one that a run in --logs-dir is for]")
@click.option("--logs-dir", default="logs", show_default=True, help="Where run directories are.")
@click.option(
    "--repair", is_flag=True, help="Mend first what can be mended; nothing is deleted, what is damaged is moved."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(results_dir: str | None, logs_dir: str, repair: bool, as_json: bool) -> int:
    """Check that results still are what was written, and say what to do where they are not."""
    from commands.verify import verify_results

    return verify_results(results_dir, logs_dir, repair=repair, as_json=as_json)


@cli.command()
@click.option("--results-dir", default="results", show_default=True, help="The results store.")
@click.option("--by", default="auto", show_default=True, help="A row per cell or per group of task types.")
@click.option("--html", metavar="FILE", help="Write one page with tables, plots and every conversation.")
@click.option("--format", "form", metavar="FORM", help="Print the tables as md, csv, latex or json instead.")
@click.option("--plots", metavar="DIR", help="Write every plot as a file of its own, SVG and PNG.")
@click.option("--logs-dir", default="logs", show_default=True, help="Where the runs are, for limits over time.")
def report(results_dir: str, by: str, html: str | None, form: str | None, plots: str | None, logs_dir: str) -> int:
    """Print the result tables of a store, or write them as a page, as plots, or in another form."""
    if not (html or form or plots):
        from commands.inspect_results import report_results

        return report_results(results_dir, by)
    from commands.report import write_report

    if html and form:
        raise UsageError("--html and --format exclude each other; call the command twice")
    out = html or ("-" if form else "")
    return write_report(results_dir, out, form=form or "html", plots=plots, logs_dir=logs_dir)


@cli.command()
@click.argument("trial_key")
@click.option("--results-dir", default="results", show_default=True, help="The results store.")
def conversation(trial_key: str, results_dir: str) -> int:
    """Print the whole conversation of the trial whose key begins with TRIAL_KEY."""
    from commands.inspect_results import print_conversation

    return print_conversation(trial_key, results_dir)


@cli.command()
@click.argument("trial_key")
@click.option("--results-dir", default="results", show_default=True, help="The results store.")
def explain(trial_key: str, results_dir: str) -> int:
    """Say why the trial whose key begins with TRIAL_KEY has the score it has."""
    from commands.explain import explain_trial

    return explain_trial(trial_key, results_dir)


@cli.command()
@click.argument("run_a")
@click.argument("run_b")
@click.option("--logs-dir", default="logs", show_default=True, help="Where run directories are.")
@click.option("--export", metavar="FILE", help="Write all changed items to a .csv, .jsonl or .parquet file.")
@click.option("--top", default="20", show_default=True, metavar="N", help="How many changed items are shown.")
def compare(run_a: str, run_b: str, logs_dir: str, export: str | None, top: str) -> int:
    """Say which answers changed from RUN_A to RUN_B (runs or results stores), and whether that is more than chance."""
    from commands.compare import compare_runs
    from commands.values import whole

    return compare_runs(run_a, run_b, logs_dir=logs_dir, export=export, top=whole("--top", top, 0, 10**6))


@cli.command()
@click.option("--results-dir", default="results", show_default=True, help="The results store.")
@click.option("--run", metavar="RUN", help="Only this run's rows.")
@click.option("--logs-dir", default="logs", show_default=True, help="Where run directories are.")
@click.option(
    "--least", default="0.5", show_default=True, metavar="P", help="List labels at least this likely to be wrong."
)
@click.option("--export", metavar="FILE", help="Write the list to a .csv, .jsonl or .parquet file, for relabelling.")
def audit(results_dir: str, run: str | None, logs_dir: str, least: str, export: str | None) -> int:
    """List questions whose label is probably wrong: several models agree with each other, and not with it."""
    from commands.audit import run_audit
    from commands.values import number

    return run_audit(results_dir, run=run, logs_dir=logs_dir, least=number("--least", least, 0, 1), export=export)


@cli.command()
@click.argument("task_ids", nargs=-1)
@click.option("--task-types", default="all", show_default=True, help="Only these kinds of task.")
@click.option("--tools", metavar="NAMES", help="Only tasks that need all of these tools.")
@click.option("--difficulty", default="easy", show_default=True, help="The rendering that is shown.")
@click.option("--export", "export_to", metavar="FILE", help="Write the tasks to a JSON file instead.")
@click.option("--task-library", metavar="FILE", help="Tasks of your own instead of the built-in ones.")
@click.option("--tool-registry", metavar="FILE", help="Tools of your own beside the built-in ones.")
@click.option("--skip-invalid", is_flag=True, help="Use what is valid in these files.")
def tasks(task_ids: tuple[str, ...], **filters: Any) -> int:
    """List the benchmark's tasks; show those named by TASK_IDS whole; or export them."""
    from commands.task_list import list_tasks

    return list_tasks(task_ids, **filters)


if __name__ == "__main__":
    run_program(cli)
