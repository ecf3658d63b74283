"""Single trials aloud: ``batch_test_runner.py`` by itself prints every message as it comes, and stores nothing."""

from __future__ import annotations

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
from providers.catalog import simulated
from providers.client import ChatClient
from providers.keys import Environment, find_key
from providers.rates import limiter_for
from providers.transport import open_transport
from providers.wire import trial_header
from telemetry.wording import clean
from trials.errors import ProviderError, UsageError
from trials.plan import TrialPlan
from trials.rows import Row
from trials.words import SCORED, Completion, Deployment, Message, Trial
from workflows.workload import WorkflowWorkload

Run = Callable[[Trial], Row | None]
SHOWN = ("coverage", "order", "execution", "recovery", "efficiency")


class Aloud:
    """Prints what is new in a conversation whenever it is sent, and each reply."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self._stop = threading.Event()
        self._printed = 0

    def ask(self, trial: Trial, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None) -> Completion:
        """Ask for a completion, printing both sides."""
        self._print(messages)
        completion = self._client.ask(
            messages, tools, sampling=trial.cell.sampling, stop=self._stop, trial_header=trial_header(trial)
        )
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


def run_aloud(
    values: Mapping[str, Any], count: str, make_run: Callable[[WorkflowWorkload, Aloud, Deployment], Run]
) -> int:
    """Run the first trials of a run and print them; return the exit code."""
    environment = Environment.read()
    request = resolve(values, environment)
    plan = TrialPlan(request.spec, request.workload)
    wanted = whole("--count", count, 1, len(plan))
    with ExitStack() as stack:
        deployment = request.deployments[0]
        if request.spec.simulated and not request.simulator_url:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "simulator.log"
            deployment = simulated(deployment, stack.enter_context(OwnSimulator(log, request.spec)).url)
        key = find_key(deployment, environment)
        if key is None:
            raise UsageError(f"no key for {deployment.name}")
        client = ChatClient(
            deployment=deployment,
            key=key,
            limiter=limiter_for(deployment.qps, request.options.rate_mode),
            transport=open_transport(request.options.transport),
            observe=lambda seen: None,
        )
        aloud = Aloud(client)
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
        words = f"{row['outcome']}: " + ", ".join(f"{name} {row[name]:.3g}" for name in SHOWN if row[name] is not None)
    else:
        words = clean(row["error_message"])
    click.secho(f"\n{row['status']} {words}", bold=True)
    return row
