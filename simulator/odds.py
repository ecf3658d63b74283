"""The exact chance that a simulated model completes a task: ground truth to hold measured rates against.

Plays the brain against the tools' reliability over every way that chance can go, turn by turn. It shares with a real
trial the brain, the plan and the chances of success; what the tools refuse is worked out here once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.brain import Action, Brain, View
from simulator.dice import all_outcomes
from workflows import reliability
from workflows.tools import check_arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a trial stands: what the model sees, which tools have succeeded, which steps did so in order."""

    view: View
    succeeded: frozenset[str] = frozenset()
    right: frozenset[int] = frozenset()


class Odds:
    """The odds of one brain, its tools succeeding at ``rate`` when all they need has been done."""

    def __init__(self, brain: Brain, rate: float) -> None:
        self._brain = brain
        self._rate = rate
        self._known: dict[tuple[State, int], float] = {}
        self._actions: dict[View, Mapping[Action, float]] = {}
        self._chances: dict[tuple[Action, frozenset[str]], float] = {}
        # Some result of each tool; which one it is does not change the odds.
        task = brain.task
        self._results = {name: reliability.payload(tool, {}, 0, task.task_id, 0) for name, tool in task.toolset.items()}

    def full(self, turns: int, state: State | None = None) -> float:
        """Return the probability of full success within this many turns."""
        state = state or State(view=View())
        missing = len(self._brain.task.steps) - len(state.right)
        if missing == 0 or missing > turns:
            return float(missing == 0)
        key = (state, turns)
        if key not in self._known:
            actions = self._choices(state.view).items()
            self._known[key] = sum(share * self._after(state, action, turns - 1) for action, share in actions)
        return self._known[key]

    def _choices(self, view: View) -> Mapping[Action, float]:
        if view not in self._actions:
            odds: dict[Action, float] = defaultdict(float)
            for probability, action in all_outcomes(lambda dice: self._brain.choose(view, dice)):
                odds[action] += probability
            self._actions[view] = odds
        return self._actions[view]

    def _after(self, state: State, action: Action, turns: int) -> float:
        """Return the probability of full success once this action is taken."""
        if not action.tool:
            return 0.0
        case = (action, state.succeeded)
        if case not in self._chances:
            self._chances[case] = self._chance(*case)
        chance = self._chances[case]
        failed = State(
            view=self._brain.after(state.view, action.tool, False), succeeded=state.succeeded, right=state.right
        )
        value = (1 - chance) * self.full(turns, failed) if chance < 1 else 0.0
        if chance > 0:
            value += chance * self.full(turns, self._success(state, action.tool))
        return value

    def _success(self, state: State, tool: str) -> State:
        step = self._brain.task.step_of(tool)
        right = state.right if step is None or not self._in_order(state.succeeded, step) else state.right | {step}
        view = self._brain.after(state.view, tool, True)
        return State(view=view, succeeded=state.succeeded | {tool}, right=right)

    def _chance(self, action: Action, succeeded: frozenset[str]) -> float:
        """Return the probability that a call succeeds: none if the tools would refuse it."""
        task = self._brain.task
        given = self._brain.arguments(action, {name: self._results[name] for name in succeeded})
        step = task.step_of(action.tool)
        if check_arguments(task.toolset[action.tool], given):
            return 0.0
        if step is not None and not self._fits(step, given, succeeded):
            return 0.0
        return reliability.chance(self._rate, step is None or self._in_order(succeeded, step))

    def _fits(self, step: int, given: Mapping[str, Any], succeeded: frozenset[str]) -> bool:
        """Whether the arguments are those that the step needs, results of earlier steps among them."""
        task = self._brain.task
        if not all(task.steps[need].tool in succeeded for need in task.data_needs[step]):
            return False
        results = {at: self._results[one.tool] for at, one in enumerate(task.steps)}
        parameters = {one.name: one for one in task.toolset[task.steps[step].tool].parameters}
        return all(
            parameters[name].free or (name in given and given[name] == right)
            for name, right in task.arguments_for(step, results).items()
        )

    def _in_order(self, succeeded: frozenset[str], step: int) -> bool:
        task = self._brain.task
        return all(task.steps[need].tool in succeeded for need in task.needs[step])
