"""A run under way: starts its shards, reads their journals, shows how it stands; handed to the supervisor's loop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import orjson

from commands.bounds import Bounds
from commands.budget import Budget
from commands.ledger import Standing, begun
from commands.request import Request
from commands.watched import Watch
from processes.deaths import out_of_memory_kills
from processes.dispatch import Dispatcher
from processes.engine import Engine, Inbox, ShardProcess
from processes.hedging import Hedging
from processes.supervisor import Replay, ShardState, Start, Supervisor
from stores.journal import replay, unended, written_bytes
from stores.run_directory import RunDirectory
from telemetry.eta import Eta
from telemetry.latency import RateMeter
from telemetry.live import Display
from telemetry.logs import open_log
from telemetry.run_trace import RunTrace
from telemetry.shard_table import SILENT
from telemetry.slowdowns import Slowdowns
from trials.plan import TrialPlan
from trials.progress import RunView, ShardView
from trials.words import HARNESS_ERROR, PENDING, PROVIDER_ERROR, SCORED, Deployment

STATUS_EVERY_S = 1.0
SILENT_AFTER_S = 3.0
"""A shard says how it stands twice a second; people see of one that does not long before it is given up."""


class RunUnderWay:
    """One run under way: what the supervisor's loop is handed, and what people see of it."""

    def __init__(
        self,
        request: Request,
        plan: TrialPlan,
        before: Standing,
        directory: RunDirectory,
        display: Display,
        deployments: Mapping[int, Deployment],
        watch: Watch,
        budget: Budget,
        bounds: Bounds,
        engine: Engine,
    ) -> None:
        options = request.options
        done = before.done(retry_errors=options.retry_errors)
        self.signal_number = 0
        self.trace: RunTrace | None = None
        self._request = request
        self._before = before.counts()
        errors = self._before[PROVIDER_ERROR] + self._before[HARNESS_ERROR]
        self._asked_again = errors - (len(done) - self._before[SCORED])
        self._planned = len(plan)
        self._directory = directory
        self._display = display
        self._deployments = deployments
        self._engine = engine
        self._watch = watch
        if watch.url:
            display.note(f"metrics at {watch.url}")
        self._log = open_log(directory.path / "supervisor.log", debug=False, secrets=[], warn=display.note)
        self._began_at = time.monotonic()
        self._pace = RateMeter()
        self._ended = 0
        self._slowdowns = Slowdowns()
        self._budget = budget
        self._bounds = bounds
        # Where work moves between shards of a model they end together; where it does not, each ends by itself.
        pull = options.balance == "pull"
        self._team = {number: one.model if pull else str(number) for number, one in deployments.items()}
        self._etas = {team: Eta() for team in self._team.values()}
        self._status_at = 0.0
        self.dispatcher = Dispatcher(plan, request.shard_models(), done=done, balance=options.balance)
        self.supervisor = Supervisor(
            self.dispatcher,
            _starts(deployments),
            self,
            wait_for_ready=options.stagger_s is None,
            begun=begun(directory, before.pending()),
            stall_timeout_s=options.stall_timeout_s,
            drain_timeout_s=options.drain_timeout_s,
            hedging=Hedging() if options.hedge else None,
            # Of other machines it is not known whether the kernel killed for want of memory.
            out_of_memory=out_of_memory_kills if options.engine == "local" else lambda: 0,
        )

    def interrupt(self, number: int, _frame: Any) -> None:
        """Handle a signal that asks for an end."""
        self.signal_number = number
        self.supervisor.interrupt()

    def launch(self, shard: int, inbox: Inbox) -> ShardProcess:
        """Start a shard's process."""
        child = self._engine.launch(shard, inbox)
        place = f"as process {child.pid}" if child.pid else "on a node of the cluster"
        self._log.info("shard %d (%s) started %s", shard, self._deployments[shard].name, place)
        if self.trace is not None:
            self.trace.started(shard, child.pid)
        return child

    def replay(self, shard: int, held: Set[int], since: int) -> Replay:
        """Read what a shard has written of trials since they were handed to it."""
        return Replay(*replay(self._directory.journal_path(shard), held, since))

    def unended(self, shard: int, held: Set[int], since: int) -> Mapping[int, int]:
        """Read which trials a shard has begun and not ended."""
        return unended(self._directory.journal_path(shard), held, since)

    def written(self, shard: int) -> int:
        """Look up how much a shard has written."""
        return written_bytes(self._directory.journal_path(shard))

    def note(self, text: str) -> None:
        """Tell the user, and the log."""
        self._log.info("%s", text)
        self._display.note(text)

    def show(self, shards: Sequence[ShardState]) -> None:
        """Show the run, and leave its picture for ``status``; wind it down once it has reached a bound."""
        over = all(shard.over for shard in shards)
        if self._bounds.look(over=over):
            self.supervisor.wind_down()
        view = self._view(shards)
        self._display.show(view)
        self._watch.show(view, shards, self.dispatcher, self._deployments)
        now = time.monotonic()
        self._trace_ended(shards)
        if over or now - self._status_at >= STATUS_EVERY_S:
            self._status_at = now
            _write_status(self._directory.path / "status.json", view)

    def counts(self) -> dict[str, int]:
        """Count how the trials stand by now, as far as shards have told."""
        view = self._view(self.supervisor.shards)
        return {
            SCORED: view.scored,
            PROVIDER_ERROR: view.provider_errors,
            HARNESS_ERROR: view.harness_errors,
            PENDING: view.pending,
        }

    def end_trace(self) -> None:
        """End the spans of shards and run, if they are traced."""
        if self.trace is None:
            return
        self._trace_ended(self.supervisor.shards)
        view = self._view(self.supervisor.shards)
        counts = {name: getattr(view, name) for name in ("scored", "provider_errors", "harness_errors", "pending")}
        self.trace.close({f"eval.{name}": count for name, count in counts.items()}, signal_number=self.signal_number)

    def _trace_ended(self, shards: Sequence[ShardState]) -> None:
        for shard in shards:
            if self.trace is not None and shard.over:
                self.trace.shard_over(shard.number, shard.total, restarts=shard.restarts, failure=shard.failure)

    def _view(self, shards: Sequence[ShardState]) -> RunView:
        etas = self._eta_by_team(shards)
        views = tuple(self._shard_view(shard, etas[self._team[shard.number]]) for shard in shards)
        ended = sum(shard.endings.total() for shard in shards)
        self._pace.record(ended - self._ended)
        self._ended = ended
        elapsed_s = time.monotonic() - self._began_at
        provider_errors = sum(shard.endings["provider_errors"] for shard in shards)
        harness_errors = sum(shard.endings["harness_errors"] for shard in shards)
        kept_errors = self._before[HARNESS_ERROR] + self._before[PROVIDER_ERROR] - self._asked_again
        scored = self._before[SCORED] + ended - provider_errors - harness_errors
        pending = self._planned - scored - provider_errors - harness_errors - kept_errors
        return RunView(
            run_id=self._directory.run_id,
            state="draining" if self.supervisor.draining else "running",
            simulated=self._request.spec.simulated,
            planned=self._planned,
            scored=scored,
            provider_errors=provider_errors,
            harness_errors=harness_errors + kept_errors,
            pending=pending,
            elapsed_s=elapsed_s,
            shards=views,
            eta_s=None if None in etas.values() else max(filter(None, etas.values()), default=0.0),
            message=self._bounds.in_words(),
            cost_usd=self._budget.usd,
            max_cost_usd=self._budget.bound_usd,
            deadline_s=self._bounds.left_s,
            cache_hits=sum(one.progress.traffic.get("cache", {}).get("hit", 0) for one in views),
            trials_per_s=self._pace.rate(),
            slowdown=self._slowdowns.latest(views, elapsed_s),
            metrics_url="" if all(shard.over for shard in shards) else self._watch.url,
        )

    def _eta_by_team(self, shards: Sequence[ShardState]) -> dict[str, float | None]:
        ended, left = Counter[str](), Counter[str]()
        for shard in shards:
            team = self._team[shard.number]
            ended[team] += shard.ended
            left[team] += self.dispatcher.share_now(shard.number) - self.dispatcher.earlier[shard.number] - shard.ended
        return {team: eta.update(ended[team], max(0, left[team])) for team, eta in self._etas.items()}

    def _shard_view(self, shard: ShardState, eta_s: float | None) -> ShardView:
        deployment, progress = self._deployments[shard.number], shard.total
        share = self.dispatcher.share_now(shard.number)
        earlier = self.dispatcher.earlier[shard.number]
        rss, cpu = shard.child.usage() if shard.child is not None else (0, 0.0)
        progress.message = shard.failure or progress.message
        if shard.child is not None and shard.ready and time.monotonic() - shard.heard_at >= SILENT_AFTER_S:
            progress.state, progress.requests_per_s = SILENT, 0.0
            replaced_s = self._request.options.stall_timeout_s
            progress.message = f"nothing is heard of it; after {replaced_s:g} s it is replaced"
        return ShardView(
            number=shard.number,
            model=deployment.model,
            deployment=deployment.name,
            total=share,
            earlier=earlier,
            progress=progress,
            rss_bytes=rss,
            cpu_percent=cpu,
            restarts=shard.restarts,
            eta_s=0.0 if shard.over else eta_s,
            cost_usd=self._budget.usd_of(shard.number),
        )


def _starts(deployments: Mapping[int, Deployment]) -> dict[int, Start]:
    """Shards of one model start one after another; the first of each model starts at once."""
    last: dict[str, int] = {}
    starts = {}
    for number, deployment in deployments.items():
        starts[number] = Start(last.get(deployment.model), deployment.start_delay_s)
        last[deployment.model] = number
    return starts


def _write_status(path: Path, view: RunView) -> None:
    """Leave a picture for other terminals; one that cannot be written is no reason to stop."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.touch(0o600)
        temporary.write_bytes(orjson.dumps(view.to_json()))
        temporary.replace(path)
    except OSError:
        return
