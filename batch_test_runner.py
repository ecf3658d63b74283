"""Layer 3: the worker threads that run trials, one at a time each.

Knows neither files nor HTTP: it is handed ``ask`` (a completion for a trial), ``record`` (an event for the journal) and
a workload. Run by itself it prints the whole conversation of single trials as it happens:

    python batch_test_runner.py --model qwen2.5-72b-instruct --count 1 --simulate
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from trials.errors import Drained, ProviderError, StoreError
from trials.per_cell import PerCell
from trials.record import record
from trials.rows import Cost, Row, own_fields, shared_fields
from trials.words import (
    HARNESS_ERROR,
    PROVIDER_ERROR,
    SCORED,
    Completion,
    Deployment,
    Marked,
    Message,
    Opening,
    Trial,
    Workload,
)

if TYPE_CHECKING:
    from commands.aloud import Aloud

KILLED_PROCESS = "KilledProcess"
"""The error category of a trial that is not run any more since its process always dies of it."""

AHEAD_S = 0.2
"""For how long the work that waits should last."""

Record = Callable[[dict[str, Any]], object]


class Ask(Protocol):
    """Get one completion for a trial. ``judge`` and ``told`` are those of ``Chat``. Raises ProviderError or Drained."""

    def __call__(
        self,
        trial: Trial,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        judge: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Completion: ...


@record
class Work:
    """A trial to run, and when it was handed out.

    ``earlier`` are the completions it already has, from an earlier process or from the cache; ``opening`` is its first
    request, if that had to be made to look into the cache. A trial that is ``set_aside`` is not run: that is why.
    """

    trial: Trial
    earlier: tuple[Completion, ...] = ()
    opening: Opening | None = None
    queued_at: float = 0.0
    set_aside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who is asked, as it stands on every row; of one that is not ``priced`` no row says what it cost."""

    provider: str
    deployment: str
    simulated: bool
    priced: bool = False

    @classmethod
    def of(cls, deployment: Deployment) -> Asked:
        """Return what the rows of a deployment say."""
        return cls(
            provider=deployment.provider,
            deployment=deployment.name,
            simulated=deployment.simulated,
            priced=deployment.price is not None,
        )


class TrialTrace(Protocol):
    """A trial that is traced; a context, which ends when the trial does."""

    def __enter__(self) -> TrialTrace: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: Any) -> None: ...

    def asking(self, ask: Ask) -> Ask:
        """Return the same way of asking, each request traced."""
        ...

    def ended(self, row: Row | None) -> Row | None:
        """Take note of how the trial ended, and return the row."""
        ...


class Trace(Protocol):
    """Begin to trace a trial; None for one that is not sampled."""

    def __call__(self, trial: Trial, *, queued_at: float, earlier: Sequence[Completion]) -> TrialTrace | None: ...


