"""Virtual time for the real supervisor and dispatcher: a clock that is turned, an inbox that turns it, empty work.

Used by benchmarks/makespan.py and benchmarks/scale.py.
"""

from __future__ import annotations

import heapq
import itertools
import queue
from collections.abc import Callable
from typing import Any

from processes.supervisor import Replay
from trials.plan import Group, TrialPlan
from trials.spec import RunSpec, WorkflowSpec
from trials.words import Cell, Chat, Marked, Sampling, Trial


class Clock:
    """Virtual time and what will happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen."""
        heapq.heappush(self._events, (max(when, self.now), next(self._order), what))

    def advance(self, until: float, enough: Callable[[], bool]) -> None:
        """Let things happen until a time, or until it is enough."""
        while self._events and self._events[0][0] <= until and not enough():
            self.now, _, what = heapq.heappop(self._events)
            what()
        if not enough():
            self.now = until


class Inbox(queue.SimpleQueue):  # type: ignore[type-arg]
    """The supervisor's inbox: waiting for a message lets virtual time pass."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next message, or raise Empty after ``timeout`` of virtual time."""
        if self.empty() and timeout is not None:
            self._clock.advance(self._clock.now + timeout, lambda: not self.empty())
        return super().get_nowait()


class NoWorkload:
    """Trials without content."""

    definition = ""

    def groups(self, spec: RunSpec) -> list[Group]:
        assert isinstance(spec.asks, WorkflowSpec)
        cell = Cell(model="m", prompt_type="optimal", tool_success_rate=0.8, difficulty="easy", task_type="simple_task")
        return [Group(phase=0, model="m", cells=(cell,), counts=(spec.asks.num_instances,))]

    def trial(self, group: Group, number: int) -> Trial:
        return Trial(number=number, trial_key=str(number), cell=group.cells[0], task_id="", epoch=0)

    def run(self, trial: Trial, chat: Chat, opening: object = None) -> Marked:
        raise NotImplementedError


def plan_of(trials: int) -> TrialPlan:
    """Return a plan of so many trials of the model ``m``."""
    spec = RunSpec(
        models=("m",),
        asks=WorkflowSpec(
            prompt_types=("optimal",),
            difficulties=("easy",),
            task_types=("simple_task",),
            tool_success_rates=(0.8,),
            num_instances=trials,
        ),
        sampling={"m": Sampling()},
        definition="",
    )
    return TrialPlan(spec, NoWorkload())


class Silence:
    """What the supervisor is handed where there are no journals and nobody looks on; ``launch`` is another's."""

    def written(self, shard: int) -> int:
        return 0

    def replay(self, shard: int, held: Any, since: int) -> Replay:
        return Replay({}, {})

    def unended(self, shard: int, held: Any, since: int) -> dict[int, int]:
        return {}

    def note(self, text: str) -> None:
        pass

    def show(self, shards: Any) -> None:
        pass
