"""A small run, and a workload that asks nothing, for tests that are about neither."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from trials.plan import Group
from trials.spec import RunSpec, WorkflowSpec
from trials.words import Cell, Sampling, Trial


def spec_of(**changes) -> RunSpec:
    """A run of model m, with fields of the spec or of what it asks changed."""
    asks = {
        "prompt_types": ("optimal",),
        "difficulties": ("easy",),
        "task_types": ("simple_task",),
        "tool_success_rates": (0.8,),
        "num_instances": 1,
    }
    asks.update({one.name: changes.pop(one.name) for one in fields(WorkflowSpec) if one.name in changes})
    models = changes.pop("models", ("m",))
    named = {"sampling": {model: Sampling() for model in models}, "definition": "d", **changes}
    return RunSpec(models=models, asks=WorkflowSpec(**asks), **named)


class Numbers:
    """A workload that asks nothing: its trials are numbers."""

    definition = "d"

    def groups(self, spec: RunSpec) -> Iterator[Group]:
        for phase, rate in enumerate(spec.asks.tool_success_rates):
            for model in spec.models:
                cell = Cell(
                    model=model,
                    prompt_type="optimal",
                    tool_success_rate=rate,
                    difficulty="easy",
                    task_type="simple_task",
                )
                yield Group(phase=phase, model=model, cells=(cell,), counts=(spec.asks.num_instances,))

    def trial(self, group: Group, number: int) -> Trial:
        return Trial(number=number, trial_key=str(number), cell=group.cells[0], task_id="t", epoch=0)

    def run(self, trial, chat, opening=None):
        raise AssertionError("nothing is asked here")
