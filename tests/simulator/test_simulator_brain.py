"""What simulated models decide, played against the real tasks, tools, plans and marking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from played_trials import CELL, decisions, play, trial_of

from simulator.brain import FINISH, MAX_TRIES, Action, Brain, View
from simulator.dice import SeededDice, all_outcomes
from simulator.models import Skill
from simulator.odds import Odds
from trials.words import FULL, Trial
from workflows.dialects import DIALECTS
from workflows.flaws import FLAWS
from workflows.plans import optimal_plan
from workflows.prompts import plan_for
from workflows.tasks import DIFFICULTIES, TASK_TYPES, builtin_library

PERFECT = Skill(p_right=1, p_follow=1, p_recover=1, p_arguments=1)
FAIR = Skill(p_right=0.8, p_follow=0.8, p_recover=0.7, p_arguments=0.9)


@pytest.mark.parametrize("protocol", ["tags", "native"])
@pytest.mark.parametrize("prompt_type", ["baseline", "cot", "optimal"])
def test_perfect_model_with_reliable_tools_always_ends_full(prompt_type: str, protocol: str) -> None:
    for task_type in TASK_TYPES:
        for instance in range(0, 200, 8):
            difficulty = DIFFICULTIES[instance % len(DIFFICULTIES)]
            cell = replace(
                CELL,
                prompt_type=prompt_type,
                tool_success_rate=1.0,
                task_type=task_type,
                tool_protocol=protocol,
                difficulty=difficulty,
            )
            trial = trial_of(cell, instance)
            assert play(trial, PERFECT).outcome == FULL, trial.task_id


def test_every_dialect_and_protocol_decides_the_same() -> None:
    for instance in range(12):
        trial = trial_of(replace(CELL, task_type="multi_stage_pipeline"), instance)
        expected = decisions(play(trial, FAIR))
        for dialect in DIALECTS:
            for protocol in ("tags", "native"):
                other = replace(trial, cell=replace(trial.cell, tool_protocol=protocol))
                assert decisions(play(other, FAIR, dialect)) == expected, (dialect, protocol, trial.task_id)


def test_decisions_depend_on_seed_and_epoch() -> None:
    trial = trial_of(replace(CELL, task_type="multi_stage_pipeline"), 3)
    weak = Skill(p_right=0.5, p_follow=0.5, p_recover=0.5, p_arguments=0.5)
    again = [play(trial, weak) for _ in range(2)]
    assert decisions(again[0]) == decisions(again[1])
    epochs = {str(decisions(play(replace(trial, epoch=epoch), weak))) for epoch in range(8)}
    seeds = {str(decisions(play(replace(trial, cell=replace(CELL, seed=seed)), weak))) for seed in range(8)}
    assert len(epochs) > 4
    assert len(seeds) > 4


@pytest.mark.parametrize("flaw", [flaw for flaw in FLAWS if flaw != "redundant_operations"])
def test_model_that_follows_a_flawed_plan_ends_full_less_often(flaw: str) -> None:
    cell = replace(CELL, prompt_type=f"flawed_{flaw}", severity="severe")
    flawed = [trial_of(cell, instance) for instance in range(30)]
    optimal = [replace(trial, cell=CELL) for trial in flawed]
    assert _full(flawed, PERFECT) < _full(optimal, PERFECT)


@pytest.mark.parametrize("flaw", FLAWS)
def test_model_that_ignores_plans_does_the_same_under_any(flaw: str) -> None:
    ignoring = replace(FAIR, p_follow=0)
    cell = replace(CELL, prompt_type=f"flawed_{flaw}", severity="severe")
    for instance in range(20):
        trial = trial_of(cell, instance)
        without = replace(trial, cell=replace(trial.cell, prompt_type="baseline", severity=""))
        assert decisions(play(trial, ignoring)) == decisions(play(without, ignoring))


def _full(trials: Sequence[Trial], skill: Skill) -> int:
    return sum(play(trial, skill).outcome == FULL for trial in trials)


def test_more_skill_of_each_kind_means_more_full_success() -> None:
    cell = replace(CELL, task_type="multi_stage_pipeline", prompt_type="optimal")
    task = builtin_library().get(trial_of(cell, 0).task_id)
    plan = optimal_plan(task, 0.8, 10).steps
    for name in ("p_right", "p_follow", "p_recover", "p_arguments"):
        odds = [Odds(Brain(task=task, plan=plan, skill=replace(FAIR, **{name: p})), 0.8).full(10) for p in (0.2, 0.9)]
        assert odds[0] < odds[1], name


CLUMSY = Skill(p_right=0.7, p_follow=0.5, p_recover=0.4, p_arguments=0.8)


@pytest.mark.parametrize(
    ("prompt_type", "skill"),
    [("baseline", CLUMSY), ("optimal", FAIR), ("flawed_missing_step", CLUMSY), ("flawed_logical_inconsistency", FAIR)],
)
def test_measured_full_success_agrees_with_its_exact_odds(prompt_type: str, skill: Skill) -> None:
    """The count over many trials lies within 3 standard deviations of its expectation."""
    cell = replace(CELL, prompt_type=prompt_type, severity="severe" if "flawed" in prompt_type else "")
    expected = variance = measured = 0.0
    for instance in range(40):
        trial = trial_of(cell, instance)
        task = builtin_library().get(trial.task_id)
        plan = plan_for(task, cell)
        odds = Odds(Brain(task=task, plan=plan.steps if plan else (), skill=skill), 0.8).full(cell.max_turns)
        trials = [replace(trial, epoch=epoch) for epoch in range(15)]
        measured += _full(trials, skill)
        expected += len(trials) * odds
        variance += len(trials) * odds * (1 - odds)
    assert abs(measured - expected) < 3 * math.sqrt(variance), (measured, expected)


def _brain(skill: Skill = PERFECT, steps: int = 4) -> Brain:
    task = next(one for one in builtin_library().of_type("multi_stage_pipeline") if len(one.steps) == steps)
    return Brain(task=task, plan=(), skill=skill)


def _choices(brain: Brain, view: View) -> dict[Action, float]:
    odds: dict[Action, float] = {}
    for probability, action in all_outcomes(lambda dice: brain.choose(view, dice)):
        odds[action] = odds.get(action, 0) + probability
    return odds


def test_mistakes_are_equally_likely_and_odds_add_up() -> None:
    brain = _brain(replace(PERFECT, p_right=0.7))
    odds = _choices(brain, View())
    first, second = brain.task.steps[0].tool, brain.task.steps[1].tool
    assert odds == pytest.approx(
        {
            Action(tool=first, step=0): 0.7,
            FINISH: 0.1,
            Action(tool=brain.task.lookalike(0), step=0): 0.1,
            Action(tool=second, step=1): 0.1,
        }
    )


def test_seeded_choices_come_at_the_enumerated_odds() -> None:
    brain = _brain(FAIR)
    view = brain.after(View(), brain.task.steps[0].tool, False)
    odds = _choices(brain, view)
    drawn = [brain.choose(view, SeededDice("test", number)) for number in range(4000)]
    assert sum(odds.values()) == pytest.approx(1)
    assert set(drawn) <= set(odds)
    for action, probability in odds.items():
        assert drawn.count(action) / 4000 == pytest.approx(probability, abs=0.03)


def test_failed_step_is_retried_and_given_up_after_the_last_try() -> None:
    brain = _brain()
    first, second = (step.tool for step in brain.task.steps[:2])
    view = View()
    for _ in range(MAX_TRIES):
        assert brain.choose(view, SeededDice()).tool == first
        view = brain.after(view, first, False)
    assert view.given_up == {0}
    assert brain.choose(view, SeededDice()).tool == second


def test_model_that_never_recovers_goes_on_at_once() -> None:
    brain = _brain(replace(PERFECT, p_recover=0))
    view = brain.after(View(), brain.task.steps[0].tool, False)
    assert brain.choose(view, SeededDice()).tool == brain.task.steps[1].tool


def test_finish_comes_when_nothing_is_left() -> None:
    brain = _brain(replace(PERFECT, p_right=0))
    view = View()
    for step in brain.task.steps:
        view = brain.after(view, step.tool, True)
    assert brain.choose(view, SeededDice()) == FINISH
