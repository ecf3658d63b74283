"""A simulated model without HTTP between: what the server would answer, as a plain ``chat`` function.

For statistics over very many trials; a run never uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.asked import Asked, Identity
from simulator.models import ModelTable, SimulatedModel
from simulator.speaker import Speaker
from trials.words import Chat, Completion, Message, Trial


def chat_of(trial: Trial, model: SimulatedModel) -> Chat:
    """Return the function that answers one trial's requests as ``model`` would."""
    speak = Speaker(ModelTable({"default": model}))
    identity = Identity(
        trial_key=trial.trial_key,
        task_id=trial.task_id,
        epoch=trial.epoch,
        seed=trial.cell.seed,
        model=trial.cell.model,
    )

    def chat(
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        judge: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Completion:
        plain = [{**one, "content": one.get("content") or ""} for one in messages]
        turn = sum(one["role"] == "assistant" for one in plain)
        asked = Asked(key="", deployment="", identity=identity, messages=plain, tools=tools or (), turn=turn)
        spoken = speak(asked)
        return Completion(text=spoken.text, tool_calls=spoken.tool_calls)

    return chat
