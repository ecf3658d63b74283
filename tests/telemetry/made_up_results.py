"""Made-up result rows and conversations for reports: as many as asked for, and nasty ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from telemetry.report.conversations import Said
from trials.rows import FIELDS, Row

FLAWS = ("missing_step", "tool_misuse", "semantic_drift")
NASTY = (
    "<script>window.broken=1</script>",
    "</script><script>window.broken=2</script>",
    '"><img src=x onerror="window.broken=3">',
    "<!--<script>",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "\u202ertl override\u202c and \u2066isolated\u2069",
    "lone \ud800 surrogate",
    "NUL \x00 and \x9b31m",
    "javascript:alert(1) ${window.broken=4} `x`",
    "مرحبا بالعالم שלום",
)


def row(number: int, **changes: Any) -> Row:
    """One scored row of a first trial, changed as asked."""
    made: Row = dict.fromkeys(FIELDS)
    made.update(
        trial_key=f"{number:08x}" + "0" * 24,
        status="scored",
        outcome="full",
        model="alpha-7b",
        prompt_type="optimal",
        tool_success_rate=0.8,
        difficulty="easy",
        task_type="basic_task",
        task_id=f"basic_task-{number:03d}",
        epoch=0,
        variant="v",
        definition="d",
        simulated=False,
        error_category="",
        error_message="",
        severity="",
        deployment="key0",
        deviations="",
        plan_diff="",
        coverage=1.0,
        order=1.0,
        execution=1.0,
        efficiency=0.9,
        turns=3,
        tool_calls=3,
        tool_failures=1,
        requests=3,
        attempts=3,
        cache_hits=0,
        prompt_tokens=900,
        completion_tokens=90,
        queue_ms=40.0,
        rate_wait_ms=20.0,
        retry_wait_ms=0.0,
        provider_ms=300.0,
        duration_ms=330.0,
        started_at=1_700_000_000.0 + number / 20,
        ended_at=1_700_000_000.33 + number / 20,
        run_id="run",
        shard=1,
        journal_offset=number,
    )
    return made | changes


def unscored(number: int, **changes: Any) -> Row:
    """One row of a trial that the provider failed."""
    scores = ("outcome", "coverage", "order", "execution", "efficiency", "turns", "tool_calls", "tool_failures")
    failed = {"status": "provider_error", "error_category": "timeout", "error_message": "no whole reply within 30 s"}
    return row(number, **(dict.fromkeys(scores) | failed | changes))


def many(count: int, seed: int = 1) -> Iterator[Row]:
    """Rows of two models under all that suites vary, some of them failed, some unscored."""
    draw = Random(seed)
    for number in range(count):
        prompt = draw.choice(("baseline", "cot", "optimal", "optimal", *(f"flawed_{flaw}" for flaw in FLAWS)))
        condition = {
            "model": draw.choice(("alpha-7b", "beta-70b")),
            "prompt_type": prompt,
            "tool_success_rate": draw.choice((0.9, 0.8, 0.7)) if prompt == "optimal" else 0.8,
            "task_id": f"basic_task-{draw.randrange(200):03d}",
            "epoch": number,
            "attempts": 3 + (draw.random() < 0.1),
        }
        if draw.random() < 0.01:
            yield unscored(number, **condition)
            continue
        outcome = draw.choices(("full", "partial", "failure"), (6, 1, 3))[0]
        why = "" if outcome == "full" else draw.choice(("tool_selection", "dependency", "other"))
        yield row(number, outcome=outcome, error_category=why, **condition)


def said(number: int, *replies: str, run_id: str = "run", shard: int = 1) -> Said:
    """The conversation of row ``number``."""
    messages = [
        {"role": "system", "content": "You carry out work orders."},
        {"role": "user", "content": f"Order {number}"},
    ]
    messages += [{"role": "assistant", "content": reply} for reply in replies]
    return Said((run_id, shard, number), json.dumps(messages), json.dumps({"breakdown": {"calls": 3}}))


def long_talk(number: int) -> Said:
    """A conversation of some 8 kB in which every trial differs, ``needle`` in one of a hundred."""
    draw = Random(number)
    words = [f"{draw.randrange(10**6):06d} record" for _ in range(60)]
    replies = [f"<tool_call>{' '.join(draw.sample(words, 25))}</tool_call>" for _ in range(18)]
    if number % 100 == 7:
        replies.append("here is the Needle")
    return said(number, *replies)
