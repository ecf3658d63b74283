"""Whether a model followed a plan's flaw: did it do what the damage, and only the damage, would have it do?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from workflows.dialogue import FINISHED, Transcript
from workflows.plans import Plan
from workflows.sandbox import CallRecord
from workflows.tasks import Reference


def followed(flaw: str, optimal: Plan, damaged: Plan, transcript: Transcript) -> bool:
    """Return whether the calls show that the flaw was followed at least once."""
    return _SIGNS[flaw](optimal, damaged, transcript)


def _disordered(optimal: Plan, damaged: Plan, transcript: Transcript) -> bool:
    """A displaced tool was called before something it needs had succeeded."""
    order = {step.tool: at for at, step in enumerate(damaged.steps)}
    displaced = {
        step.tool
        for step in optimal.steps
        if any(order[optimal.steps[one.step].tool] > order[step.tool] for one in step.when)
    }
    return any(call.tool in displaced and not call.in_order for call in transcript.calls)


def _misused(optimal: Plan, damaged: Plan, transcript: Transcript) -> bool:
    """A tool was called that only the damaged plan names."""
    named = {step.tool for step in damaged.steps} - {step.tool for step in optimal.steps}
    return any(call.tool in named for call in transcript.calls)


def _misconfigured(optimal: Plan, damaged: Plan, transcript: Transcript) -> bool:
    """A damaged step's tool was called with the damaged value, or without the value that the plan left out."""
    for right, wrong in zip(optimal.steps, damaged.steps, strict=True):
        for name, value in right.arguments.items():
            given = wrong.arguments.get(name, _ABSENT)
            if given == value:
                continue
            said = given.text if isinstance(given, Reference) else given
            if any(call.tool == right.tool and call.arguments.get(name, _ABSENT) == said for call in transcript.calls):
                return True
    return False


def _skipped(optimal: Plan, damaged: Plan, transcript: Transcript) -> bool:
    """A tool that the plan left out was never called, or only after a later one had been."""
    kept = {step.tool for step in damaged.steps}
    first = _first_calls(transcript.calls)
    for at, step in enumerate(optimal.steps):
        if step.tool in kept:
            continue
        later = [first[one.tool] for one in optimal.steps[at + 1 :] if one.tool in first]
        if later and first.get(step.tool, len(transcript.calls)) > min(later):
            return True
    return False


def _repeated(optimal: Plan, damaged: Plan, transcript: Transcript) -> bool:
    """A doubled tool was called again after it had succeeded."""
    tools = [step.tool for step in damaged.steps]
    done: set[str] = set()
    for call in transcript.calls:
        if call.tool in done and tools.count(call.tool) > 1:
            return True
        if call.ok:
            done.add(call.tool)
    return False


def _contradicted(optimal: Plan, damaged: Plan, transcript: Transcript) -> bool:
    """A step was left out, or taken before what it needs, as its contradictory condition would have it."""
    calls = transcript.calls
    first = _first_calls(calls)
    for at, step in enumerate(damaged.steps):
        tool = step.tool
        if step.when == optimal.steps[at].when:
            continue
        later = any(one.tool in first for one in optimal.steps[at + 1 :])
        gave_up = transcript.ended == FINISHED or transcript.idle > 0
        begun = any(one.tool in first for one in optimal.steps[:at])
        if tool not in first and begun and (later or gave_up):
            return True
        if any(call.tool == tool and not call.in_order for call in calls):
            return True
    return False


_ABSENT = object()


def _first_calls(calls: Sequence[CallRecord]) -> dict[str, int]:
    first: dict[str, int] = {}
    for place, call in enumerate(calls):
        first.setdefault(call.tool, place)
    return first


_SIGNS: Mapping[str, Callable[[Plan, Plan, Transcript], bool]] = {
    "sequence_disorder": _disordered,
    "tool_misuse": _misused,
    "parameter_error": _misconfigured,
    "missing_step": _skipped,
    "redundant_operations": _repeated,
    "logical_inconsistency": _contradicted,
    "semantic_drift": _misused,
}
