from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.accounting import (
    MIXED,
    CellFigures,
    CellKey,
    Tally,
    key_of,
    pool,
    rate_name,
    summarise,
    wilson,
)
from trials.errors import StoreError
from trials.rows import FIELDS, Row

CELL = CellKey("m", "optimal", "0.8", "easy", "simple_task")


def row(**changes: Any) -> Row:
    made: Row = dict.fromkeys(FIELDS)
    made.update(trial_key="k", status="scored", outcome="full", model="m", prompt_type="optimal", variant="v")
    made.update(tool_success_rate=0.8, difficulty="easy", task_type="simple_task", ended_at=1.0)
    made.update(changes)
    return made


def figures(rows: list[Row], planned: int | None = None, **options: Any) -> CellFigures:
    tally = Tally(None if planned is None else {CELL: planned}, **options)
    for one in rows:
        tally.add(one)
    return tally.cells()[CELL]


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # published examples: R. G. Newcombe, Statistics in Medicine 17 (1998) 857, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.5, 0.999))
def test_wilson_interval_holds_its_rate_and_mirrors(a: int, b: int, confidence: float) -> None:
    low, high = wilson(a, a + b, confidence)
    assert 0 <= low <= high <= 1
    if a + b:
        assert low <= a / (a + b) <= high
    mirrored = wilson(b, a + b, confidence)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


