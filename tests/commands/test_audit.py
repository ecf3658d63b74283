from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from question_runs import Banks, question_row

from commands.audit import run_audit
from stores.run_directory import RunDirectory
from trials.errors import UsageError

SKILLS = {"fair": 0.8, "good": 0.9, "best": 0.95}
WRONG = {"q3": "-999", "q7": "-998"}
"""The labels that are planted wrong; the truth of question n is n + 100."""


def answers(model: str, size: int = 60) -> list:
    draw = random.Random(model)
    rows = []
    for number in range(size):
        truth = str(number + 100)
        sure = f"q{number}" in WRONG
        answer = truth if sure or draw.random() < SKILLS[model] else str(draw.randrange(10_000))
        rows.append(question_row(f"q{number}", model, answer, WRONG.get(f"q{number}", truth)))
    return rows


def asked(banks: Banks, models: tuple[str, ...] = tuple(SKILLS), **changes) -> RunDirectory:
    return banks.run(models, [row for model in models for row in answers(model)], **changes)


def audited(banks: Banks, **options) -> int:
    options = {"run": None, "logs_dir": str(banks.logs), **options}
    return run_audit(str(banks.store()), **options)


def test_wrong_labels_are_listed_with_answer_and_who_agrees(banks, capsys):
    asked(banks)
    assert audited(banks) == 0
    told = capsys.readouterr().out
    assert told.startswith("SIMULATED")
    row = next(line for line in told.splitlines() if line.startswith("q3 "))
    assert row.split()[:3] == ["q3", "-999", "103"]
    assert row.endswith("best, fair, good")
    assert float(row.split()[3]) > 0.9
    assert "2 of 60 labels are wrong with P >= 0.5" in told


def test_accuracy_is_told_before_and_after(banks, capsys):
    asked(banks)
    audited(banks)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["good"]]
    before, after = float(rows[0][2]), float(rows[0][5])
    assert after == pytest.approx(before + 100 * 2 / 60, abs=0.5)


def test_models_of_several_runs_are_put_together(banks, capsys):
    for model in SKILLS:
        asked(banks, (model,))
    audited(banks)
    assert "2 of 60 labels" in capsys.readouterr().out


def test_one_run_is_audited_by_itself_even_before_it_was_merged(banks, capsys):
    asked(banks, ("fair",))
    run = asked(banks, ("good", "best"), merged=False)
    audited(banks, run=run.run_id[:20])
    told = capsys.readouterr().out
    assert "good" in told
    assert "fair" not in told


def read_csv(path: Path) -> list[dict]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


READERS = {".csv": read_csv, ".jsonl": read_lines, ".parquet": lambda path: pq.read_table(path).to_pylist()}


@pytest.mark.parametrize("suffix", READERS)
def test_export_holds_all_that_relabelling_needs(banks, tmp_path, suffix):
    asked(banks)
    path = tmp_path / f"suspects{suffix}"
    audited(banks, export=str(path))
    rows = {row["id"]: row for row in READERS[suffix](path)}
    assert set(rows) == set(WRONG)
    assert (rows["q3"]["label"], rows["q3"]["suggestion"], rows["q3"]["answer_good"]) == ("-999", "103", "103")
    assert rows["q3"]["question"] == "What is q3?"
    assert float(rows["q3"]["p_wrong"]) > 0.9


def test_suggestions_are_spelt_as_a_model_wrote_them(banks, tmp_path):
    rows = [question_row(f"q{n}", model, "Paris", "London") for n in range(3) for model in ("a", "b", "c")]
    rows += [question_row(f"p{n}", model, "x", "x") for n in range(30) for model in ("a", "b", "c")]
    banks.run(("a", "b", "c"), rows)
    audited(banks, export=str(tmp_path / "out.jsonl"))
    assert {row["suggestion"] for row in read_lines(tmp_path / "out.jsonl")} == {"Paris"}


def test_a_formula_in_an_answer_is_harmless_in_csv_and_a_number_stays_one(banks, tmp_path):
    models = ("a", "b", "c")
    rows = [question_row(f"p{n}", model, "x", "x") for n in range(30) for model in models]
    rows += [question_row("evil", model, '=HYPERLINK("x")', "-5") for model in models]
    banks.run(models, rows)
    audited(banks, export=str(tmp_path / "out.csv"))
    (row,) = read_csv(tmp_path / "out.csv")
    assert row["suggestion"].startswith("'=")
    assert row["label"] == "-5"


def test_near_copies_are_told(banks, capsys):
    rows = [row for model in SKILLS for row in answers(model, 400)]
    again = [{**row, "model": "twin", "trial_key": f"twin {row['task_id']}"} for row in answers("fair", 400)]
    banks.run((*SKILLS, "twin"), rows + again)
    audited(banks)
    assert "counted as one vote: fair, twin" in capsys.readouterr().out


def test_one_model_alone_is_refused_with_what_to_do(banks):
    asked(banks, ("good",))
    with pytest.raises(UsageError, match=r"two models at least.*ask the same questions of another model"):
        audited(banks)


def test_a_store_without_questions_is_refused(banks):
    banks.run(("m",), [question_row("q", "m", "1", "1", prompt_type="optimal")])
    with pytest.raises(UsageError, match="no scored answers to labelled questions"):
        audited(banks)


def test_unlabelled_questions_are_told(banks):
    banks.run(("m",), [question_row("q", "m", "1", "")])
    with pytest.raises(UsageError, match="1 answers are to questions without a label"):
        audited(banks)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"export": "out.xlsx"}, r"--export: out.xlsx must end in .csv, .jsonl or .parquet"),
        ({"export": "nowhere/out.csv"}, "no such folder"),
        ({"least": 1.5}, "not a probability"),
        ({"least": float("nan")}, "not a probability"),
        ({"run": "nothing"}, "no run 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_read(banks, options, why):
    asked(banks)
    with pytest.raises(UsageError, match=why):
        audited(banks, **options)


def test_a_place_without_a_store_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no results store here"):
        run_audit(str(tmp_path), run=None, logs_dir="logs")
