"""From a request to what the simulated model says: reads the conversation, lets the brain choose, writes the call.

What is decided depends on seed, task, epoch, turn, results and plan alone; the dialect comes last and changes nothing.
Questions and judgements go to answering.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from simulator.answering import answer, judge
from simulator.asked import Asked
from simulator.brain import Brain
from simulator.dice import SeededDice
from simulator.models import ModelTable, SimulatedModel
from workflows.answers import ToolResult, read_results
from workflows.dialects import Spoken, write_call
from workflows.plans import PlanStep
from workflows.prompts import FINISH, read_plan
from workflows.tasks import Task, TaskLibrary, builtin_library

NATIVE_DIALECTS = ("openai_tool_calls", "function_call")

UNKNOWN_TASK = (
    "I am a simulated model. I know the built-in work orders and the questions I am told the answer of, "
    "and this is none of them."
)
FINISHED: Mapping[str, str] = MappingProxyType({"summary": "All that can be done is done."})


class Speaker:
    """Speaks for every model of a table."""

    def __init__(self, models: ModelTable, library: TaskLibrary | None = None) -> None:
        self._models = models
        self._library = library or builtin_library()

    def find_task(self, text: str) -> str:
        """Return the id of the task that a prompt is about, or an empty string."""
        task = self._library.find_in(text)
        return task.task_id if task else ""

    def __call__(self, asked: Asked) -> Spoken:
        """Return the reply to one request."""
        identity = asked.identity
        if identity.judged is not None:
            return judge(identity, identity.judged, self._models.get(identity.model))
        if identity.question is not None:
            return answer(identity, identity.question, self._models.get(identity.model))
        return self._act(asked)

    def _act(self, asked: Asked) -> Spoken:
        """Return the next step of a work order."""
        identity = asked.identity
        task = self._task(identity.task_id)
        results = _results(asked)
        if task is None or results is None:
            return Spoken(text=UNKNOWN_TASK)
        model = self._models.get(identity.model)
        brain = Brain(task=task, plan=_plan(asked), skill=model.skill)
        dice = SeededDice("decision", identity.seed, identity.task_id, identity.epoch, asked.turn)
        action = brain.choose(brain.view(results), dice)
        outputs = {result.tool: result.outputs for result in results if result.ok}
        arguments = brain.arguments(action, outputs) if action.tool else FINISHED
        return write_call(_dialect(model, asked), action.tool or FINISH, arguments, f"call_{asked.turn}")

    def _task(self, task_id: str) -> Task | None:
        try:
            return self._library.get(task_id)
        except KeyError:
            return None


def _results(asked: Asked) -> list[ToolResult] | None:
    """Return what the calls so far came to, or None if somebody else's tools have answered."""
    try:
        return read_results(asked.messages)
    except (ValueError, KeyError, TypeError):
        return None


def _plan(asked: Asked) -> tuple[PlanStep, ...]:
    opening = next((one["content"] for one in asked.messages if one["role"] == "user"), "")
    return _plan_in(opening)


@lru_cache(maxsize=4096)
def _plan_in(opening: str) -> tuple[PlanStep, ...]:
    return read_plan([{"role": "user", "content": opening}])


def _dialect(model: SimulatedModel, asked: Asked) -> str:
    """A request that offers functions is answered natively, whatever the model speaks in text."""
    if not asked.tools or model.dialect in NATIVE_DIALECTS:
        return model.dialect
    return NATIVE_DIALECTS[0]
