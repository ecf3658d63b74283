from __future__ import annotations

import io
from typing import Any

import pytest
from pseudo_terminal import Terminal, screen

from telemetry.exports import export
from telemetry.question_tables import question_table, render_questions
from telemetry.question_tally import TALLIED, QuestionTally
from trials.accounting import wilson
from trials.statistics import clustered_rate_interval

TERMINAL = {"TERM": "xterm", "LANG": "C.UTF-8", "NO_COLOR": "1"}


def row(task: str, right: bool = True, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = dict.fromkeys(TALLIED)
    made.update(model="qwen2.5-72b-instruct", variant="v", task_type="sums", task_id=task, epoch=0, status="scored")
    made.update(outcome="full" if right else "failure", error_category="" if right else "wrong_answer", ended_at=1.0)
    made.update(answer="a" if right else "b", target="a", score=float(right), requests=1, cache_hits=0)
    made.update(provider_ms=24.0, prompt_tokens=100, completion_tokens=7)
    made.update(changes)
    return made


def lost(task: str, **changes: Any) -> dict[str, Any]:
    return row(task, **{"status": "provider_error", "outcome": None, "score": None, "provider_ms": 0.0, **changes})


def tallied(*rows: dict[str, Any], **options: Any) -> QuestionTally:
    tally = QuestionTally(**options)
    for one in rows:
        tally.add(one)
    return tally


def written(tally: QuestionTally) -> list[str]:
    stream = io.StringIO()
    render_questions(tally.figures(), stream, simulated=False, environ={})
    return stream.getvalue().splitlines()


def test_accuracy_counts_scored_rows_alone() -> None:
    rows = [row("1"), row("2"), row("3", False), lost("4"), lost("5")]
    whole = tallied(*rows, planned={("qwen2.5-72b-instruct", "sums"): 10}).figures()[-1]
    assert (whole.planned, whole.scored, whole.provider_errors, whole.pending) == (10, 3, 2, 5)
    assert whole.accuracy == pytest.approx(2 / 3)
    assert tuple(whole.interval) == wilson(2, 3)
    assert whole.coverage == 0.3


def test_cache_hits_are_counted_and_kept_out_of_latency() -> None:
    rows = [row(str(n), provider_ms=100.0) for n in range(50)]
    rows += [row(str(50 + n), provider_ms=1.0, cache_hits=1) for n in range(50)]
    whole = tallied(*rows).figures()[-1]
    assert (whole.cache_hits, whole.calls) == (50, 50)
    assert whole.p50_ms == pytest.approx(100, rel=0.03)
    assert whole.prompt_tokens == 10_000


def test_nothing_called_has_no_latency() -> None:
    whole = tallied(row("1", cache_hits=1)).figures()[-1]
    assert (whole.p50_ms, whole.p99_ms) == (None, None)


def test_epochs_give_passes_majority_and_an_interval_by_question() -> None:
    rows = [row(str(n), epoch != 2 and n < 5, epoch=epoch) for n in range(10) for epoch in range(3)]
    whole = tallied(*rows, epochs=3).figures()[-1]
    assert whole.epochs is not None
    assert whole.epochs.pass_at[3] == 0.5
    assert whole.epochs.majority == 0.5
    assert whole.interval == clustered_rate_interval([(2, 3)] * 5 + [(0, 3)] * 5)
    assert whole.accuracy == pytest.approx(1 / 3)


def test_a_second_epoch_in_a_tally_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="epoch 1"):
        tallied(row("1", epoch=1))


def test_the_newest_settings_count_and_the_others_are_told() -> None:
    tally = tallied(row("1", False, ended_at=1.0, variant="old"), row("1", ended_at=2.0, variant="new"))
    whole = tally.figures()[-1]
    assert (whole.scored, whole.accuracy, whole.left_out) == (1, 1.0, 1)
    assert any(line.startswith("left out: 1 older rows") for line in written(tally))


def test_subjects_get_rows_when_there_are_few_and_then_one_for_all() -> None:
    lines = written(tallied(row("1", task_type="law"), row("2", False, task_type="art")))
    assert [line.split()[1] for line in lines if line.startswith("qwen")] == ["art", "law", "all"]
    many = written(tallied(*[row(str(n), task_type=f"s{n}") for n in range(13)]))
    assert sum(line.startswith("qwen") for line in many) == 1
    assert "13 subjects, which are too many for this table" in many
    alone = written(tallied(row("1")))
    assert "subject" not in alone[1]


def test_models_that_were_planned_and_never_answered_have_a_row() -> None:
    (line,) = [one for one in written(tallied(planned={("m", "sums"): 4})) if one.startswith("m ")]
    assert line.split()[:4] == ["m", "4", "0", "0"]
    assert written(tallied(planned={("m", "sums"): 4}))[-1].startswith("4 planned = 0 scored")


def test_replies_that_could_not_be_compared_are_told() -> None:
    lines = written(tallied(row("1"), row("2", False, error_category="uncheckable")))
    assert any(line.startswith("1 replies count as wrong") for line in lines)


def test_a_scorer_that_gives_parts_gets_a_column() -> None:
    table = question_table(tallied(row("1", False, score=0.5)).figures(), simulated=False)
    assert "mean_score" in [column.key for column in table.columns]


def test_simulated_figures_say_so_in_every_form() -> None:
    table = question_table(tallied(row("1")).figures(), simulated=True)
    assert "SIMULATED" in export(table, "terminal")
    assert export(table, "csv").splitlines()[1].endswith("true")


def test_a_terminal_of_80_columns_shows_what_matters(terminal: Terminal) -> None:
    terminal.resize(80, 24)
    rows = [row(f"{s}{n}", n % 3 > 0, task_type=s, epoch=e) for s in ("law", "art") for n in range(9) for e in (0, 1)]
    figures = tallied(*rows, epochs=2).figures()
    render_questions(figures, terminal.stream, simulated=True, environ=TERMINAL)
    lines = [line.rstrip() for line in screen(terminal.written())]
    assert max(map(len, lines)) < 80
    header = next(line for line in lines if line.startswith("model"))
    for title in ("subject", "scored", "accuracy %", "95 % interval", "pass@2 %"):
        assert title in header
    assert sum("36 " in line or "18 " in line for line in lines) >= 3


def test_nothing_at_all_can_be_shown() -> None:
    assert written(tallied())[-1].startswith("0 planned")
