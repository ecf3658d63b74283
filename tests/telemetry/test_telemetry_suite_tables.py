from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from telemetry.exports import FORMS, Table, export
from telemetry.suite_figures import SHAPES, slope, study
from telemetry.suite_tables import suite_reading, suite_report, suite_table
from trials.accounting import CellKey, key_of, wilson
from trials.rows import FIELDS, Row
from trials.statistics import clustered_rate_interval, holm, mcnemar

LETTERS = {"F": "full", "P": "partial", "-": "failure"}


def trials(outcomes: str, **changes: Any) -> list[Row]:
    """One row per letter, a task each; ? has no score, a blank no row."""
    made: list[Row] = []
    for task, letter in enumerate(outcomes):
        row: Row = dict.fromkeys(FIELDS)
        row.update(task_id=f"t{task}", epoch=0, model="m", prompt_type="optimal", tool_success_rate=0.8)
        row.update(difficulty="easy", task_type="simple_task", seed=42, variant="v", definition="d", ended_at=1.0)
        row.update(status="scored" if letter in LETTERS else "provider_error", outcome=LETTERS.get(letter))
        row.update(changes)
        if letter != " ":
            made.append(row)
    return made


def planned_of(rows: list[Row]) -> Counter[CellKey]:
    return Counter(key_of(row) for row in rows)