class TrialRunner:
    """Runs trials and records what happens. Thread-safe as far as ``ask``, ``record`` and the workload are.

    A trial's events are ``begun``, a ``completion`` per request, ``ended`` with its row's fields, its own and those
    that it shares with its cell, and the conversation.
    """

    def __init__(self, workload: Workload, ask: Ask, record: Record, asked: Asked, trace: Trace | None = None) -> None:
        self._workload = workload
        self._ask = ask
        self._record = record
        self._asked = asked
        self._trace = trace
        definition = workload.definition
        self._shared = PerCell(
            lambda cell: shared_fields(
                cell,
                definition,
                simulated=asked.simulated,
                provider=asked.provider,
                deployment=asked.deployment,
            )
        )

    def run(self, work: Work) -> Row | None:
        """Run one trial to its end; return its row's own fields, or None if the run is draining and it stays pending.

        Whatever goes wrong inside a trial becomes its status. Raised are only a StoreError (the journal takes no more)
        and a fatal ProviderError (this deployment cannot be asked at all), after which the trial is pending, too.
        """
        if self._trace is None:
            return self._run(work, self._ask)
        traced = self._trace(work.trial, queued_at=work.queued_at, earlier=work.earlier)
        if traced is None:
            return self._run(work, self._ask)
        with traced:
            return traced.ended(self._run(work, traced.asking(self._ask)))

    def _run(self, work: Work, ask: Ask) -> Row | None:
        trial = work.trial
        cost = Cost(started_at=time.time(), cost_usd=0.0 if self._asked.priced else None)
        cost.queue_ms = max(0.0, (cost.started_at - work.queued_at) * 1000) if work.queued_at else 0.0
        begun: dict[str, Any] = {"kind": "begun", "number": trial.number, "trial_key": trial.trial_key}
        if work.earlier:
            begun["again"] = True  # nothing is waited for before it goes on
        self._record(begun)
        if work.set_aside:
            for completion in work.earlier:
                cost.add(completion)
            return self._end(trial, cost, HARNESS_ERROR, KILLED_PROCESS, work.set_aside)
        try:
            marked = self._workload.run(trial, self._chat(work, cost, ask), work.opening)
        except Drained:
            return None
        except StoreError:
            raise
        except ProviderError as problem:
            if problem.fatal:
                raise
            cost.attempts += problem.attempts
            return self._end(trial, cost, PROVIDER_ERROR, problem.kind, str(problem))
        except Exception as problem:  # the one boundary: a defect of ours must not take the shard along
            place = traceback.extract_tb(problem.__traceback__)[-1]
            message = f"{type(problem).__name__}: {problem} ({place.name}, line {place.lineno} of {place.filename})"
            return self._end(trial, cost, HARNESS_ERROR, type(problem).__name__, message)
        return self._end(trial, cost, SCORED, marked=marked)

    def _chat(self, work: Work, cost: Cost, ask: Ask) -> Callable[..., Completion]:
        index = 0
        # What came out of the cache can be had there again: it is written only once something follows that cannot.
        unwritten: list[dict[str, Any]] = []

        def chat(
            messages: Sequence[Message],
            tools: Sequence[Mapping[str, Any]] | None = None,
            *,
            judge: bool = False,
            told: Mapping[str, Any] | None = None,
        ) -> Completion:
            nonlocal index
            again = index < len(work.earlier)
            completion = work.earlier[index] if again else ask(work.trial, messages, tools, judge=judge, told=told)
            # Those of an earlier process are recorded again, so that each journal can be replayed by itself.
            event = {"kind": "completion", "number": work.trial.number, "index": index, "completion": completion}
            if again:
                event["again"] = True  # its cost has been counted
            unwritten.append(event)
            if not completion.cached:
                for event in unwritten:
                    self._record(event)
                unwritten.clear()
            index += 1
            cost.add(completion, judge=judge)
            return completion

        return chat

    def _end(
        self,
        trial: Trial,
        cost: Cost,
        status: str,
        error_category: str = "",
        error_message: str = "",
        marked: Marked | None = None,
    ) -> Row:
        cost.ended_at = time.time()
        row = own_fields(
            trial,
            status=status,
            cost=cost,
            marked=marked,
            error_category=error_category,
            error_message=error_message,
        )
        event: dict[str, Any] = {
            "kind": "ended",
            "number": trial.number,
            "row": row,
            "shared": self._shared(trial.cell),
        }
        if marked is not None:
            event |= {"conversation": marked.conversation, "detail": marked.detail}
        self._record(event)
        return row


