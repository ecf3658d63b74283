from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from question_runs import question_row
from sample_specs import spec_of

from commands.compare import compare_runs, differing
from commands.run_rows import RunRows
from commands.workloads import open_workload
from trials.answer_changes import COMPARED, GAINED, LOST, OTHER, compare_answers, paired_on
from trials.errors import UsageError
from trials.plan import TrialPlan
from trials.statistics import difference_interval, mcnemar
from trials.words import Sampling


def side(model, answers, **changes):
    """A row per letter, whose label is ``a``; a blank was not asked, a question mark met a provider's error."""
    return [
        question_row(f"q{n}", model, None if letter == "?" else letter, "a", **changes)
        | ({"status": "provider_error", "outcome": None, "score": None, "target": None} if letter == "?" else {})
        for n, letter in enumerate(answers)
        if letter != " "
    ]


def test_changes_are_those_by_hand():
    found = compare_answers(side("m", "aaabbc?a"), side("n", "aabacca "), ())
    assert (found.pairs, found.tasks, found.unscored, found.only_a, found.only_b) == (6, 6, 1, 1, 0)
    assert found.counts == {LOST: 1, GAINED: 1, OTHER: 1}
    assert [(one.kind, one.task_id, one.a, one.b) for one in found.changed] == [
        (LOST, "q2", "a", "b"),
        (GAINED, "q3", "b", "a"),
        (OTHER, "q4", "b", "c"),
    ]
    assert (found.rate_a, found.rate_b, found.difference) == (0.5, 0.5, 0.0)
    assert found.p == mcnemar(1, 1) == 1.0


def test_difference_and_p_are_of_the_pairs():
    found = compare_answers(side("m", "b" * 20 + "a" * 10), side("n", "a" * 30), ())
    assert found.difference == pytest.approx(2 / 3)
    assert found.interval == difference_interval({str(n): [float(n < 20)] for n in range(30)})
    assert found.p == mcnemar(0, 20)
    assert found.significant


def test_epochs_of_a_question_count_as_one_task():
    rows = [[row for epoch in range(8) for row in side(m, one, epoch=epoch)] for m, one in (("m", "bb"), ("n", "aa"))]
    found = compare_answers(*rows, ())
    assert (found.pairs, found.tasks, found.ahead_b) == (16, 2, 2)
    assert not found.significant  # 16 pairs would be


def test_spellings_of_one_answer_are_no_change():
    a, b = [question_row("q", "m", text, "1/2", score=1.0, outcome="full") for text in ("0.5", r"\frac12")]
    assert compare_answers([a], [b], ()).counts == {LOST: 0, GAINED: 0, OTHER: 0}


def test_two_rows_of_one_place_are_refused_on_either_side():
    twice = side("m", "a") + side("m", "b")
    for sides in ((twice, side("n", "a")), (side("n", "a"), twice)):
        with pytest.raises(ValueError, match="two rows of q0"):
            compare_answers(*sides, ())


def levels(**values):
    return {
        name: {None} for name in ("prompt_type", "tool_success_rate", "difficulty", "tool_protocol", "severity")
    } | values


def test_what_both_sides_share_must_agree_and_what_differs_is_compared():
    assert "model" in paired_on(levels(model={"m", "n"}), levels(model={"n", "o"}))
    assert "model" not in paired_on(levels(model={"m"}), levels(model={"n"}))
    with pytest.raises(ValueError, match="model is m, n on one side, o on the other"):
        paired_on(levels(model={"m", "n"}), levels(model={"o"}))


def test_workflow_tasks_are_compared_by_outcome_within_one_definition():
    def rows(outcomes, definition="d"):
        made = question_row("t", "m", None, "") | {"prompt_type": "optimal", "definition": definition}
        return [{**made, "task_id": f"t{n}", "outcome": one} for n, one in enumerate(outcomes)]

    found = compare_answers(rows(["full", "partial", "failure"]), rows(["full", "failure", "full"]), ())
    assert found.counts == {LOST: 0, GAINED: 1, OTHER: 1}
    assert {(one.a, one.b) for one in found.changed} == {("failure", "full"), ("partial", "failure")}
    assert compare_answers(rows(["full"]), rows(["full"], "other"), ()).pairs == 0


def compared(banks, a, b, **options):
    return compare_runs(str(a), str(b), logs_dir=str(banks.logs), **options)


def test_two_models_on_one_bank_are_compared_by_the_beginnings_of_their_runs(banks, capsys):
    banks.run(("mini",), side("mini", "ba" * 10))
    banks.run(("large",), side("large", "a" * 20))
    assert compared(banks, "sim-mini", "sim-large") == 0
    told = capsys.readouterr().out
    assert "models: mini → large" in told
    assert "20 pairs of 20 tasks" in told
    assert "0 right → wrong, 10 wrong → right" in told
    assert "B - A: +50.0 points" in told
    assert "p = 0.002" in told
    assert "significant at 5 %: B is better" in told
    assert "sampling" not in told.split("Right answers")[0]
    assert "SIMULATED" in told


def test_a_difference_that_may_be_chance_is_said_to_be(banks, capsys):
    banks.run(("m",), side("m", "ab"))
    banks.run(("n",), side("n", "aa"))
    compared(banks, "sim-m", "sim-n")
    assert "not significant: if both were equally good, one like it or larger would come up in 100 of 100" in (
        capsys.readouterr().out
    )


