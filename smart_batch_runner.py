"""Layer 2: one shard in one process — the wiring of worker threads, client, rate limiter and journal.

The supervisor starts it with ``--run-dir`` and ``--shard`` and feeds it trials over pipes. Run by itself it works
off one deployment's share of a run and merges its own journal:

    python smart_batch_runner.py --simulate --model qwen2.5-72b-instruct --deployment qwen-key1 --num-instances 20
"""

from __future__ import annotations

from commands.signals import heeding, leave_quietly

if __name__ == "__main__":
    leave_quietly()  # before all that takes time to import

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from batch_test_runner import AHEAD_S, Asked, TrialRunner, Work, WorkerPool
from processes.garbage import collect_seldom
from processes.messages import Message
from processes.one_core import OneCore
from trials.errors import Drained, RunnerError, StoreError
from trials.plan import TrialPlan
from trials.progress import ShardProgress, ending
from trials.words import Completion, Deployment, Opening, Trial, Workload
from trials.words import Message as ChatMessage

if TYPE_CHECKING:
    import logging

    from processes.asking import Asking
    from providers.keys import Environment
    from stores.journal import JournalWriter
    from stores.run_directory import RunDirectory
    from telemetry.tracing import Tracer
    from trials.spec import ShardOrder

TICK_S = 0.05
SWITCH_INTERVAL_S = 0.05
"""How long a thread may compute while others wait for the interpreter. Ten times Python's own: a trial computes for a
tenth of a millisecond between two exchanges, and with hundreds of workers each switch in the middle of one is a waste.
Measured in docs/performance.md, and so is what it brings to keep a shard on one core (processes/one_core.py).
"""

FAR_AHEAD_S = 0.6
"""For how long work should last that comes from another machine."""
RETURNED = "returned"
PROGRESS_EVERY_S = 0.5
EXIT_DONE, EXIT_CANNOT_WORK = 0, 3


class Feed(Protocol):
    """Where a shard's work comes from: the supervisor's pipe, or the shard itself when it runs alone."""

    inbox: queue.SimpleQueue[Message]

    def send(self, kind: str, **fields: Any) -> None:
        """Tell something to who feeds the shard."""
        ...

    def gone(self) -> bool:
        """Whether nobody feeds the shard any more."""
        ...


