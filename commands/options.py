"""The options that the three runners share, and how a program reports what is wrong: one line, exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from commands.signals import Interrupted, interruption_in, raising
from processes.garbage import collect_seldom
from trials.errors import RunnerError, UsageError

F = TypeVar("F", bound=Callable[..., Any])
EXIT_SCORED, EXIT_UNSCORED, EXIT_USAGE, EXIT_NOT_STARTED = 0, 1, 2, 3


def _of_supervisor(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what only the supervisor can do where a shard or a worker runs alone, rather than not do it."""
    if value is not None and not isinstance(context.command, click.Group):
        raise UsageError(f"{parameter.opts[0]} is an option of ultra_parallel_runner.py alone; leave it out here")
    return value


_WHAT = (
    click.option("--model", "models", multiple=True, metavar="NAME[,NAME…]", help="Models to evaluate; repeatable."),
    click.option(
        "--prompt-types", metavar="NAMES", help="Prompt types, or the groups 'all' and 'flawed'.  [default: optimal]"
    ),
    click.option("--difficulty", metavar="NAMES", help="very_easy, easy, medium, hard, very_hard.  [default: easy]"),
    click.option("--task-types", metavar="NAMES", help="Kinds of task.  [default: all five]"),
    click.option("--num-instances", metavar="N", help="Trials per cell.  [default: 20]"),
    click.option(
        "--tool-success-rate",
        "tool_success_rates",
        multiple=True,
        metavar="P[,P…]",
        help="How often a tool call succeeds; several run one after another.  [default: 0.8]",
    ),
    click.option("--severity", metavar="NAME", help="How badly flawed plans are damaged.  [default: severe]"),
    click.option("--tool-protocol", metavar="NAME", help="tags or native.  [default: tags]"),
    click.option("--temperature", metavar="T", help="Sampling temperature.  [default: the catalog's]"),
    click.option("--max-tokens", metavar="N", help="Longest reply in tokens.  [default: the catalog's]"),
    click.option("--extra", "extra", multiple=True, metavar="NAME=VALUE", help="A further request field; repeatable."),
    click.option("--task-library", metavar="FILE", help="Tasks of your own, in WorkflowBench's or PILOT-Bench's JSON."),
    click.option("--tool-registry", metavar="FILE", help="Tools of your own, for --task-library."),
    click.option("--skip-invalid", is_flag=True, help="Use what is valid in a file of tasks or questions."),
    click.option("--seed", metavar="N", help="Decides tasks and tool luck.  [default: 42]"),
)
_QUESTIONS = (
    click.option("--questions", metavar="PATH", help="Ask a question bank: Parquet, JSON Lines, CSV; local or s3://."),
    click.option(
        "--columns", metavar="ROLE=NAME,…", help="Which column is what, e.g. question=problem,answer=solution."
    ),
    click.option(
        "--template", metavar="NAME|FILE", help="plain, math, choice, or a Jinja2 file.  [default: what fits]"
    ),
    click.option("--system", metavar="TEXT|@FILE", help="A system message before each question."),
    click.option("--few-shot", metavar="PATH[:N]", help="N worked examples from another bank.  [default: N = 5]"),
    click.option("--limit", metavar="N", help="Only the first N questions."),
    click.option("--scorer", metavar="NAME", help="What marks answers.  [default: choice, normalised or none]"),
    click.option("--scorer-option", "scorer_options", multiple=True, metavar="NAME=VALUE", help="E.g. tolerance=0.01."),
    click.option("--epochs", metavar="N", help="How often each question is asked.  [default: 1]"),
    click.option("--judge-model", metavar="NAME", help="A model that marks the answers, under limits of its own."),
)
_WHO = (
    click.option("--simulate", is_flag=True, help="Ask the built-in simulator instead of a provider; needs no key."),
    click.option("--simulator-url", metavar="URL", help="Use a simulator that is already running."),
    click.option("--base-url", metavar="URL", help="Any OpenAI-compatible endpoint, for models not in the catalog."),
    click.option("--api-key-env", metavar="NAME", help="Environment variable that holds the key for --base-url."),
    click.option("--catalog", metavar="FILE", help="A TOML file that adds to the built-in catalog of models."),
    click.option("--shards", metavar="N", help="Use only the first N deployments or keys of each model."),
)
_ENGINE = (
    click.option(
        "--engine",
        metavar="NAME",
        callback=_of_supervisor,
        help="local, or ray: shards on the nodes of a Ray cluster (docs/scaling.md).  [default: local]",
    ),
    click.option(
        "--ray-address",
        metavar="HOST:PORT",
        callback=_of_supervisor,
        help="The cluster to join, or auto.  [env: RAY_ADDRESS; default: one on this machine, for this run]",
    ),
    click.option(
        "--gpus-per-shard", metavar="X", callback=_of_supervisor, help="GPUs that each shard reserves on its node."
    ),
    click.option(
        "--replicas",
        metavar="N",
        callback=_of_supervisor,
        help="Shards for each deployment or key, which share its limit.  [default: 1]",
    ),
)
_HOW = (
    click.option("--rate-mode", metavar="MODE", help="adaptive or fixed.  [env: RATE_MODE; default: adaptive]"),
    click.option("--balance", metavar="MODE", help="pull moves work to idle shards, even does not.  [default: pull]"),
    click.option("--max-workers", metavar="N", help="Threads per shard.  [default: the catalog's]"),
    click.option("--qps", metavar="X", help="HTTP requests per second and shard.  [default: the catalog's]"),
    click.option("--stagger", metavar="S,S…", help="Seconds between shard starts, or auto.  [default: auto]"),
    click.option(
        "--max-attempts", metavar="N", help="HTTP attempts per request, 429s not counted.  [default: the catalog's, 5]"
    ),
    click.option(
        "--patience", metavar="S", help="Seconds for which a request may meet nothing but 429s.  [default: 600]"
    ),
    click.option("--hedge", is_flag=True, help="In the tail, try slow trials on a second deployment as well."),
    click.option("--timeout", metavar="S", help="Seconds per HTTP attempt.  [default: the catalog's, 150]"),
    click.option(
        "--stall-timeout", metavar="S", help="Seconds of silence after which a shard is replaced.  [default: 30]"
    ),
    click.option("--transport", metavar="NAME", help="auto, curl or requests.  [default: auto: curl where it is]"),
    click.option(
        "--cache", metavar="URL", help="off, sqlite:PATH, redis://HOST:PORT or redis+cluster://.  [default: off]"
    ),
    click.option("--cache-ttl", metavar="TIME", help="How long a cached reply is used, e.g. 30m.  [default: 1h]"),
    click.option(
        "--max-cost",
        metavar="USD",
        callback=_of_supervisor,
        help="Stop, resumably, once the run (with --suite: each) has spent this over all its starts.",
    ),
    click.option(
        "--deadline",
        metavar="TIME",
        callback=_of_supervisor,
        help="Drain, resumably, so long after the command began, a whole --suite included; e.g. 8h.",
    ),
    click.option("--retry-errors", is_flag=True, help="Ask trials again that failed in the harness itself."),
    click.option("--fresh", is_flag=True, help="Ask everything again; earlier results are kept as history."),
)
_WHERE = (
    click.option("--storage-format", metavar="FORM", help="parquet or json.  [env: STORAGE_FORMAT; default: parquet]"),
    click.option(
        "--from-manifest", metavar="FILE", help="Repeat the run of this manifest; refused if an input differs."
    ),
    click.option("--output", metavar="URL", help="Write the rows there, too: delta:PATH, s3://…, openai-batch:FILE."),
    click.option(
        "--notify",
        metavar="URL",
        callback=_of_supervisor,
        help="Post a JSON object there when the run ends, however it ends.  [env: NOTIFY_URL]",
    ),
    click.option(
        "--metrics-port",
        metavar="N",
        callback=_of_supervisor,
        help="Serve metrics to Prometheus there; 0 takes a free port (docs/monitoring.md).",
    ),
    click.option(
        "--metrics-host", metavar="ADDRESS", callback=_of_supervisor, help="For --metrics-port.  [default: 127.0.0.1]"
    ),
    click.option("--trace-content", is_flag=True, help="Put prompts and replies into traces, too (docs/tracing.md)."),
    click.option("--results-dir", metavar="DIR", help="[default: results, with --simulate results/simulated]"),
    click.option("--logs-dir", metavar="DIR", help="Where run directories are made.  [default: logs]"),
)


