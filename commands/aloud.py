"""Single trials aloud: ``batch_test_runner.py`` by itself prints every message as it comes, and stores nothing."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from commands.inspect_results import message_text
from commands.options import EXIT_NOT_STARTED, EXIT_SCORED, EXIT_UNSCORED
from commands.request import resolve
from commands.simulation import OwnSimulator
from commands.values import whole
from processes.asking import Asking, open_asking
from providers.catalog import simulated
from providers.keys import Environment
from telemetry.wording import clean
from trials.errors import ProviderError
from trials.plan import TrialPlan
from trials.rows import Row
from trials.words import SCORED, Completion, Deployment, Message, Trial, Workload

Run = Callable[[Trial], Row | None]
SHOWN = ("score", "coverage", "order", "execution", "recovery", "efficiency")


class Aloud:
    """Prints what is new in a conversation whenever it is sent, and each reply."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._stop = threading.Event()
        self._printed = 0

    def ask(
        self,
        trial: Trial,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        judge: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Completion:
        """Ask for a completion, printing both sides."""
        if judge:
            self._printed = 0  # a judge is asked in a conversation of its own
        self._print(messages)
        completion = self._asking.ask(trial, messages, tools, judge=judge, told=told, stop=self._stop)
        calls = [{"name": call.name, "arguments": call.arguments} for call in completion.tool_calls]
        self._print([*messages, {"role": "assistant", "content": completion.text, "tool_calls": calls}])
        return completion

    def record(self, event: Mapping[str, Any]) -> None:
        """Print what a trial's end adds to its conversation."""
        if event["kind"] == "begun":
            self._printed = 0
        elif event["kind"] == "ended":
            self._print(event.get("conversation", ()))

    def _print(self, messages: Sequence[Message]) -> None:
        """Print the messages that have not been printed yet."""
        for message in messages[self._printed :]:
            click.echo(message_text(message))
        self._printed = len(messages)


def run_aloud(values: Mapping[str, Any], count: str, make_run: Callable[[Workload, Aloud, Deployment], Run]) -> int:
    """Run the first trials of a run and print them; return the exit code."""
    environment = Environment.read()
    request = resolve(values, environment)
    plan = TrialPlan(request.spec, request.workload)
    wanted = whole("--count", count, 1, len(plan))
    with ExitStack() as stack:
        deployment, judge = request.deployments[0], request.judge
        if request.spec.simulated and not request.simulator_url:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "simulator.log"
            url = stack.enter_context(OwnSimulator(log, request.spec)).url
            deployment, judge = simulated(deployment, url), simulated(judge, url) if judge else None
        order = request.options.order(1, deployment, judge)
        asking = open_asking(order, request.spec, environment, logging.getLogger("aloud"), tell=click.echo)
        stack.callback(asking.close)
        aloud = Aloud(asking)
        run = make_run(request.workload, aloud, deployment)
        try:
            rows = [_one(plan.trial(number), run) for number in range(wanted)]
        except ProviderError as problem:
            click.echo(f"error: {problem}", err=True)
            return EXIT_NOT_STARTED
    return EXIT_SCORED if all(row and row["status"] == SCORED for row in rows) else EXIT_UNSCORED


def _one(trial: Trial, run: Run) -> Row | None:
    cell = trial.cell
    click.secho(
        f"\ntrial {trial.trial_key}: {trial.task_id}, {cell.model}, {cell.prompt_type}, {cell.difficulty}", bold=True
    )
    row = run(trial)
    if row is None:
        return None
    if row["status"] == SCORED:
        shown = [f"{name} {row[name]:.3g}" for name in SHOWN if row.get(name) is not None]
        shown += [f"{name} {clean(row[name])!r}" for name in ("answer", "target") if row.get(name) is not None]
        words = f"{row['outcome']}: {', '.join(shown)}"
    else:
        words = clean(row["error_message"])
    click.secho(f"\n{row['status']} {words}", bold=True)
    return row