class Shard:
    """Runs the trials it is fed until it is told to finish, to drain, or nobody feeds it any more.

    ``serve`` is called by the main thread; ``drain`` may be called by a signal handler.
    """

    def __init__(
        self,
        *,
        plan: TrialPlan,
        deployment: Deployment,
        workload: Workload,
        asking: Asking,
        journal: JournalWriter,
        feed: Feed,
        log: logging.Logger,
        drain_timeout_s: float,
        tracer: Tracer | None = None,
        ahead_s: float = AHEAD_S,
    ) -> None:
        self._plan = plan
        self._workload = workload
        self._asking = asking
        self._journal = journal
        self._feed = feed
        self._log = log
        self._drain_timeout_s = drain_timeout_s
        self._tracer = tracer
        trace = tracer.trial if tracer else None
        self._runner = TrialRunner(workload, self._ask, self._record, Asked.of(deployment), trace)
        self._pool = WorkerPool(
            self._work,
            max_workers=deployment.workers,
            saturated=lambda: asking.model.limiter.waiting > 0,
            on_low=self._nudge,
            ahead_s=ahead_s,
        )
        self._ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._running: dict[int, threading.Event] = {}
        self._released: set[int] = set()
        self._dropped: set[int] = set()
        self._counts = ShardProgress(state="running")
        self._failure: RunnerError | None = None
        self._finishing = self._leaving = False
        self._drain_asked = False
        self._core = OneCore()
        self._progress_at = 0.0
        self._reported_at = 0.0
        self._wanted_at = 0.0
        self._nudged = False

    @property
    def draining(self) -> bool:
        """Whether an end was asked for."""
        return self._drain_asked

    def drain(self) -> None:
        """Begin nothing new; let requests in flight end."""
        self._drain_asked = True

    def serve(self) -> int:
        """Work until the end; return the exit code."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._feed.send("ready")
        self._want()
        while not self._over():
            self._heed(TICK_S)
            self._nudged = False
            self._pool.grow()
            self._core.keep()
            if time.monotonic() - self._reported_at >= TICK_S:
                self._report()
            self._want()
        self._leave()
        return EXIT_CANNOT_WORK if self._failure else EXIT_DONE

    def _over(self) -> bool:
        if self._failure or self._drain_asked:
            return True
        if self._feed.gone():
            self._log.warning("nobody feeds this shard any more; draining")
            return True
        return self._finishing and (not self._pool.loaded or self._nobody_waits())

    def _heed(self, timeout_s: float) -> None:
        """Handle the messages that wait, or the first that comes within the time."""
        try:
            message = self._feed.inbox.get(timeout=timeout_s)
            while True:
                self._handle(message)
                message = self._feed.inbox.get_nowait()
        except queue.Empty:
            return

    def _handle(self, message: Message) -> None:
        kind = message["type"]
        if kind == "assign":
            self._pool.add(self._work_of(message["trials"], message["begun"]))
            self._wanted_at = 0.0
        elif kind == "set_aside":
            self._pool.add(self._set_aside(message["reasons"], message["begun"]))
        elif kind == "recall":
            self._let_go(message["count"], running=message["running"])
        elif kind == "drop":
            self._dropped.update(self._running.keys() & message["trials"])
            self._halt(message["trials"])
        elif kind == "finish":
            self._finishing = True
        elif kind == "drain":
            self._drain_asked = True
        elif kind == "lease":
            self._asking.granted(message["scope"], message["grant"])

    def _work_of(self, numbers: Sequence[int], begun: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Work]:
        """Yield what was handed out, with the completions it has from an earlier process or from the cache."""
        now = time.time()
        trials = [self._plan.trial(number) for number in numbers]
        earlier = {int(number): tuple(map(Completion.from_json, told)) for number, told in begun.items()}
        openings: dict[int, Opening] = {}
        if self._asking.caches:
            made = ((trial, self._workload.opening(trial)) for trial in trials if trial.number not in earlier)
            openings = {trial.number: opening for trial, opening in made if opening is not None}
            asked = [(trial, openings[trial.number].messages) for trial in trials if trial.number in openings]
            earlier.update((number, (reply,)) for number, reply in self._asking.look_up(asked).items())
        for trial in trials:
            number = trial.number
            yield Work(trial=trial, earlier=earlier.get(number, ()), opening=openings.get(number), queued_at=now)

    def _set_aside(
        self, reasons: Mapping[str, str], begun: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> Iterator[Work]:
        """Yield trials that end without being run, with what was paid for them."""
        for number, reason in reasons.items():
            earlier = tuple(map(Completion.from_json, begun.get(number, ())))
            yield Work(trial=self._plan.trial(int(number)), earlier=earlier, set_aside=reason)

    def _let_go(self, count: int, *, running: bool) -> None:
        """Give back trials that have not begun; if asked to, half of those that run, each after its reply in flight."""
        numbers = [work.trial.number for work in self._pool.withdraw(count)]
        if running and not numbers:
            now_running = sorted(self._running)
            self._released.update(now_running[: -(-len(now_running) // 2)])
            if self._released:
                self._halt(list(self._released))
                return  # told one by one, as they come to a halt
        self._feed.send("returned", numbers=numbers)

    def _halt(self, numbers: Iterable[int]) -> None:
        """Let these trials come to a halt: those that wait at once, the others after their reply in flight."""
        for number in numbers:
            if (stop := self._running.get(number)) is not None:
                stop.set()
        self._asking.recheck()

    def _nobody_waits(self) -> bool:
        """Whether all that runs has an answer from another shard."""
        running = self._running.keys()
        return bool(self._dropped) and self._pool.busy == len(running) and self._dropped.issuperset(running)

    def _nudge(self) -> None:
        """Wake the main thread, for it to ask for more work."""
        if not self._nudged:
            self._nudged = True
            self._feed.inbox.put({"type": "low"})

    def _want(self) -> None:
        """Ask for more work when half of what should wait is gone; again after a while, if none came."""
        now = time.monotonic()
        if not self._finishing and self._pool.is_low and now - self._wanted_at > PROGRESS_EVERY_S:
            self._wanted_at = now
            self._feed.send("want", count=self._pool.wanted())

    def _work(self, work: Work) -> None:
        """Run one trial in a worker thread."""
        number = work.trial.number
        self._running[number] = threading.Event()
        try:
            row = self._runner.run(work)
        except RunnerError as problem:
            if self._failure is None:
                self._failure = problem
            self._halt(list(self._running))
            return
        finally:
            del self._running[number]
        if row is None and number in self._released:
            self._ended.put((RETURNED, number))
        self._released.discard(number)
        if row is not None:
            self._asking.model.meter.queued(row["queue_ms"])
        if number in self._dropped:
            self._dropped.discard(number)
        elif row is not None:
            if row["error_message"]:
                self._log.warning("trial %s: %s: %s", row["trial_key"], row["status"], row["error_message"])
            self._ended.put((ending(row), number))

    def _record(self, event: dict[str, Any]) -> None:
        """Write an event to the journal. Who comes second with an answer is recorded, and does not count."""
        if event["kind"] == "ended" and event["number"] in self._dropped:
            event = {**event, "kind": "beaten"}
        # Under load other lines follow at once. What ends a trial, or a turn of it, goes out with them: with that of
        # the next trial, as a rule, which its thread begins before it asks anything.
        self._journal.append(event, soon=event["kind"] != "begun")
        if event["kind"] == "begun" and "again" in event:
            # It may kill the process before whoever is writing now has written this as well, and must be known to run.
            self._journal.flush()

    def _ask(
        self,
        trial: Trial,
        messages: Sequence[ChatMessage],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        judge: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Completion:
        stop = self._running[trial.number]
        if self._failure or self._leaving or stop.is_set():
            raise Drained("this trial is to halt here")
        return self._asking.ask(trial, messages, tools, judge=judge, told=told, stop=stop)

    def _report(self) -> None:
        """Make what has ended durable, then tell it."""
        self._reported_at = time.monotonic()
        endings: dict[str, list[int]] = {}
        while not self._ended.empty():
            how, number = self._ended.get()
            endings.setdefault(how, []).append(number)
        try:
            self._journal.sync()
        except StoreError as problem:
            self._failure = problem
            return
        returned = endings.pop(RETURNED, [])
        if endings:
            self._feed.send("ended", endings=endings)
        if returned:
            self._feed.send("returned", numbers=returned)
        now = time.monotonic()
        if now - self._progress_at >= PROGRESS_EVERY_S:
            self._progress_at = now
            self._feed.send("progress", progress=self._progress().to_json())

    def _progress(self) -> ShardProgress:
        limiter, meter = self._asking.model.limiter, self._asking.model.meter
        self._counts.in_flight = self._pool.busy
        self._counts.workers = self._pool.threads
        self._counts.requests = meter.requests
        self._counts.requests_per_s = meter.rate.rate()
        self._counts.qps_limit = limiter.limit_qps
        self._counts.limit_reason = limiter.reason
        self._counts.rejected_429 = meter.rejected_429
        self._counts.latency_p50_ms = meter.latencies.percentile(50)
        self._counts.latency_p99_ms = meter.latencies.percentile(99)
        self._counts.traffic = self._asking.traffic()
        return self._counts

    def _take_grants(self) -> None:
        """Go on serving others on this node that share a limit; whatever else is said to who leaves is passed over."""
        while not self._feed.inbox.empty():
            message = self._feed.inbox.get()
            if message["type"] == "lease":
                self._handle(message)

    def _leave(self) -> None:
        """Stop the workers, keep what they still bring in, say goodbye."""
        self._counts.state = "draining" if self._drain_asked or self._failure else "done"
        self._leaving = True
        self._halt(list(self._running))
        self._pool.stop()
        give_up_at = time.monotonic() + self._drain_timeout_s
        while not self._nobody_waits() and not self._pool.join(TICK_S) and time.monotonic() < give_up_at:
            self._take_grants()
            self._report()
        if isinstance(self._failure, StoreError):
            self._log.error("the journal takes no more: %s", self._failure)
        self._progress_at = 0.0
        self._report()
        if self._failure is not None:
            fatal = isinstance(self._failure, StoreError)
            self._feed.send("fatal", message=str(self._failure), everyone=fatal)
        try:
            self._journal.close()
        except StoreError as problem:
            self._log.error("%s", problem)
        self._asking.close()
        if self._tracer is not None:
            self._tracer.close()


def open_shard(
    run: RunDirectory, number: int, order: ShardOrder, *, feed: Feed, workload: Workload, environment: Environment
) -> Shard:
    """Wire one shard together. Raises UsageError without a key, StoreError if its journal is in use."""
    from processes.asking import open_asking, open_tracer, secrets_of
    from stores.journal import JournalWriter
    from telemetry.logs import open_log

    log = open_log(run.shard_dir(number) / "shard.log", debug=order.debug, secrets=secrets_of(order, environment))
    tracer = open_tracer(order, run.spec, environment, log) if order.trace else None

    def tell(text: str) -> None:
        log.warning("%s", text)
        feed.send("note", text=text)

    def lease(scope: str, report: dict[str, Any]) -> None:
        feed.send("lease", scope=scope, report=report)

    return Shard(
        plan=TrialPlan(run.spec, workload),
        workload=workload,
        deployment=order.deployment,
        asking=open_asking(order, run.spec, environment, log, tracer=tracer, tell=tell, lease=lease),
        journal=JournalWriter(run.journal_path(number)),
        feed=feed,
        log=log,
        drain_timeout_s=order.drain_timeout_s,
        tracer=tracer,
        ahead_s=FAR_AHEAD_S if order.leases else AHEAD_S,
    )


def serve_supervisor(run_path: Path, number: int) -> int:
    """Run as the supervisor's child: fed over standard input, reporting on standard output."""
    from commands.workloads import open_workload
    from processes.parent import Parent
    from providers.keys import Environment
    from stores.run_directory import open_run
    from trials.spec import ShardOrder

    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    collect_seldom()
    run = open_run(run_path)
    order = ShardOrder.from_json(run.read_json(f"shards/{number:02d}/shard.json"))
    parent = Parent(sys.stdin.fileno(), sys.stdout.fileno(), silence_s=order.silence_s)
    try:
        workload = open_workload(run.spec, run.banks_dir)
        shard = open_shard(run, number, order, feed=parent, workload=workload, environment=Environment.read())
    except RunnerError as problem:
        parent.send("fatal", message=str(problem), everyone=False)
        return EXIT_CANNOT_WORK
    signal.signal(signal.SIGTERM, lambda *_: shard.drain())
    return shard.serve()


