"""What a simulated model does next: a small state machine with known odds. Knows no wording, HTTP, clock or key.

State (``View``), read from the conversation by folding ``after`` over the results of all calls so far:
which steps of the task are done, which are given up, the place in the plan, and which call has just failed and how
often in a row. Given the view, ``choose`` goes down this list; each coin is one of the model's skills:

1. The last call failed: with p_recover call the same tool again (as in 2 if the plan's step is at fault, else with
   its right arguments). Otherwise the step is given up. After MAX_TRIES failures in a row it is given up anyway.
2. The prompt has a plan: with p_follow do what the plan says next, right or wrong; at its end, finish.
3. Nothing is left to do, all steps being done or given up: finish.
4. With p_right call the first step that is left.
5. Else make a mistake, each of those possible equally likely: ``stray`` calls the tool most easily taken for the
   right one, ``skip`` calls the step after it, ``stop`` says that all is finished.

Every call is written with the arguments it should have with p_arguments, else with one of them misnamed.
All randomness comes from ``Dice``, so the odds of each action can be enumerated (``dice.all_outcomes``) and, with a
tool's chances of success, the odds of a whole trial by playing ``choose`` and ``after`` in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulator.dice import Dice
from simulator.models import Skill
from workflows.dialogue import ToolResult
from workflows.prompts import PlanStep
from workflows.tasks import Task, resolve

MAX_TRIES = 3

Outputs = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The state of the work as the model sees it. ``failed`` names the tool of a step whose call just failed."""

    done: frozenset[int] = frozenset()
    given_up: frozenset[int] = frozenset()
    plan_place: int = 0
    failed: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One decision: a call of ``tool``, or, if that is empty, to finish.

    The arguments come from step ``plan_place`` of the plan, or from step ``step`` of the task.
    """

    tool: str = ""
    plan_place: int | None = None
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
        """Return the state of the work once a call of ``tool`` came back."""
        if view.failed and tool != view.failed:
            view = self._giving_up(view)
        step = self.task.step_of(tool)
        planned = self._planned(view) == tool
        if ok:
            done = view.done if step is None else view.done | {step}
            return replace(view, done=done, plan_place=view.plan_place + planned, failed="", tries=0)
        if step is None and not planned:
            return view
        view = replace(view, failed=tool, tries=view.tries + 1)
        return view if view.tries < MAX_TRIES else self._giving_up(view)

    def choose(self, view: View, dice: Dice) -> Action:
        """Return what the model does next."""
        action = self._retry(view, dice) if view.failed else None
        if action is None:
            action = self._go_on(self._giving_up(view), dice)
        if action.tool and not dice.flip("arguments", self.skill.p_arguments):
            return replace(action, misnamed=True)
        return action

    def arguments(self, action: Action, outputs: Outputs) -> dict[str, Any]:
        """Return what a call is written with, given the results of the task's steps so far."""
        if action.plan_place is not None:
            arguments = resolve(self.plan[action.plan_place].arguments, outputs)
        elif action.step is not None:
            arguments = self.task.arguments_for(action.step, outputs)
        else:
            arguments = {}
        if not action.misnamed:
            return arguments
        first, *others = arguments.items() or [("value", "")]
        return dict([(f"the_{first[0]}", first[1]), *others])

    def _retry(self, view: View, dice: Dice) -> Action | None:
        if not dice.flip("recover", self.skill.p_recover):
            return None
        if self._planned(view) == view.failed and dice.flip("follow", self.skill.p_follow):
            return Action(tool=view.failed, plan_place=view.plan_place)
        step = self.task.step_of(view.failed)
        return None if step is None else Action(tool=view.failed, step=step)

    def _go_on(self, view: View, dice: Dice) -> Action:
        if self.plan and dice.flip("follow", self.skill.p_follow):
            return Action(tool=self._planned(view), plan_place=view.plan_place) if self._planned(view) else FINISH
        left = [step for step in range(len(self.task.steps)) if step not in view.done | view.given_up]
        if not left:
            return FINISH
        if dice.flip("right", self.skill.p_right):
            return self._step(left[0])
        lookalike = self.task.lookalike(left[0])
        mistakes = [FINISH]
        if lookalike:
            mistakes.append(Action(tool=lookalike, step=left[0]))
        if len(left) > 1:
            mistakes.append(self._step(left[1]))
        return dice.pick("mistake", mistakes)

    def _step(self, step: int) -> Action:
        return Action(tool=self.task.steps[step].tool, step=step)

    def _planned(self, view: View) -> str:
        """The tool that the plan names next, or an empty string at its end."""
        return self.plan[view.plan_place].tool if view.plan_place < len(self.plan) else ""

    def _giving_up(self, view: View) -> View:
        if not view.failed:
            return view
        step = self.task.step_of(view.failed)
        given_up = view.given_up if step is None or step in view.done else view.given_up | {step}
        place = view.plan_place + (self._planned(view) == view.failed)
        return replace(view, given_up=given_up, plan_place=place, failed="", tries=0)
