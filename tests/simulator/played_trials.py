"""Trials played in the test's own process: the real workload and a simulated model, without HTTP between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from simulator.asked import Asked, Identity
from simulator.models import ModelTable, SimulatedModel, Skill
from simulator.speaker import Speaker
from trials.words import Cell, Completion, Marked, Message, Trial
from workflows.workload import WorkflowWorkload

CELL = Cell(model="m", prompt_type="optimal", tool_success_rate=0.8, difficulty="easy", task_type="data_pipeline")


@cache
def workload() -> WorkflowWorkload:
    return WorkflowWorkload()


def trial_of(cell: Cell, instance: int) -> Trial:
    return workload().trial(cell, instance, instance)


def play(trial: Trial, skill: Skill, dialect: str = "tag") -> Marked:
    """Run one trial with a simulated model in this process."""
    speak = Speaker(ModelTable({"default": SimulatedModel(skill=skill, dialect=dialect)}))
    seed = trial.cell.seed
    identity = Identity(
        trial_key=trial.trial_key, task_id=trial.task_id, epoch=trial.epoch, seed=seed, model=trial.cell.model
    )

    def chat(messages: Sequence[Message], tools: Any = None) -> Completion:
        plain = [{**one, "content": one.get("content") or ""} for one in messages]
        turn = sum(one["role"] == "assistant" for one in plain)
        asked = Asked(key="k", deployment="m", identity=identity, messages=plain, tools=tools or (), turn=turn)
        spoken = speak(asked)
        return Completion(text=spoken.text, tool_calls=spoken.tool_calls)

    return workload().run(trial, chat)


def decisions(marked: Marked) -> list[tuple[str, str, bool]]:
    return [(call["tool"], str(call["arguments"]), call["end"] == "ok") for call in marked.detail["calls"]]
