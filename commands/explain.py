"""The sub-command ``explain``: why a trial has the score it has — plan, turns, luck draws, deviations, breakdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from commands.inspect_results import message_text, open_results
from commands.options import EXIT_SCORED
from telemetry.wording import clean
from trials.rows import Row
from trials.words import QUESTION, SCORED
from workflows.scoring import SUCCESS_RULE

SCORES = ("coverage", "order", "execution", "recovery", "efficiency")
CONDITION = ("model", "prompt_type", "severity", "tool_success_rate", "difficulty", "tool_protocol", "seed")
LONGEST_LINE = 10**6


def explain_trial(trial_key: str, results_dir: str) -> int:
    """Print everything that decided a trial's score."""
    store = open_results(results_dir)
    row = store.find(trial_key)
    for line in _explanation(row, store.conversation(row) or {}):
        click.echo(line)
    return EXIT_SCORED


def _explanation(row: Row, found: Mapping[str, Any]) -> Iterator[str]:
    detail: Mapping[str, Any] = found.get("detail") or {}
    yield f"trial {row['trial_key']}: {row['task_id']}, epoch {row['epoch']}" + ("  SIMULATED" * bool(row["simulated"]))
    yield ", ".join(f"{name} {clean(str(row[name]))}" for name in CONDITION if row[name] not in (None, ""))
    if row["prompt_type"] == QUESTION:
        yield from _conversation(found)
        yield from _verdict(row, detail)
        return
    yield from _plan(row, detail)
    yield from _conversation(found)
    yield from _calls(detail)
    yield from _marks(row, detail)


def _plan(row: Row, detail: Mapping[str, Any]) -> Iterator[str]:
    if detail.get("plan"):
        yield f"\nThe plan it was given (the optimal one succeeds with probability {detail['optimal_value']:.4f})"
        yield from (f"  {line}" for line in detail["plan"])
    if row["plan_diff"]:
        yield "\nHow that differs from the optimal plan"
        yield from (f"  {line}" for line in row["plan_diff"].splitlines())


def _conversation(found: Mapping[str, Any]) -> Iterator[str]:
    for message in found.get("conversation", ()):
        yield message_text(message)


def _calls(detail: Mapping[str, Any]) -> Iterator[str]:
    calls = detail.get("calls") or ()
    if not calls:
        yield "\nNo tool was called."
        return
    yield "\nTool calls (a call succeeds if its luck is below its chance)"
    for call in calls:
        luck = "no draw" if call["draw"] is None else f"luck {call['draw']:.4f}, chance {call['chance']:.4f}"
        place = "foreign to the task" if call["step"] is None else f"step {call['step'] + 1}"
        order = "" if call["in_order"] else ", out of order"
        why = f": {clean(call['reason'])}" if call["reason"] else ""
        yield f"  turn {call['turn']}  {clean(call['tool'])}  {place}{order}  {luck}  → {call['end']}{why}"


def _verdict(row: Row, detail: Mapping[str, Any]) -> Iterator[str]:
    """Say how the reply to a question was marked."""
    if row["status"] != SCORED:
        yield f"\n{row['status']}: {clean(row['error_message'] or '', LONGEST_LINE)}"
        return
    cached = " (the reply came out of the cache)" if row["cache_hits"] else ""
    yield f"\n{row['outcome']}" + (f" ({row['error_category']})" if row["error_category"] else "") + cached
    yield f"  answer    {clean(row['answer'] or '(none)', LONGEST_LINE)}"
    yield f"  expected  {'(no label)' if row['target'] is None else clean(row['target'], LONGEST_LINE)}"
    yield f"  score     {row['score']:.4g}"
    yield from (f"  {name:<9} {clean(str(value), LONGEST_LINE)}" for name, value in detail.items())


def _marks(row: Row, detail: Mapping[str, Any]) -> Iterator[str]:
    if row["deviations"]:
        yield f"\nDeviations from the asked-for form (none decides the score): {clean(row['deviations'])}"
    if row["status"] != SCORED:
        yield f"\n{row['status']}: {clean(row['error_message'] or '', LONGEST_LINE)}"
        return
    yield f"\n{row['outcome']}" + (f" ({row['error_category']})" if row["error_category"] else "")
    yield "  " + ", ".join(f"{name} {row[name]:.4g}" for name in SCORES if row[name] is not None)
    yield "  " + ", ".join(f"{name} {value}" for name, value in (detail.get("breakdown") or {}).items())
    if row["followed_flaw"] is not None:
        recovered = {True: ", and recovered", False: ", and did not recover", None: ""}[row["recovered"]]
        yield f"  {'followed' if row['followed_flaw'] else 'did not follow'} the flaw{recovered}"
    yield f"  rule — {SUCCESS_RULE}"