def run_options(command: F) -> F:
    """Add every option that says what is asked, of whom, how, and where results go."""
    for option in reversed(_WHAT + _QUESTIONS + _WHO + _HOW + _ENGINE + _WHERE):
        command = option(command)
    return command


def refuse_options(context: click.Context) -> None:
    """Raise a UsageError if options of the plain call stand before a sub-command, which would not heed them."""
    for parameter in context.command.params:
        if context.params.get(parameter.name or "") not in (None, False, ()):
            raise UsageError(
                f"{parameter.opts[0]} goes with the plain call; put the options of "
                f"{context.invoked_subcommand!r} behind its name"
            )


def run_program(command: click.Command, arguments: Sequence[str] | None = None) -> None:
    """Run a click command as a program: errors are one line on standard error, without a traceback.

    With DEBUG_LOG=true in the environment the traceback is shown as well. A signal ends it with 128 + its number.
    """
    collect_seldom()
    try:
        with raising():
            code = command.main(arguments, standalone_mode=False)
    except Interrupted as leaving:
        code = leaving.exit_code
    except click.exceptions.Exit as leaving:
        code = leaving.exit_code
    except click.Abort:
        code = 130
    except click.ClickException as problem:
        code = complain(problem.format_message())
    except UsageError as problem:
        code = complain(str(problem), problem)
    except RunnerError as problem:
        code = complain(str(problem), problem, code=EXIT_UNSCORED)
    except Exception as problem:  # a disk, memory or descriptors at their end, or a mistake of this program
        if (interrupted := interruption_in(problem)) is not None:
            sys.exit(interrupted.exit_code)
        text = f"{type(problem).__name__}: {problem}; what was answered is kept, the same command goes on"
        code = complain(f"{text} (DEBUG_LOG=true shows where)", problem, code=EXIT_UNSCORED)
    sys.exit(code if isinstance(code, int) else 0)


def complain(text: str, problem: BaseException | None = None, code: int = EXIT_USAGE) -> int:
    """Print an error as one line and return the exit code."""
    import os

    if problem is not None and os.environ.get("DEBUG_LOG", "").lower() == "true":
        import traceback

        traceback.print_exception(problem)
    click.echo(f"error: {' '.join(text.split())}", err=True)
    return code
