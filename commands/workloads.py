"""Which workload a run's trials come from, opened the same way by the supervisor, by every shard, and by reports."""

from __future__ import annotations

from trials.spec import RunSpec
from workflows.workload import WorkflowWorkload


def open_workload(spec: RunSpec) -> WorkflowWorkload:
    """Return the workload of a spec."""
    return WorkflowWorkload(control_for=spec.drawn_for)