@pytest.mark.parametrize(("successes", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)])
def test_wilson_refuses_what_is_no_proportion(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson(successes, n, confidence)


def test_interval_is_exact_at_none_and_at_all() -> None:
    assert {wilson(0, n)[0] for n in range(1, 3000)} == {0.0}
    assert {wilson(n, n)[1] for n in range(1, 3000)} == {1.0}


def test_interval_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


ENDINGS = st.sampled_from(
    [
        {"outcome": "full"},
        {"outcome": "partial"},
        {"outcome": "failure", "error_category": "max_turns"},
        {"status": "provider_error", "outcome": None, "error_category": "timeout"},
        {"status": "harness_error", "outcome": None},
    ]
)


@given(st.lists(ENDINGS), st.integers(0, 60))
def test_every_planned_trial_is_accounted_for(endings: list[dict[str, Any]], planned: int) -> None:
    one = figures([row(**ending) for ending in endings], planned)
    assert one.scored + one.provider_errors + one.harness_errors + one.pending == one.planned
    assert one.pending >= 0
    assert one.planned == max(planned, len(endings))
    assert one.full + one.partial + one.failed == one.scored
    if one.bounds and one.full_rate is not None:
        assert one.bounds[0] <= one.full_rate <= one.bounds[1]


@given(st.lists(st.tuples(ENDINGS, st.sampled_from("abc"), st.integers(0, 5)), min_size=1), st.randoms())
def test_order_of_rows_does_not_matter(made: list[tuple[dict[str, Any], str, int]], chance: random.Random) -> None:
    rows = [row(variant=variant, ended_at=float(at), **ending) for ending, variant, at in made]
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert json.dumps(summarise(rows)) == json.dumps(summarise(shuffled))


def test_provider_errors_are_in_no_denominator() -> None:
    scored = [row(), row(outcome="partial"), row(outcome="failure")]
    lost = [row(status="provider_error", outcome=None, error_category="timeout")] * 7
    with_errors, without = figures(scored + lost), figures(scored)
    assert with_errors.full_rate == without.full_rate == pytest.approx(1 / 3)
    assert with_errors.full_interval == without.full_interval
    assert with_errors.weighted_success == without.weighted_success == pytest.approx(0.5)
    assert with_errors.coverage == pytest.approx(0.3)
    assert with_errors.missing_reasons == {"timeout": 7}


def test_bounds_tell_what_missing_trials_could_change() -> None:
    one = figures([row()] * 6 + [row(outcome="failure")] * 2, planned=10)
    assert one.bounds == (0.6, 0.8)


def test_means_skip_rows_without_the_value() -> None:
    rows = [row(recovery=0.5, turns=3, duration_ms=1500.0), row(recovery=None, turns=5, duration_ms=2500.0)]
    rows.append(row(recovery=float("nan"), turns=None, followed_flaw=True))
    leaf = figures(rows).to_json()
    assert leaf["means"]["duration_s"] == 2.0
    assert leaf["means"]["turns"] == 4.0
    assert leaf["scores"]["recovery"] == 0.5
    assert leaf["scores"]["followed_flaw"] == 1.0
    assert leaf["scores"]["order"] is None


def test_newest_variant_counts_and_the_rest_is_told() -> None:
    old = [row(variant="old", ended_at=5.0, outcome="failure")] * 3
    new = [row(variant="new", ended_at=1.0), row(variant="new", ended_at=6.0)]
    one = figures(old + new, planned=4)
    assert (one.variant, one.full, one.failed, one.left_out, one.pending) == ("new", 2, 0, 3, 2)


def test_a_run_may_name_the_variant_that_is_its_own() -> None:
    rows = [row(variant="mine", ended_at=1.0), row(variant="later", ended_at=9.0, outcome="failure")]
    one = figures(rows, variants={CELL: "mine"})
    assert (one.variant, one.full, one.failed, one.left_out) == ("mine", 1, 0, 1)


def test_summary_nests_from_model_to_task_type() -> None:
    rows = [row(), row(task_type="basic_task", tool_success_rate=0.1 + 0.2), row(model="n")]
    summary = summarise(rows, {CELL: 20})
    assert summary["m"]["optimal"]["0.8"]["easy"]["simple_task"]["pending"] == 19
    assert summary["m"]["optimal"]["0.3"]["easy"]["basic_task"]["full"] == 1
    assert list(summary) == ["m", "n"]
    leaf = summary["n"]["optimal"]["0.8"]["easy"]["simple_task"]
    assert leaf["rates"]["full"] == {"rate": 1.0, "interval": list(wilson(1, 1))}
    json.dumps(summary, allow_nan=False)


def test_planned_cell_without_a_row_is_all_pending() -> None:
    one = figures([], planned=20)
    assert (one.pending, one.coverage, one.full_rate, one.bounds) == (20, 0.0, None, (0.0, 1.0))


def test_cells_stand_in_the_plans_order_and_difficulties_in_their_own() -> None:
    tally = Tally({CELL._replace(task_type="z"): 1, CELL: 1})
    for difficulty in ("hard", "very_easy", "easy"):
        tally.add(row(model="other", difficulty=difficulty))
    keys = list(tally.cells())
    assert [key.task_type for key in keys[:2]] == ["z", "simple_task"]
    assert [key.difficulty for key in keys[2:]] == ["very_easy", "easy", "hard"]


@given(st.lists(st.tuples(ENDINGS, st.sampled_from(["simple_task", "basic_task"])), min_size=1))
def test_pooled_cells_equal_one_cell_of_all_rows(made: list[tuple[dict[str, Any], str]]) -> None:
    split, joined = Tally(), Tally()
    for turns, (ending, task_type) in enumerate(made):
        split.add(row(task_type=task_type, turns=turns, **ending))
        joined.add(row(turns=turns, **ending))
    assert pool(split.cells().values()) == joined.cells()[CELL]


def test_pool_of_different_variants_says_so() -> None:
    assert pool([figures([row(variant="a")]), figures([row(variant="b")])]).variant == MIXED
    assert pool([figures([row(variant="a")]), CellFigures(planned=3)]).variant == "a"


@pytest.mark.parametrize("change", [{"status": "pending"}, {"status": "done"}, {"outcome": "great"}, {"outcome": None}])
def test_unknown_status_or_outcome_is_refused_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="trial k: unknown"):
        Tally().add(row(**change))


@pytest.mark.parametrize(("rate", "name"), [(0.8, "0.8"), (1, "1.0"), (0.1 + 0.2, "0.3"), (0.66666, "0.6667")])
def test_rates_are_named_to_four_decimals(rate: float, name: str) -> None:
    assert rate_name(rate) == name
    assert key_of(row(tool_success_rate=rate)).rate == name