def test_a_fresh_run_is_compared_with_what_it_replaced_in_the_store(banks, capsys):
    first = banks.run(("m",), side("m", "aaaa", ended_at=1.0))
    second = banks.run(("m",), side("m", "aabb", ended_at=2.0), fresh=True)
    compared(banks, first.run_id, second.run_id)
    told = capsys.readouterr().out
    assert "both were asked the same" in told
    assert "2 right → wrong" in told


def workflow_rows(spec, first, last):
    """Rows of the trials that a workflow run plans."""
    plan = TrialPlan(spec, open_workload(spec, Path("none")))
    for trial in map(plan.trial, range(first, last)):
        asked = {"definition": spec.definition, "prompt_type": "optimal", "trial_key": trial.trial_key}
        yield question_row(trial.task_id, trial.cell.model, None, "", epoch=trial.epoch, **asked) | {"outcome": "full"}


def test_rows_that_a_run_took_over_are_its_own_and_others_are_not(banks, capsys):
    definition = open_workload(spec_of(), Path("none")).definition
    one, four = (spec_of(num_instances=n, definition=definition, simulated=True) for n in (1, 4))
    short = banks.run_of(one, workflow_rows(one, 0, 1))
    longer = banks.run_of(four, workflow_rows(four, 1, 4))
    rows = {run.run_id: list(RunRows(run, banks.logs).read(("task_id",))) for run in (short, longer)}
    assert [len(found) for found in rows.values()] == [1, 4]
    compared(banks, longer.run_id, short.run_id)
    assert (
        "1 pairs of 1 tasks; left out: 0 pairs without a score on a side, 3 scored only in A" in capsys.readouterr().out
    )


def test_a_run_whose_bank_is_gone_is_compared_by_what_it_asked_itself(banks, capsys):
    gone = spec_of(task_library=str(banks.root / "gone.json"), simulated=True)
    plain = spec_of(simulated=True)
    rows = [row | {"prompt_type": "optimal"} for row in side("m", "aabb")]
    a, b = banks.run_of(gone, rows[:2]), banks.run_of(plain, rows[2:])
    assert [row["task_id"] for row in RunRows(a, banks.logs).read(("task_id",))] == ["q0", "q1"]
    assert "left out" in capsys.readouterr().err
    assert b.run_id != a.run_id


def test_another_template_is_another_setting_of_the_same_questions(banks, capsys):
    banks.run(("m",), side("m", "ab"), definition="d")
    banks.run(("m",), side("m", "aa", definition="e"), definition="e")
    runs = sorted(path.name for path in banks.logs.iterdir())
    compared(banks, *runs)
    told = capsys.readouterr().out
    assert "definition: " in told
    assert "2 pairs" in told


def test_stores_can_be_compared_by_their_folders(banks, capsys):
    banks.run(("m",), side("m", "ab"))
    compared(banks, banks.store(), banks.store())
    told = capsys.readouterr().out
    assert "settings are not compared" in told
    assert "No difference" in told


def test_simulated_and_real_are_never_compared(banks):
    banks.run(("m",), side("m", "ab"))
    banks.run(("m",), side("m", "ab"), simulated=False)
    with pytest.raises(UsageError, match=r"is simulated and .* is real"):
        compared(banks, banks.store(), banks.store(simulated=False))


def test_another_bank_with_the_same_ids_is_refused(banks):
    a = banks.run(("m",), side("m", "ab"))
    b = banks.run(("n",), [row | {"target": "z"} for row in side("n", "zz")])
    with pytest.raises(UsageError, match="do not ask the same questions: 2 of 2"):
        compared(banks, a.run_id, b.run_id)


def test_runs_without_a_common_question_are_refused(banks):
    a = banks.run(("m",), side("m", "ab"))
    b = banks.run(("n",), side("n", "  ab"))
    with pytest.raises(UsageError, match="nothing scored in common"):
        compared(banks, a.run_id, b.run_id)


@pytest.mark.parametrize(("name", "why"), [("nothing", "no run 'nothing'"), ("sim-", "begins the names of 2 runs")])
def test_names_that_mean_no_run_or_several_are_refused(banks, name, why):
    banks.run(("m",), side("m", "a"))
    banks.run(("n",), side("n", "a"))
    with pytest.raises(UsageError, match=why):
        compared(banks, name, "sim-n")


def test_export_holds_every_change_and_the_table_only_the_first(banks, capsys, tmp_path):
    banks.run(("m",), side("m", "b" * 10))
    banks.run(("n",), side("n", "a" * 10))
    compared(banks, "sim-m", "sim-n", top=3, export=str(tmp_path / "changes.jsonl"))
    told = capsys.readouterr().out
    assert "and 7 more" in told
    assert sum(line.startswith("wrong → right") for line in told.splitlines()) == 3
    rows = [json.loads(line) for line in (tmp_path / "changes.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert (rows[0]["change"], rows[0]["answer_a"], rows[0]["answer_b"]) == ("wrong to right", "b", "a")


def test_settings_that_differ_are_named_with_both_values():
    a = spec_of(models=("m",), num_instances=3)
    b = replace(spec_of(models=("n",), num_instances=5), sampling={"n": Sampling(temperature=0.7)})
    found = {name: (one, other) for name, one, other in differing(a, b)}
    assert found["asks.num_instances"] == (3, 5)
    assert found["sampling.temperature"] == (0.0, 0.7)
    assert not any(name.startswith("sampling.m") for name in found if name != "sampling.max_tokens")
    assert differing(a, a) == []


def test_fields_that_are_read_are_enough():
    rows = [{name: row[name] for name in COMPARED} for row in side("m", "ab")]
    assert compare_answers(rows, rows, ("model",)).pairs == 2
