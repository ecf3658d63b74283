"""How a run's end is put into a JSON object, and into a sentence within it."""

from __future__ import annotations

import json

import pytest

from telemetry.notify import OUTCOMES, ending

TOLD = {
    "run_id": "sim-optimal-8f3a",
    "exit_code": 0,
    "simulated": True,
    "counts": {"scored": 1200, "provider_error": 2, "pending": 34},
    "duration_s": 75.25,
    "cost_usd": 1.5,
    "max_cost_usd": None,
    "results_dir": "/data/results",
    "ended_at": 1_800_000_000.0,
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_sentence_says_what_became_of_how_many_trials_and_what_they_cost(outcome: str) -> None:
    text = ending(outcome=outcome, **TOLD)["text"]  # type: ignore[arg-type]
    assert text.startswith(f"run sim-optimal-8f3a {OUTCOMES[outcome]}: 1,200 of 1,236 trials scored in 1:15")
    assert text.endswith(", $1.50 spent (simulated)")


def test_the_counts_add_up_and_the_whole_is_json() -> None:
    told = json.loads(json.dumps(ending(outcome="unscored", **TOLD)))  # type: ignore[arg-type]
    parts = ("scored", "provider_errors", "harness_errors", "pending")
    assert told["planned"] == sum(told[part] for part in parts) == 1236
    assert told["cost_usd"] == 1.5


def test_a_cost_that_is_not_known_is_not_spoken_of() -> None:
    told = ending(outcome="finished", **{**TOLD, "cost_usd": None, "simulated": False})  # type: ignore[arg-type]
    assert "$" not in told["text"]
    assert "simulated" not in told["text"]
    assert told["cost_usd"] is None