def serve_alone(values: dict[str, Any], name: str | None) -> int:
    """Work off one deployment's share of a run without a supervisor, then merge its journal."""
    from commands.alone import prepare_alone
    from processes.own_feed import OwnFeed

    with prepare_alone(values, name) as alone:
        feed = OwnFeed(alone.dispatcher, alone.number, alone.begun, alone.show)
        shard = open_shard(
            alone.run,
            alone.number,
            alone.order,
            feed=feed,
            workload=alone.request.workload,
            environment=alone.environment,
        )

        signal_number = 0

        def interrupted(number: int, _frame: Any) -> None:
            nonlocal signal_number
            if shard.draining:
                os._exit(128 + number)
            signal_number = number
            shard.drain()

        with heeding(interrupted):
            code = shard.serve()
        return alone.finish(code, feed.failure, signal_number)


def main() -> None:
    """Parse the command line: a supervisor's child, or a shard that runs alone."""
    if sys.argv[1:2] == ["--run-dir"]:
        # The supervisor's form is read by hand: a shard should be at work before click is even imported.
        code = serve_supervisor(Path(sys.argv[2]), int(sys.argv[4]))
        sys.stdout.flush()
        os._exit(code)  # worker threads may still wait for a provider; what they hold is pending

    import click

    from commands.options import run_options, run_program

    @click.command(help=(__doc__ or "").partition("\n")[0])
    @click.option("--deployment", metavar="NAME", help="Which deployment or key to work for.  [default: the first]")
    @run_options
    def shard_alone(deployment: str | None, **values: Any) -> int:
        return serve_alone(values, deployment)

    run_program(shard_alone)


if __name__ == "__main__":
    main()
