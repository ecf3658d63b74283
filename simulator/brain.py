"""What a simulated model does next: a small state machine with known odds. Knows no wording, HTTP, clock or key.

State (``View``), read from the conversation by folding ``after`` over the results of all calls so far: which steps
of the task are done and which are given up, the same of the plan's steps, and which call has just failed and how
often in a row. Given the view, ``choose`` goes down this list; each coin is one of the model's skills:

1. The last call failed: with p_recover call the same tool again, as the plan says if this is the plan's step and
   the model follows (2), else with the right arguments. Otherwise the step is given up, as it is anyway after
   MAX_TRIES failures in a row.
2. The prompt has a plan: with p_follow do its next step whose conditions hold, right or wrong; at its end, finish.
3. Nothing is left to do, all steps of the task being done or given up: finish.
4. With p_right call the first step that is left.
5. Else make a mistake, each of those possible equally likely: call the tool that is most easily taken for the right
   one, call the step after it, or finish too early.

Every call is written with the arguments it should have with p_arguments, else with one of them misnamed.
All randomness comes from ``Dice``, so the odds of an action and of a whole trial can be enumerated (odds.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulator.dice import Dice
from simulator.models import Skill
from workflows.answers import ToolResult
from workflows.plans import SUCCEEDED, PlanStep
from workflows.tasks import Task

MAX_TRIES = 3

Outputs = Mapping[str, Mapping[str, Any]]
"""What each tool returned when it last succeeded, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The state of the work as the model sees it. ``failed`` names the tool of a step whose call just failed."""

    done: frozenset[int] = frozenset()
    given_up: frozenset[int] = frozenset()
    plan_done: frozenset[int] = frozenset()
    plan_given_up: frozenset[int] = frozenset()
    failed: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One decision: to call ``tool`` or, if that is empty, to finish.

    The arguments are those of step ``planned`` of the plan, or else those that step ``step`` of the task needs.
    """

    tool: str = ""
    planned: int | None = None
    step: int | None = None
    misnamed: bool = False


FINISH = Action()


@dataclass(frozen=True, slots=True, kw_only=True)
class Brain:
    """One model's mind on one task under one plan; the plan is empty if the prompt has none."""

    task: Task
    plan: Sequence[PlanStep]
    skill: Skill

    def view(self, results: Iterable[ToolResult]) -> View:
        """Return the state of the work after these results."""
        view = View()
        for result in results:
            view = self.after(view, result.tool, result.ok)
        return view

    def after(self, view: View, tool: str, ok: bool) -> View:
        """Return the state of the work once a call of ``tool`` has come back."""
        if view.failed and tool != view.failed:
            view = self._giving_up(view)
        steps, places = self._concerned(view, tool)
        if ok:
            done, plan_done = view.done | steps, view.plan_done | places
            return replace(view, done=done, plan_done=plan_done, failed="", tries=0)
        if not steps and not places:
            return view
        view = replace(view, failed=tool, tries=view.tries + 1)
        return view if view.tries < MAX_TRIES else self._giving_up(view)

    def choose(self, view: View, dice: Dice) -> Action:
        """Return what the model does next."""
        action = self._again(view, dice) if view.failed else None
        if action is None:
            action = self._onwards(self._giving_up(view), dice)
        if action.tool and not dice.flip("arguments", self.skill.p_arguments):
            return replace(action, misnamed=True)
        return action

    def arguments(self, action: Action, outputs: Outputs) -> dict[str, Any]:
        """Return what a call is written with, given what the tools have returned so far."""
        if action.planned is not None:
            by_place = {at: outputs[step.tool] for at, step in enumerate(self.plan) if step.tool in outputs}
            arguments = self.plan[action.planned].arguments_for(by_place)
        elif action.step is not None:
            by_step = {at: outputs[step.tool] for at, step in enumerate(self.task.steps) if step.tool in outputs}
            arguments = self.task.arguments_for(action.step, by_step)
        else:
            arguments = {}
        return misnamed(arguments) if action.misnamed else arguments

    def _again(self, view: View, dice: Dice) -> Action | None:
        if not dice.flip("recover", self.skill.p_recover):
            return None
        steps, places = self._concerned(view, view.failed)
        if places and dice.flip("follow", self.skill.p_follow):
            return Action(tool=view.failed, planned=min(places))
        return Action(tool=view.failed, step=min(steps)) if steps else None

    def _onwards(self, view: View, dice: Dice) -> Action:
        if self.plan and dice.flip("follow", self.skill.p_follow):
            planned = self._next_planned(view)
            return FINISH if planned is None else Action(tool=self.plan[planned].tool, planned=planned)
        left = [step for step in range(len(self.task.steps)) if step not in view.done | view.given_up]
        if not left:
            return FINISH
        if dice.flip("right", self.skill.p_right):
            return self._call(left[0])
        lookalike = self.task.lookalike(left[0])
        mistakes = [FINISH]
        if lookalike:
            mistakes.append(Action(tool=lookalike, step=left[0]))
        if len(left) > 1:
            mistakes.append(self._call(left[1]))
        return dice.pick("mistake", mistakes)

    def _call(self, step: int) -> Action:
        return Action(tool=self.task.steps[step].tool, step=step)

    def _giving_up(self, view: View) -> View:
        if not view.failed:
            return view
        steps, places = self._concerned(view, view.failed)
        return replace(
            view,
            given_up=view.given_up | (steps - view.done),
            plan_given_up=view.plan_given_up | places,
            failed="",
            tries=0,
        )

    def _concerned(self, view: View, tool: str) -> tuple[frozenset[int], frozenset[int]]:
        """Return the task's step that a call of ``tool`` is about and, if it is the next one, the plan's."""
        step, place = self.task.step_of(tool), self._next_planned(view)
        planned = place is not None and self.plan[place].tool == tool
        return (
            frozenset() if step is None else frozenset((step,)),
            frozenset((place,)) if place is not None and planned else frozenset(),
        )

    def _next_planned(self, view: View) -> int | None:
        """Return the first step of the plan after those already dealt with whose conditions hold, if any does."""
        start = max(view.plan_done | view.plan_given_up, default=-1) + 1
        return next((place for place in range(start, len(self.plan)) if self._is_due(view, place)), None)

    def _is_due(self, view: View, place: int) -> bool:
        return all(
            one.step in (view.plan_done if one.outcome == SUCCEEDED else view.plan_given_up)
            for one in self.plan[place].when
        )


def misnamed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with the first one under a name that no tool knows."""
    (name, value), *others = arguments.items() or [("value", "")]
    return dict([(f"the_{name}", value), *others])
