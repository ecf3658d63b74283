"""Marks a finished conversation: one success rule, scores with a breakdown that adds up, one error category.

No score depends on the dialect a call was written in, on latency, or on attempts: only on which tools were called,
with what, in which order, and what came of it.

- coverage: required tools that succeeded, of all required.
- order: the longest part of the succeeded tools that stands in an order which data and dependencies allow
  (the longest common subsequence with the best such order), of all required.
- execution: calls that were carried out in order, of all calls; bad luck is not held against the model.
- recovery: required tools that failed at least once and succeeded later, of those that failed.
- efficiency: coverage times the share of calls that were of use (first successes, bad luck on the way to them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from trials.record import record
from trials.words import FAILURE, FULL, PARTIAL
from workflows.dialogue import FINISHED, OUT_OF_TURNS, Transcript
from workflows.sandbox import ARGUMENTS, DEPENDENCY, UNKNOWN, UNLUCKY, CallRecord
from workflows.tasks import Task

VERSION = 1
PARTIAL_SHARE = 0.6

SUCCESS_RULE = (
    "full: every required tool succeeded, each after all that its data and dependencies need; "
    "partial: at least 60 % of the required tools succeeded so, or all of them succeeded but not in such an order; "
    "failure: anything less. Weighted success = (full + 0.5 partial) / scored."
)

ERROR_CATEGORIES = (
    "tool_call_format",
    "timeout",
    "max_turns",
    "tool_selection",
    "parameter_config",
    "sequence_order",
    "dependency",
    "other",
)

USEFUL, BAD_LUCK, REPEATED, EARLY, FOREIGN, REFUSED = (
    "useful",
    "bad_luck",
    "repeated",
    "early",
    "foreign",
    "refused",
)
CALL_KINDS = (USEFUL, BAD_LUCK, REPEATED, EARLY, FOREIGN, REFUSED)
"""Every call is of exactly one kind, so that they add up to the number of calls."""


@record
class Score:
    """A trial's marks. ``breakdown`` says how each came about."""

    outcome: str
    error_category: str
    coverage: float
    order: float
    execution: float
    recovery: float | None
    efficiency: float
    breakdown: Mapping[str, Any]


def score(task: Task, transcript: Transcript) -> Score:
    """Mark a conversation."""
    count = len(task.steps)
    calls = transcript.calls
    succeeded = _first_successes(calls)
    right = {call.step for call in calls if call.ok and call.in_order and call.step is not None}
    kinds = Counter(_kinds(calls))
    outcome = outcome_of(count, len(succeeded), len(right))
    failed, recovered = _failures(calls)
    coverage = len(succeeded) / count
    return Score(
        outcome=outcome,
        error_category="" if outcome == FULL else _category(task, transcript, right),
        coverage=coverage,
        order=_longest_ordered(task, calls) / count,
        execution=_share(sum(call.draw is not None and call.in_order for call in calls), len(calls)),
        recovery=len(recovered) / len(failed) if failed else None,
        efficiency=coverage * _share(kinds[USEFUL] + kinds[BAD_LUCK], len(calls)),
        breakdown={
            "required": count,
            "in_order": len(right),
            "out_of_order": len(succeeded) - len(right),
            "missing": count - len(succeeded),
            "calls": len(calls),
            **{kind: kinds[kind] for kind in CALL_KINDS},
            "failed_tools": len(failed),
            "recovered_tools": len(recovered),
            "turns": transcript.turns,
            "ended": transcript.ended,
        },
    )


def outcome_of(required: int, succeeded: int, in_order: int) -> str:
    """Apply the success rule, and nothing else does."""
    if in_order == required:
        return FULL
    if succeeded == required or in_order >= PARTIAL_SHARE * required:
        return PARTIAL
    return FAILURE


def _first_successes(calls: Sequence[CallRecord]) -> list[int]:
    """Return the steps that succeeded, in the order of their first success."""
    return list(dict.fromkeys(call.step for call in calls if call.ok and call.step is not None))


def _kinds(calls: Sequence[CallRecord]) -> list[str]:
    done: set[int] = set()
    kinds = []
    for call in calls:
        if call.draw is None:
            kinds.append(REFUSED)
        elif call.step is None:
            kinds.append(FOREIGN)
        elif call.step in done:
            kinds.append(REPEATED)
        elif not call.in_order:
            kinds.append(EARLY)
        elif call.end == UNLUCKY:
            kinds.append(BAD_LUCK)
        else:
            done.add(call.step)
            kinds.append(USEFUL)
    return kinds


def _failures(calls: Sequence[CallRecord]) -> tuple[set[int], set[int]]:
    """Return the steps that failed before they had succeeded, and those of them that succeeded later."""
    failed: set[int] = set()
    succeeded: set[int] = set()
    for call in calls:
        if call.step is None:
            continue
        if call.ok:
            succeeded.add(call.step)
        elif call.step not in succeeded:
            failed.add(call.step)
    return failed, failed & succeeded


def _longest_ordered(task: Task, calls: Sequence[CallRecord]) -> int:
    """Return the size of the largest set of succeeded steps in an order that their needs allow.

    Each step stands where it first succeeded in order or, failing that, first succeeded.
    """
    places: dict[int, int] = {}
    settled: set[int] = set()
    for place, call in enumerate(calls):
        if call.ok and call.step is not None and call.step not in settled:
            if call.in_order:
                settled.add(call.step)
            if call.in_order or call.step not in places:
                places[call.step] = place
    before = closure(task.needs)
    clashes = [
        (early, late) for late in places for early in before[late] & places.keys() if places[early] > places[late]
    ]
    return next(
        size
        for size in range(len(places), -1, -1)
        if any(
            not any(early in kept and late in kept for early, late in clashes)
            for kept in map(set, combinations(places, size))
        )
    )


def closure(needs: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return all that each step needs, directly or not; a step's needs come before it."""
    whole: list[frozenset[int]] = []
    for direct in needs:
        whole.append(direct.union(*(whole[step] for step in direct)))
    return whole


def _category(task: Task, transcript: Transcript, right: set[int]) -> str:
    """Return why the trial is not a full success, judged by the first required tool that is missing."""
    if not transcript.calls:
        return _without_calls(transcript)
    missing = next(step for step in range(len(task.steps)) if step not in right)
    own = [call for call in transcript.calls if call.step == missing]
    if any(call.ok for call in own):
        return "sequence_order"
    if not own:
        return _never_called(transcript)
    last = own[-1]
    by_end = {ARGUMENTS: "parameter_config", DEPENDENCY: "dependency", UNKNOWN: "tool_selection"}
    if last.end in by_end:
        return by_end[last.end]
    if not last.in_order:
        return "dependency"
    if last.error_code == "TIMEOUT":
        return "timeout"
    return "max_turns" if transcript.ended == OUT_OF_TURNS else "other"


def _without_calls(transcript: Transcript) -> str:
    if transcript.unreadable or (transcript.idle and transcript.ended != FINISHED):
        return "tool_call_format"
    return "max_turns" if transcript.ended == OUT_OF_TURNS else "other"


def _never_called(transcript: Transcript) -> str:
    if any(call.step is None for call in transcript.calls):
        return "tool_selection"
    return "max_turns" if transcript.ended == OUT_OF_TURNS else "other"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
