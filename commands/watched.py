"""A run that is watched from outside: turns what the supervisor's loop knows into figures for ``--metrics-port``.

While a run goes on, its trials are counted as the supervisor counts them: how they stood before, and what has ended
since. Once it is merged they are counted from the rows themselves, and those figures stay up until whoever watches
has fetched them. Without ``--metrics-port`` all of this does nothing.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from commands.signals import Interrupted
from processes.dispatch import Dispatcher
from processes.supervisor import ShardState
from telemetry.metrics import STANDING, RunFigures, ShardFigures
from trials.progress import RunView, ending
from trials.words import PENDING, PROVIDER_ERROR, Deployment

if TYPE_CHECKING:
    from commands.ledger import Ledger
    from commands.request import Request
    from telemetry.metrics_server import MetricsServer

PUBLISH_EVERY_S = 0.5
Standings = Counter[tuple[str, str, str]]
"""Trials by model, status and outcome."""


class Watch:
    """What is served of one run; a context manager around it. Used by the supervisor's thread alone."""

    def __init__(self, request: Request) -> None:
        """Start to listen, if that is asked for. Raises UsageError if the port cannot be had."""
        options = request.options
        self._server: MetricsServer | None = None
        self._judge = request.judge
        self._here = options.engine == "local"
        self._simulated = request.spec.simulated
        self._run_id = ""
        self._planned: Counter[str] = Counter()
        self._kept: Standings = Counter()
        self._started_at = time.time()
        self._published_at = float("-inf")
        self._shards: tuple[ShardFigures, ...] = ()
        self._lingers = False
        if options.metrics_port is not None:
            from telemetry.metrics_server import MetricsServer

            self._server = MetricsServer(options.metrics_host, options.metrics_port)

    @property
    def url(self) -> str:
        """Where the metrics are; empty if they are nowhere."""
        return self._server.url if self._server is not None else ""

    def begin(self, ledger: Ledger, done: Container[int]) -> None:
        """Take note of how the trials stand that need no asking (``done``)."""
        if self._server is None:
            return
        self._run_id = ledger.run.run_id
        for group in ledger.plan.groups:
            self._planned[group.model] += len(group.numbers)
        self._kept = _standings(ledger, done)
        self._publish(self._kept, "running", None, {})

    def show(
        self,
        view: RunView,
        shards: Sequence[ShardState],
        dispatcher: Dispatcher,
        deployments: Mapping[int, Deployment],
    ) -> None:
        """Publish how the run stands, twice a second."""
        now = time.monotonic()
        if self._server is None or (now - self._published_at < PUBLISH_EVERY_S and not all(one.over for one in shards)):
            return
        self._published_at = now
        totals = {shard.number: one.progress for shard, one in zip(shards, view.shards, strict=True)}
        queued = _queued(shards, dispatcher, deployments)
        self._shards = tuple(
            ShardFigures(
                number=shard.number,
                deployment=deployments[shard.number],
                endings=dict(shard.endings),
                progress=totals[shard.number],
                queued=queued[shard.number],
                held=len(dispatcher.held(shard.number)),
                restarts=shard.restarts,
                up=shard.child is not None,
            )
            for shard in shards
        )
        trials = Counter(self._kept)
        for one in self._shards:
            for name, count in one.endings.items():
                key = (one.deployment.model, *STANDING[name])
                trials[key] += count
        here = self._here
        pids = {shard.child.pid: shard.number for shard in shards if here and shard.child is not None}
        self._publish(trials, view.state, view.eta_s, pids)

    def end(self, ledger: Ledger, *, interrupted: bool) -> None:
        """Publish the last figures, counted from the rows; they stay up for who watches, unless interrupted."""
        if self._server is None:
            return
        trials = _standings(ledger, range(len(ledger.plan)))
        state = "stopped" if sum(trials.values()) < len(ledger.plan) else "finished"
        if any(count and status == PROVIDER_ERROR for (_, status, _), count in trials.items()):
            state = "stopped"  # the same command would ask these again
        self._shards = tuple(replace(shard, queued=0, held=0) for shard in self._shards)
        self._publish(trials, state, 0.0, {}, last=True)
        self._lingers = not interrupted

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        patience_s = self._server.linger_s() if kind is None and self._lingers else 0.0
        try:
            if patience_s:
                print(f"metrics   up to {patience_s:.0f} s for a last look from outside; Ctrl-C skips it", flush=True)
                self._server.linger()
        except Interrupted as leaving:
            if leaving.number != signal.SIGINT:
                raise
        finally:
            self._server.close()

    def _publish(
        self, trials: Standings, state: str, eta_s: float | None, pids: Mapping[int, int], *, last: bool = False
    ) -> None:
        assert self._server is not None
        known = Counter[str]()
        for (model, _, _), count in trials.items():
            known[model] += count
        pending = {(model, PENDING, ""): planned - known[model] for model, planned in self._planned.items()}
        figures = RunFigures(
            run_id=self._run_id,
            simulated=self._simulated,
            state=state,
            started_at=self._started_at,
            trials={**trials, **pending},
            shards=self._shards,
            judge=self._judge,
            eta_s=eta_s,
        )
        self._server.publish(figures, pids, last=last)


def _standings(ledger: Ledger, numbers: Container[int]) -> Standings:
    """Count the rows of these trials that count."""
    found: Standings = Counter()
    for number, row in ledger.rows(("trial_key", "status", "outcome", "model")):
        if number in numbers:
            key = (row["model"], *STANDING[ending(row)])
            found[key] += 1
    return found


def _queued(
    shards: Sequence[ShardState], dispatcher: Dispatcher, deployments: Mapping[int, Deployment]
) -> dict[int, int]:
    """Return how many trials of each shard have not been handed out; none where nobody is left to do them."""
    working = {deployments[one.number].model for one in shards if not one.over}
    return {
        one.number: max(
            0,
            dispatcher.share_now(one.number)
            - dispatcher.earlier[one.number]
            - one.ended
            - len(dispatcher.held(one.number)),
        )
        if deployments[one.number].model in working
        else 0
        for one in shards
    }