class WorkerPool:
    """Threads that run work from one queue. A new one starts only when work waits and another would help.

    ``saturated()`` says that more threads would not help now (the rate limit holds the present ones back).
    ``on_low()`` is called when work is taken and ``is_low``; what waits should last for ``ahead_s``. ``work(item)``
    must not raise.
    """

    def __init__(
        self,
        work: Callable[[Work], None],
        *,
        max_workers: int,
        saturated: Callable[[], bool] = lambda: False,
        on_low: Callable[[], None] = lambda: None,
        ahead_s: float = AHEAD_S,
    ) -> None:
        self._work = work
        self._ahead_s = ahead_s
        self._max_workers = max_workers
        self._saturated = saturated
        self._on_low = on_low
        self._items: deque[Work] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stopping = False
        self._idle = 0
        self._busy = 0
        self._threads = 0
        self._taken = 0
        self._added_at = time.monotonic()
        self._ahead = 0

    @property
    def threads(self) -> int:
        """Worker threads alive."""
        return self._threads

    @property
    def busy(self) -> int:
        """Workers that run a trial now."""
        return self._busy

    @property
    def loaded(self) -> bool:
        """Whether any work waits or runs."""
        return bool(self._items or self._busy)

    @property
    def is_low(self) -> bool:
        """Whether fewer items wait than half of what should."""
        return len(self._items) <= max(self._threads, self._ahead // 2)

    def wanted(self) -> int:
        """How many more items are welcome now.

        Twice as many should wait as there are threads, and as many as are taken up within ``ahead_s``: trials whose
        replies come out of the cache take so little time that threads would be idle while the next ones are on their
        way, and from another machine they come later still.
        """
        return max(0, max(2 * max(1, self._threads), self._ahead) - len(self._items))

    def add(self, items: Iterable[Work]) -> None:
        """Queue work and start threads for it as needed."""
        more = list(items)
        now = time.monotonic()
        with self._changed:
            self._ahead = int(self._taken / max(now - self._added_at, AHEAD_S / 10) * self._ahead_s)
            self._taken, self._added_at = 0, now
            self._items.extend(more)
            self._changed.notify(len(self._items))
        self.grow()

    def grow(self) -> None:
        """Start another thread if work waits for one. The thread does the same once it has taken its first item."""
        if self._threads >= self._max_workers:
            return
        with self._lock:
            if not self._items or self._idle or self._stopping or self._threads >= self._max_workers:
                return
            if self._threads and self._saturated():
                return
            self._threads += 1
            number = self._threads
        threading.Thread(target=self._loop, name=f"worker-{number}", daemon=True).start()

    def withdraw(self, count: int) -> list[Work]:
        """Return up to ``count`` items that no worker has taken up, the last ones; they are no longer this pool's."""
        with self._changed:
            return [self._items.pop() for _ in range(min(count, len(self._items)))]

    def stop(self) -> list[Work]:
        """Take no more work up; return what had not begun. Running trials go on."""
        with self._changed:
            self._stopping = True
            left = list(self._items)
            self._items.clear()
            self._changed.notify_all()
        return left

    def join(self, timeout_s: float) -> bool:
        """Wait until no trial runs; return whether that was so within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout_s)

    def _loop(self) -> None:
        while (item := self._next()) is not None:
            self.grow()
            try:
                self._work(item)
            finally:
                with self._lock:
                    self._busy -= 1
                    if self._stopping and not self._busy:
                        self._changed.notify_all()

    def _next(self) -> Work | None:
        with self._lock:
            while not self._items and not self._stopping:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            if self._stopping:
                self._threads -= 1
                return None
            self._busy += 1
            self._taken += 1
            item = self._items.popleft()
        if self.is_low:
            self._on_low()
        return item


def main() -> None:
    """Print the conversations of single trials as they happen; nothing is stored."""
    import click

    from commands.options import run_options, run_program

    def make_run(workload: Workload, aloud: Aloud, deployment: Deployment) -> Callable[[Trial], Row | None]:
        runner = TrialRunner(workload, aloud.ask, aloud.record, Asked.of(deployment))
        return lambda trial: runner.run(Work(trial=trial))

    @click.command(help="Run single trials in this process and print each conversation as it happens.")
    @click.option("--count", default="1", metavar="N", help="How many trials.  [default: 1]")
    @run_options
    def print_trials(count: str, **values: Any) -> int:
        from commands.aloud import run_aloud

        return run_aloud(values, count, make_run)

    run_program(print_trials)


if __name__ == "__main__":
    main()
