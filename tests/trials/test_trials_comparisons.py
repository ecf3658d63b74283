from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.comparisons import PAIRED_ON, adjusted, compare, compare_all, pair
from trials.rows import FIELDS, Row
from trials.statistics import difference_interval, holm, mcnemar, paired_bootstrap

LETTERS = {"F": "full", "P": "partial", "-": "failure"}


def row(task: object, outcome: str = "F", **changes: Any) -> Row:
    made: Row = dict.fromkeys(FIELDS)
    made.update(task_id=str(task), epoch=0, tool_success_rate=0.8, difficulty="easy", seed=42, definition="d")
    made.update(status="scored", outcome=LETTERS.get(outcome), max_turns=10, tool_protocol="tags")
    if outcome == "?":
        made["status"] = "provider_error"
    made.update(changes)
    return made


def side(outcomes: str, **changes: Any) -> list[Row]:
    """One row per letter, a task each; a blank leaves the task out."""
    return [row(task, letter, **changes) for task, letter in enumerate(outcomes) if letter != " "]


def test_comparison_is_that_of_the_pairs_by_hand() -> None:
    one = compare(side("FFFFP--F"), side("F-PFF-F-"), names=("x", "y"))
    assert (one.name_a, one.name_b, one.pairs, one.tasks) == ("x", "y", 8, 8)
    assert (one.rate_a, one.rate_b, one.difference) == (5 / 8, 4 / 8, 1 / 8)
    assert (one.b, one.c, one.ahead_a, one.ahead_b) == (3, 2, 3, 2)
    assert one.p == mcnemar(3, 2)
    full = [0.0, 1.0, 1.0, 0.0, -1.0, 0.0, -1.0, 1.0]
    assert one.interval == difference_interval({str(n): [value] for n, value in enumerate(full)})
    weighted = [0.0, 1.0, 0.5, 0.0, -0.5, 0.0, -1.0, 1.0]
    assert one.weighted == paired_bootstrap({str(n): [value] for n, value in enumerate(weighted)})


def test_rows_without_a_score_or_partner_are_told_and_enter_nothing() -> None:
    one = compare(side("FF?F F?"), side("F-F?FF "))
    assert (one.pairs, one.lost) == (3, 2)
    assert (one.unpaired_a, one.unpaired_b) == (0, 1)  # the last of a has no score, hence is no loss to pairing
    assert (one.rate_a, one.rate_b) == (1, 2 / 3)


@pytest.mark.parametrize(
    ("field", "other"),
    [("epoch", 1), ("difficulty", "hard"), ("tool_success_rate", 0.7), ("seed", 1), ("definition", "new")],
)
def test_rows_that_were_asked_otherwise_are_no_pair(field: str, other: object) -> None:
    a, b = side("FF"), [row(0), row(1, **{field: other})]
    one = compare(a, b)
    assert (one.pairs, one.unpaired_a, one.unpaired_b) == (1, 1, 1)
    allowed = compare(a, b, on=[name for name in PAIRED_ON if name != field])
    assert (allowed.pairs, allowed.unpaired_a) == (2, 0)


def test_tool_success_rates_are_paired_as_they_are_named() -> None:
    assert compare([row(0, tool_success_rate=0.1 + 0.2)], [row(0, tool_success_rate=0.3)]).pairs == 1


def test_two_rows_for_one_place_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="task_id 0, epoch 0"):
        pair([row(0), row(0, "-")], [row(0)])


def test_comparison_without_a_pair_has_no_figures() -> None:
    one = compare(side("F "), side(" F"))
    assert (one.pairs, one.unpaired_a, one.unpaired_b) == (0, 1, 1)
    assert (one.difference, one.interval, one.p, one.weighted) == (None, None, None, None)


def test_epochs_are_tested_by_task_not_by_trial() -> None:
    a = [row(task, "F", epoch=epoch) for task in range(3) for epoch in range(10)]
    b = [row(task, "-", epoch=epoch) for task in range(3) for epoch in range(10)]
    one = compare(a, b)
    assert (one.pairs, one.tasks, one.b, one.ahead_a) == (30, 3, 30, 3)
    assert one.p == mcnemar(3, 0) == pytest.approx(0.25)


def test_a_task_that_both_sides_solve_equally_often_favours_none() -> None:
    a = [row(0, "F", epoch=0), row(0, "-", epoch=1)]
    b = [row(0, "-", epoch=0), row(0, "F", epoch=1)]
    one = compare(a, b)
    assert (one.b, one.c, one.ahead_a, one.ahead_b, one.p) == (1, 1, 0, 0, 1)


def test_further_scores_are_compared_where_both_rows_have_them() -> None:
    a = [row(0, efficiency=0.5), row(1, efficiency=0.25), row(2, efficiency=None), row(3, efficiency=float("nan"))]
    b = [row(0, efficiency=1.0), row(1, efficiency=0.5), row(2, efficiency=1.0), row(3, efficiency=1.0)]
    one = compare(a, b, scores=("efficiency", "recovery"))
    assert list(one.scores) == ["efficiency"]
    assert one.scores["efficiency"].mean == -0.375


OUTCOMES = st.text("FP-? ", min_size=12, max_size=12)


@given(OUTCOMES, OUTCOMES, st.randoms())
def test_swapping_sides_turns_every_sign_and_order_of_rows_is_nothing(a: str, b: str, chance: random.Random) -> None:
    there = compare(side(a), side(b), resamples=20)
    shuffled = chance.sample(side(b), len(side(b)))
    back = compare(shuffled, side(a), resamples=20)
    assert (there.pairs, there.lost, there.b, there.unpaired_a) == (back.pairs, back.lost, back.c, back.unpaired_b)
    assert there.p == back.p
    if there.difference is not None and back.difference is not None and there.interval and back.interval:
        assert there.difference == -back.difference
        assert there.interval == pytest.approx((-back.interval.high, -back.interval.low))


@given(OUTCOMES, OUTCOMES)
def test_every_scored_row_is_paired_unpaired_or_lost(a: str, b: str) -> None:
    pairing = pair(side(a), side(b))
    scored = sum(letter in "FP-" for letter in a)
    lost_of_a = sum(x in "FP-" and y == "?" for x, y in zip(a, b, strict=True))
    assert len(pairing.pairs) + pairing.unpaired_a + lost_of_a == scored
    assert lost_of_a <= pairing.lost


def test_all_pairs_or_all_against_a_baseline_are_one_family() -> None:
    groups = {"x": side("FFFFFFFFFF"), "y": side("----------"), "z": side("FF-F-F-F-F")}
    every = compare_all(groups)
    assert [(one.name_a, one.name_b) for one in every] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert [one.adjusted_p for one in every] == holm([mcnemar(10, 0), mcnemar(4, 0), mcnemar(6, 0)])
    assert [one.survives for one in every] == [True, False, False]
    against = compare_all(groups, "z")
    assert [(one.name_a, one.name_b) for one in against] == [("x", "z"), ("y", "z")]
    assert [one.adjusted_p for one in against] == holm([mcnemar(4, 0), mcnemar(6, 0)])


def test_comparisons_without_a_pair_are_not_in_the_family() -> None:
    none, some = compare(side("F "), side(" F")), compare(side("FFFFFF"), side("------"))
    corrected = adjusted([none, some])
    assert [one.adjusted_p for one in corrected] == [None, mcnemar(6, 0)]
    assert not corrected[0].survives
