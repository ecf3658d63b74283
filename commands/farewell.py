"""Tells how a start of a run ended: in the file ``DONE`` of its directory, and to the address of ``--notify``.

The file is there from the end of one start to the beginning of the next, so a run without it, at which nobody works,
was killed. Neither the file nor the message ever changes how the run ends.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import click

from commands.budget import Budget
from commands.options import EXIT_NOT_STARTED, EXIT_SCORED, EXIT_UNSCORED
from commands.request import Request
from commands.signals import interruption_in
from stores.run_directory import RunDirectory
from telemetry.notify import FAILED, FINISHED, INTERRUPTED, UNSCORED, ending
from trials.errors import RunnerError

DONE = "DONE"
_KILLED_FROM = 128


class Farewell:
    """One start of a run; a context manager within its lock. ``post`` belongs behind it: it may take ten seconds."""

    def __init__(self, request: Request, directory: RunDirectory) -> None:
        self._request = request
        self._directory = directory
        self._budget: Budget | None = None
        self._began_at = time.monotonic()
        self._counts: Mapping[str, int] = {}
        self._ending: dict[str, Any] | None = None
        (directory.path / DONE).unlink(missing_ok=True)

    def spends_from(self, budget: Budget) -> None:
        """Take note of what knows the cost of the run."""
        self._budget = budget

    def standing(self, counts: Mapping[str, int]) -> None:
        """Take note of how many trials have each status."""
        self._counts = counts

    def ended(self, counts: Mapping[str, int], exit_code: int, *, bound: str) -> None:
        """Take note of how the run ended; ``bound`` names the outcome if a bound ended it."""
        self.standing(counts)
        if exit_code == EXIT_SCORED:
            outcome = FINISHED
        elif exit_code > _KILLED_FROM:
            outcome = INTERRUPTED
        elif exit_code == EXIT_NOT_STARTED:
            outcome = FAILED
        else:
            outcome = bound or UNSCORED
        self._tell(outcome, exit_code)

    def __enter__(self) -> Farewell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (interrupted := interruption_in(value)) is not None:
            self._tell(INTERRUPTED, interrupted.exit_code)
        elif value is not None:
            message = str(value) if isinstance(value, RunnerError) else type(value).__name__
            self._tell(FAILED, EXIT_UNSCORED, message)
        if self._ending is None:
            return
        try:
            self._directory.write_json(DONE, self._ending)
        except (OSError, RunnerError) as problem:
            click.echo(f"warning: {self._directory.path / DONE} cannot be written: {problem}", err=True)

    def post(self) -> None:
        """Send the ending to who wants to hear of it; what does not arrive is told, once."""
        address = self._request.notify
        if address is None or self._ending is None:
            return
        from providers.webhook import host_of, post_json

        if problem := post_json(address, self._ending):
            click.echo(f"warning: --notify: {host_of(address)} was not told of the end: {problem}", err=True)

    def _tell(self, outcome: str, exit_code: int, message: str = "") -> None:
        self._ending = ending(
            run_id=self._directory.run_id,
            outcome=outcome,
            exit_code=exit_code,
            simulated=self._request.spec.simulated,
            counts=self._counts,
            duration_s=time.monotonic() - self._began_at,
            cost_usd=self._budget.usd if self._budget else None,
            max_cost_usd=self._request.options.max_cost_usd,
            results_dir=str(self._directory.results_dir),
            ended_at=time.time(),
            message=message,
        )
