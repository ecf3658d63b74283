"""The result row: one flat record per ended trial, the same in every store.

A row holds the trial's condition, what became of it, its scores and what it cost. ``run_id``, ``shard`` and
``journal_offset`` name the journal line it came from, which makes merging idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trials.digest import digest
from trials.words import SCORED, Cell, Completion, Marked, Trial

Row = dict[str, Any]

FIELDS: dict[str, type] = {
    "trial_key": str,
    "status": str,
    "outcome": str,
    "model": str,
    "origin": str,
    "prompt_type": str,
    "tool_success_rate": float,
    "difficulty": str,
    "task_type": str,
    "task_id": str,
    "epoch": int,
    "severity": str,
    "tool_protocol": str,
    "temperature": float,
    "max_tokens": int,
    "max_turns": int,
    "seed": int,
    "variant": str,
    "definition": str,
    "simulated": bool,
    "error_category": str,
    "error_message": str,
    "coverage": float,
    "order": float,
    "execution": float,
    "recovery": float,
    "efficiency": float,
    "followed_flaw": bool,
    "recovered": bool,
    "turns": int,
    "tool_calls": int,
    "tool_failures": int,
    "deviations": str,
    "plan_diff": str,
    "answer": str,
    "target": str,
    "score": float,
    "scorer_score": float,
    "requests": int,
    "attempts": int,
    "cache_hits": int,
    "prompt_tokens": int,
    "completion_tokens": int,
    "judge_requests": int,
    "judge_prompt_tokens": int,
    "judge_completion_tokens": int,
    "cost_usd": float,
    "queue_ms": float,
    "rate_wait_ms": float,
    "retry_wait_ms": float,
    "provider_ms": float,
    "duration_ms": float,
    "started_at": float,
    "ended_at": float,
    "provider": str,
    "deployment": str,
    "reported_model": str,
    "run_id": str,
    "shard": int,
    "journal_offset": int,
}
"""Name → type of every column, in order. Any column may be None (an unscored trial has no scores)."""


SHARED = (
    *("model", "origin", "prompt_type", "tool_success_rate", "difficulty", "task_type", "severity", "tool_protocol"),
    *("temperature", "max_tokens", "max_turns", "seed", "variant", "definition"),
    *("simulated", "provider", "deployment"),
)
"""The fields that all trials of a cell share in a shard. In a journal they stand apart, to be read once for many."""

_MARKS = (
    *("outcome", "coverage", "order", "execution", "recovery", "efficiency", "followed_flaw", "recovered"),
    *("turns", "tool_calls", "tool_failures", "plan_diff", "answer", "target", "score", "scorer_score"),
)
"""The fields of ``Marked`` that stand in a row as they are."""


@dataclass(slots=True, kw_only=True)
class Cost:
    """What a trial has used so far, added up over its completions. Times in milliseconds, clocks in Unix seconds.

    ``cost_usd`` is None once the price of a completion is not known; a judge's completions count.
    """

    requests: int = 0
    attempts: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    judge_requests: int = 0
    judge_prompt_tokens: int = 0
    judge_completion_tokens: int = 0
    cost_usd: float | None = 0.0
    queue_ms: float = 0.0
    rate_wait_ms: float = 0.0
    retry_wait_ms: float = 0.0
    provider_ms: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    reported_model: str = ""

    def add(self, completion: Completion, *, judge: bool = False) -> None:
        """Count one completion, fresh or replayed; a judge's counts for itself, and takes none of the model's time."""
        if self.cost_usd is not None:
            self.cost_usd = None if completion.cost_usd is None else self.cost_usd + completion.cost_usd
        if judge:
            self.judge_requests += 1
            self.judge_prompt_tokens += completion.prompt_tokens
            self.judge_completion_tokens += completion.completion_tokens
            return
        self.requests += 1
        self.attempts += completion.attempts
        self.cache_hits += completion.cached
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.rate_wait_ms += completion.rate_wait_ms
        self.retry_wait_ms += completion.retry_wait_ms
        self.provider_ms += completion.provider_ms
        self.reported_model = completion.reported_model or self.reported_model


def variant(cell: Cell, definition: str) -> str:
    """Digest what a cell's name leaves out; rows of different variants are never pooled in one figure."""
    return digest(
        [
            definition,
            cell.severity,
            cell.tool_protocol,
            cell.sampling.temperature,
            cell.sampling.max_tokens,
            dict(cell.sampling.extra),
            cell.max_turns,
            cell.seed,
            cell.origin,
        ],
        4,
    )


def shared_fields(cell: Cell, definition: str, *, simulated: bool, provider: str, deployment: str) -> Row:
    """Return the fields of a row that are the same for every trial of a cell that a shard runs."""
    return {
        "model": cell.model,
        "origin": cell.origin,
        "prompt_type": cell.prompt_type,
        "tool_success_rate": round(cell.tool_success_rate, 4),
        "difficulty": cell.difficulty,
        "task_type": cell.task_type,
        "severity": cell.severity,
        "tool_protocol": cell.tool_protocol,
        "temperature": cell.sampling.temperature,
        "max_tokens": cell.sampling.max_tokens,
        "max_turns": cell.max_turns,
        "seed": cell.seed,
        "variant": variant(cell, definition),
        "definition": definition,
        "simulated": simulated,
        "provider": provider,
        "deployment": deployment,
    }


def own_fields(
    trial: Trial,
    *,
    status: str,
    cost: Cost,
    marked: Marked | None = None,
    error_category: str = "",
    error_message: str = "",
) -> Row:
    """Return the fields of an ended trial's row that are its own; scores are among them only if it is scored.

    A field that is not there is None wherever rows are read: in a journal of a million they would be a third of it.
    """
    row: Row = {
        "trial_key": trial.trial_key,
        "status": status,
        "task_id": trial.task_id,
        "epoch": trial.epoch,
        "error_category": error_category,
        "error_message": error_message,
        "requests": cost.requests,
        "attempts": cost.attempts,
        "cache_hits": cost.cache_hits,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "judge_requests": cost.judge_requests,
        "judge_prompt_tokens": cost.judge_prompt_tokens,
        "judge_completion_tokens": cost.judge_completion_tokens,
        "queue_ms": _thousandths(cost.queue_ms),
        "rate_wait_ms": _thousandths(cost.rate_wait_ms),
        "retry_wait_ms": _thousandths(cost.retry_wait_ms),
        "provider_ms": _thousandths(cost.provider_ms),
        "duration_ms": _thousandths((cost.ended_at - cost.started_at) * 1000),
        "started_at": cost.started_at,
        "ended_at": cost.ended_at,
        "reported_model": cost.reported_model,
    }
    if cost.cost_usd is not None:
        row["cost_usd"] = round(cost.cost_usd, 10)
    if status == SCORED and marked is not None:
        row["error_category"] = marked.error_category
        row["deviations"] = ",".join(marked.deviations)
        for name in _MARKS:
            if (value := getattr(marked, name)) is not None:
                row[name] = value
    return row


def _thousandths(value: float) -> float:
    """Round to three places; ``round`` takes five times as long."""
    return int(value * 1000 + 0.5) / 1000