def records(table: Table) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows of a table by their names: (model,) or (model, level)."""
    rows = json.loads(export(table, "json"))["rows"]
    return {tuple(value for value in row.values() if isinstance(value, str)): row for row in rows}


def table_of(suite: str, rows: list[Row], simulated: bool = False) -> dict[tuple[str, ...], dict[str, Any]]:
    return records(suite_table(suite, rows, planned_of(rows), simulated=simulated))


def reading_of(suite: str, rows: list[Row], simulated: bool = False) -> str:
    return suite_reading(suite, rows, planned_of(rows), simulated=simulated)


MODELS = [
    *trials("FFFFFFFFFFFF", model="strong"),
    *trials("F--P-----?--", model="weak"),
    *trials("FFFFFFFFFFF-", model="near"),
]
PROMPTS = [
    *trials("F-----------", prompt_type="baseline"),
    *trials("FF-F--------", prompt_type="cot"),
    *trials("FFFFFFFFFFF-", prompt_type="optimal"),
]


def test_each_model_has_its_rates_bounds_and_coverage() -> None:
    weak = table_of("5.1", MODELS)["weak",]
    assert (weak["scored"], weak["planned"], weak["full_rate"], weak["partial_rate"]) == (11, 12, 1 / 11, 1 / 11)
    assert weak["full_interval"] == pytest.approx(list(wilson(1, 11)))
    assert (weak["weighted_success"], weak["coverage"], weak["bounds"]) == (1.5 / 11, 11 / 12, [1 / 12, 2 / 12])


def test_each_two_models_are_compared_as_one_family() -> None:
    told = records(suite_report("5.1", MODELS, planned_of(MODELS), simulated=False).comparisons)
    p_values = holm([mcnemar(10, 0), mcnemar(1, 0), mcnemar(0, 9)])
    assert [told[pair]["adjusted_p"] for pair in (("strong", "weak"), ("strong", "near"), ("weak", "near"))] == p_values
    assert told["strong", "weak"]["lost"] == 1


def test_reading_names_what_survives_and_leaves_the_rest_undecided() -> None:
    found, undecided = reading_of("5.1", MODELS).split("Undecided: ")
    assert "2 of 3 paired differences of full success survive Holm's correction" in found
    assert "strong against weak +90.9 points [" in found
    assert "weak against near −81.8 points [" in found
    assert undecided.startswith("strong against near +8.3 points [")


def test_reading_turns_with_the_figures() -> None:
    swapped = {"strong": "weak", "weak": "strong", "near": "near"}
    turned = reading_of("5.1", [row | {"model": swapped[row["model"]]} for row in MODELS])
    assert "weak against strong +90.9 points" in turned
    alike = reading_of("5.1", [*trials("FF-F", model="a"), *trials("FF-F", model="b")])
    assert "None of 1 paired difference of full success survives" in alike
    assert "Undecided: a against b 0.0 points [" in alike
    assert "equal" not in alike


def test_reading_tells_coverage_and_bounds() -> None:
    told = reading_of("5.1", MODELS)
    assert "Coverage is below 100 % in 1 of 3 rows" in told
    assert "weak 91.7 % (bounds 8.3 to 16.7 %)" in told
    assert "1 provider_error, 0 harness_error and 0 pending" in told
    assert "2 pairs had no score on a side" in told
    assert "Every planned trial has a score." in reading_of("5.5", PROMPTS)


def test_planned_trials_without_rows_are_pending_and_scored_ones_without_partner_told() -> None:
    rows = [*trials("FF-F", model="a"), *trials("FF", model="b")]
    planned = Counter({key_of(row): 4 for row in rows})
    told = suite_reading("5.1", rows, planned, simulated=False)
    assert "b 50.0 % (bounds 50.0 to 100.0 %)" in told
    assert "0 harness_error and 2 pending" in told
    assert "2 scored trials had no partner" in told


def test_prompt_types_are_compared_with_the_baseline() -> None:
    told = table_of("5.5", PROMPTS)
    assert list(told) == [("m", "baseline"), ("m", "cot"), ("m", "optimal")]
    assert told["m", "baseline"]["difference"] is None
    assert (told["m", "cot"]["difference"], told["m", "optimal"]["difference"]) == (2 / 12, 10 / 12)
    adjusted = holm([mcnemar(2, 0), mcnemar(10, 0)])
    assert [told["m", name]["adjusted_p"] for name in ("cot", "optimal")] == adjusted
    assert "m / optimal against baseline +83.3 points" in reading_of("5.5", PROMPTS).split("Undecided")[0]


def test_difficulties_are_compared_on_the_same_tasks() -> None:
    rows = [*trials("FFFF-", difficulty="very_easy"), *trials("F-F--", difficulty="medium")]
    told = table_of("5.2", rows)
    assert list(told) == [("m", "very_easy"), ("m", "medium")]
    assert told["m", "medium"]["difference"] == -2 / 5
    assert "80.0 % [37.6, 96.4] with very_easy, 40.0 % [11.8, 76.9] with medium" in reading_of("5.2", rows)


FLAWED = [
    *trials("FFFFFFFFFF-P", efficiency=1.0),
    *(row | {"followed_flaw": True, "recovered": False} for row in trials(
        "---------?--", prompt_type="flawed_missing_step", efficiency=0.5, severity="severe")),
    *(row | {"followed_flaw": n < 4, "recovered": (n < 3) if n < 4 else None} for n, row in enumerate(trials(
        "FFF-FFFFFF-F", prompt_type="flawed_tool_misuse", efficiency=1.0, severity="severe"))),
]  # fmt: skip


def test_flaws_are_compared_with_the_control_on_the_same_tasks() -> None:
    told = table_of("5.3", FLAWED)
    step, misuse = told["m", "flawed_missing_step"], told["m", "flawed_tool_misuse"]
    assert next(iter(told)) == ("m", "optimal")
    assert (step["difference"], misuse["difference"]) == (-9 / 11, 0)
    assert [step["adjusted_p"], misuse["adjusted_p"]] == holm([mcnemar(0, 9), mcnemar(1, 1)])
    assert (step["followed_flaw"], step["recovered"]) == (1, 0)
    assert (misuse["followed_flaw"], misuse["recovered"]) == (4 / 12, 3 / 4)
    assert (step["efficiency_difference"], misuse["efficiency_difference"]) == (-0.5, 0)
    assert told["m", "optimal"]["followed_flaw"] is None


def test_reading_of_flaws_tells_following_recovery_and_efficiency() -> None:
    told = reading_of("5.3", FLAWED)
    assert "1 of 2 paired differences of full success survives" in told
    assert "m / flawed_missing_step against optimal −81.8 points" in told
    assert "followed in 65.2 % of 23 flawed trials" in told
    assert "least in m / flawed_tool_misuse (33.3 %), most in m / flawed_missing_step (100.0 %)" in told
    assert "Of 15 trials that followed it, 20.0 % still ended in full success" in told
    assert "Efficiency moves most in m / flawed_missing_step: −0.500" in told


RATES = [
    *trials("FFF-------", tool_success_rate=0.6),
    *trials("FFFFFFFFF-", tool_success_rate=0.9),
    *trials("FFFFF-----", tool_success_rate=0.7),
    *trials("FFFFFFF---", tool_success_rate=0.8),
]


def test_tool_success_rates_stand_from_the_highest_down_with_their_slope() -> None:
    told = table_of("5.4", RATES)
    assert [name for _, name in told] == ["0.9", "0.8", "0.7", "0.6"]
    assert [one["difference"] for one in told.values()] == [None, -0.2, -0.4, -0.6]
    steep = study("5.4", RATES, {}, simulated=False).groups
    assert slope(steep) == pytest.approx(2)
    assert slope(steep[:1]) is None
    assert "full success falls by 20.0 points with each 0.1 less of tool success rate" in reading_of("5.4", RATES)


def test_slope_in_words_follows_its_sign() -> None:
    turned = [row | {"tool_success_rate": 1.5 - row["tool_success_rate"]} for row in RATES]
    assert "full success rises by 20.0 points" in reading_of("5.4", turned)
    level = [*trials("FF--", tool_success_rate=0.9), *trials("-F-F", tool_success_rate=0.6)]
    assert "full success stays level" in reading_of("5.4", level)
    assert "no slope" in reading_of("5.4", trials("FF--", tool_success_rate=0.9))


def test_rates_of_repeated_tasks_have_clustered_intervals() -> None:
    rows = [row for epoch in range(5) for row in trials("FFFFF-----", epoch=epoch)]
    interval = table_of("5.1", rows)["m",]["full_interval"]
    assert interval == list(clustered_rate_interval([(5, 5)] * 5 + [(0, 5)] * 5))
    assert interval[1] - interval[0] > 1.5 * (wilson(25, 50)[1] - wilson(25, 50)[0])


def test_task_types_of_a_model_are_taken_together() -> None:
    other = [row | {"task_id": f"other {row['task_id']}"} for row in trials("F---", task_type="basic_task")]
    assert table_of("5.1", [*trials("FF--"), *other])["m",]["full_rate"] == 3 / 8


def test_rows_of_an_older_variant_are_left_out_and_told() -> None:
    rows = [*trials("----", variant="old", ended_at=0.5), *trials("FFF-", ended_at=2.0)]
    made = suite_table("5.1", rows, Counter({key_of(rows[0]): 4}), simulated=False)
    assert records(made)["m",]["full_rate"] == 0.75
    assert records(made)["m",]["full_interval"] == pytest.approx(list(wilson(3, 4)))
    assert any("left out: 4 older rows" in note for note in made.notes)


def test_one_simulated_row_marks_everything() -> None:
    rows = [*trials("FF--", model="a"), *trials("FF--", model="b", simulated=True)]
    report = suite_report("5.1", rows, planned_of(rows), simulated=False)
    assert report.table.simulated
    assert report.comparisons.simulated
    assert report.reading.startswith("SIMULATED")
    assert "SIMULATED" not in reading_of("5.1", MODELS)
    assert reading_of("5.1", MODELS, simulated=True).startswith("SIMULATED")


@pytest.mark.parametrize("suite", list(SHAPES))
def test_a_suite_without_a_score_says_so(suite: str) -> None:
    planned = {CellKey("m", "optimal", "0.8", "easy", "simple_task"): 5}
    assert suite_reading(suite, [], planned, simulated=True).endswith("No trial has a score yet, so there is nothing to"
                                                                      " read.")  # fmt: skip
    [row] = records(suite_table(suite, [], planned, simulated=True)).values()
    assert (row["scored"], row["planned"], row["full_rate"], row["coverage"]) == (0, 5, None, 0)
    assert suite_table(suite, [], {}, simulated=True).rows == ()


def test_a_suite_without_its_reference_compares_nothing() -> None:
    rows = trials("FF-", prompt_type="cot")
    assert table_of("5.5", rows)["m", "cot"]["difference"] is None
    assert "Holm" not in reading_of("5.5", rows)


@pytest.mark.parametrize(
    ("suite", "rows"),
    [("5.1", MODELS), ("5.3", FLAWED), ("5.4", RATES), ("5.5", PROMPTS)],
    ids=["5.1", "5.3", "5.4", "5.5"],
)
def test_order_of_rows_changes_nothing(suite: str, rows: list[Row]) -> None:
    planned = planned_of(rows)
    expected = suite_report(suite, rows, planned, simulated=True)
    for seed in range(3):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert suite_report(suite, shuffled, planned, simulated=True) == expected


def test_readings_are_one_line_and_keep_strangers_names_harmless() -> None:
    rows = [*trials("FF--", model="a\x1b[2J\nb"), *trials("F---", model="c")]
    report = suite_report("5.1", rows, planned_of(rows), simulated=False)
    assert "\x1b" not in report.reading
    assert "\n" not in report.reading
    assert all("\x1b" not in export(report.table, form) for form in FORMS)


def test_long_lists_are_cut_and_the_rest_counted() -> None:
    rows = [row for n in range(9) for row in trials("FF-?", model=f"m{n}")]
    told = reading_of("5.1", rows)
    assert "; and 30 more." in told
    assert "Coverage is below 100 % in 9 of 9 rows" in told
    assert "; and 3 more." in told
