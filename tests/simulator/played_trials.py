"""Trials played in the test's own process: the real workload and a simulated model, without HTTP between them."""

from __future__ import annotations

from functools import cache

from simulator.models import SimulatedModel, Skill
from simulator.played import chat_of
from trials.words import Cell, Marked, Trial
from workflows.workload import WorkflowWorkload

CELL = Cell(model="m", prompt_type="optimal", tool_success_rate=0.8, difficulty="easy", task_type="data_pipeline")


@cache
def workload() -> WorkflowWorkload:
    return WorkflowWorkload()


def trial_of(cell: Cell, instance: int) -> Trial:
    return workload().nth(cell, instance, instance)


def play(trial: Trial, skill: Skill, dialect: str = "tag") -> Marked:
    """Run one trial with a simulated model in this process."""
    return workload().run(trial, chat_of(trial, SimulatedModel(skill=skill, dialect=dialect)))


def decisions(marked: Marked) -> list[tuple[str, str, bool]]:
    return [(call["tool"], str(call["arguments"]), call["end"] == "ok") for call in marked.detail["calls"]]
