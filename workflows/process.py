"""A task as a finite Markov decision process, solved exactly by backward induction.

State: which steps have succeeded (``ran``), which of these in an order that their needs allow (``right``), and the
calls left. Actions: call any step that is not yet right. Transitions: the reliability model. Reward: 1 if all steps
are right within the calls left. Among actions of equal value the one with fewer expected calls is preferred, then
the earlier step. See Puterman, Markov Decision Processes (1994), section 4.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from workflows.reliability import chance
from workflows.tasks import Task

_SAME = 1e-12

State = tuple[int, int]
"""``ran`` and ``right`` as bit masks over the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The process of one task structure: bit masks of what each step needs, and the tool success rate."""

    data_needs: tuple[int, ...]
    order_needs: tuple[int, ...]
    rate: float

    @staticmethod
    def of(task: Task, rate: float) -> Process:
        """Return the process that a task stands for."""
        return Process(data_needs=_masks(task.data_needs), order_needs=_masks(task.order_needs), rate=rate)

    @property
    def goal(self) -> int:
        """The mask of all steps."""
        return (1 << len(self.data_needs)) - 1

    def actions(self, state: State) -> list[int]:
        """Return the steps that are worth calling at all: not yet right, and with the results they work on."""
        ran, right = state
        return [step for step, data in enumerate(self.data_needs) if not right >> step & 1 and data & ran == data]

    def transition(self, state: State, step: int) -> tuple[float, State]:
        """Return the probability that a call succeeds, and the state if it does; otherwise nothing changes."""
        ran, right = state
        needs = self.data_needs[step] | self.order_needs[step]
        in_order = needs & ran == needs
        bit = 1 << step
        return chance(self.rate, in_order), (ran | bit, right | bit if in_order else right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The best that can be done in a state: its value, the expected number of calls, and all equally good steps."""

    value: float
    calls: float
    best: tuple[int, ...]


class Solution:
    """The optimal policy of a process, worked out for the states that are asked for and those they lead to."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._choices: dict[tuple[State, int], Choice] = {}

    def choice(self, state: State, left: int) -> Choice:
        """Return the best choice with ``left`` calls to go."""
        key = (state, left)
        if key not in self._choices:
            self._choices[key] = self._choose(state, left)
        return self._choices[key]

    def _choose(self, state: State, left: int) -> Choice:
        if state[1] == self.process.goal:
            return Choice(value=1.0, calls=0.0, best=())
        if left == 0:
            return Choice(value=0.0, calls=0.0, best=())
        rated = [(*self._rate(state, step, left), step) for step in self.process.actions(state)]
        value = max(one[0] for one in rated)
        calls = min(one[1] for one in rated if one[0] >= value - _SAME)
        best = tuple(step for worth, cost, step in rated if worth >= value - _SAME and cost <= calls + 1e-9)
        return Choice(value=value, calls=calls, best=best)

    def _rate(self, state: State, step: int, left: int) -> tuple[float, float]:
        success, after = self.process.transition(state, step)
        won, lost = self.choice(after, left - 1), self.choice(state, left - 1)
        return (
            success * won.value + (1 - success) * lost.value,
            1 + success * won.calls + (1 - success) * lost.calls,
        )


@lru_cache(maxsize=8192)
def solve(process: Process) -> Solution:
    """Return the solution of a process; tasks of one structure share it."""
    return Solution(process)


def _masks(needs: Sequence[frozenset[int]]) -> tuple[int, ...]:
    return tuple(sum(1 << step for step in one) for one in needs)
