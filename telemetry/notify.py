"""How a run ended, as a small JSON object for programs and, in its ``text``, as a sentence for people.

It is what stands in ``logs/<run>/DONE`` and what ``--notify`` posts. Chat services that take ``text`` (Slack,
Mattermost, Google Chat) show the sentence; others may show the whole. Writes and sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telemetry.wording import dollars, duration
from trials.words import HARNESS_ERROR, PENDING, PROVIDER_ERROR, SCORED

FINISHED, UNSCORED, BUDGET, DEADLINE = "finished", "unscored", "budget", "deadline"
INTERRUPTED, FAILED = "interrupted", "failed"
OUTCOMES = {
    FINISHED: "finished",
    UNSCORED: "ended, but some trials have no score",
    BUDGET: "stopped at its --max-cost",
    DEADLINE: "stopped at its --deadline",
    INTERRUPTED: "was interrupted",
    FAILED: "failed",
}
"""What a run may come to, and how that is put into words."""


def ending(
    *,
    run_id: str,
    outcome: str,
    exit_code: int,
    simulated: bool,
    counts: Mapping[str, int],
    duration_s: float,
    cost_usd: float | None,
    max_cost_usd: float | None,
    results_dir: str,
    ended_at: float,
    message: str = "",
) -> dict[str, Any]:
    """Return the object. ``counts`` maps each status to its trials; ``ended_at`` is in Unix seconds."""
    planned = sum(counts.values())
    text = f"run {run_id} {OUTCOMES[outcome]}: {counts.get(SCORED, 0):,} of {planned:,} trials scored"
    text += f" in {duration(duration_s)}"
    if cost_usd is not None:
        text += f", {dollars(cost_usd)} spent"
    if simulated:
        text += " (simulated)"
    if message:
        text += f". {message}"
    return {
        "run_id": run_id,
        "outcome": outcome,
        "exit_code": exit_code,
        "text": text,
        "simulated": simulated,
        "planned": planned,
        "scored": counts.get(SCORED, 0),
        "provider_errors": counts.get(PROVIDER_ERROR, 0),
        "harness_errors": counts.get(HARNESS_ERROR, 0),
        "pending": counts.get(PENDING, 0),
        "duration_s": round(duration_s, 3),
        "cost_usd": None if cost_usd is None else round(cost_usd, 6),
        "max_cost_usd": max_cost_usd,
        "results_dir": results_dir,
        "ended_at": round(ended_at, 3),
        "message": message,
    }
