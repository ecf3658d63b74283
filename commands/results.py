"""Printing result tables: of a run at its end, and of a store."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from commands.ledger import Ledger
from questions.agreement import agreement
from stores.output import write_output
from stores.parts import SUFFIXES, dicts
from stores.totals import TALLIED, add_table, alike
from telemetry.question_tables import render_questions
from telemetry.question_tally import ALIKE, SUMMED, QuestionTally
from telemetry.question_tally import TALLIED as QUESTION_FIELDS
from telemetry.tables import render_results
from trials.accounting import CellKey, Tally, rate_name
from trials.plan import TrialPlan
from trials.rows import variant
from trials.spec import QuestionSpec, RunSpec
from trials.words import QUESTION, Cell

if TYPE_CHECKING:
    import pyarrow as pa

    from stores.results import ResultsStore


def key_of_cell(cell: Cell) -> CellKey:
    """Return the name of a cell in tables."""
    return CellKey(cell.model, cell.prompt_type, rate_name(cell.tool_success_rate), cell.difficulty, cell.task_type)


def planned_of(plan: TrialPlan) -> Counter[CellKey]:
    """Return how many trials each cell of a plan has."""
    planned: Counter[CellKey] = Counter()
    for cell, count in plan.cells():
        planned[key_of_cell(cell)] += count
    return planned


def tally_of(spec: RunSpec, ledger: Ledger) -> Tally:
    """Return the figures of a run, cells without a row included."""
    variants = {key_of_cell(cell): variant(cell, spec.definition) for cell, _ in ledger.plan.cells()}
    tally = Tally(planned_of(ledger.plan), variants)
    for table in ledger.tables(TALLIED):
        add_table(tally, table)
    return tally


def question_tally_of(asks: QuestionSpec, ledger: Ledger) -> QuestionTally:
    """Return the figures of a run over a question bank, subjects without a row included."""
    planned: Counter[tuple[str, str]] = Counter()
    for cell, count in ledger.plan.cells():
        planned[cell.model, cell.task_type] += count
    return _added_up(QuestionTally(planned, epochs=asks.epochs), ledger.tables(QUESTION_FIELDS), epochs=asks.epochs)


def stored_questions(store: ResultsStore) -> QuestionTally:
    """Return the figures of all that a store holds of question banks."""
    highest = (max(table["epoch"].to_pylist(), default=0) for table in store.asked(QUESTION, ("epoch",)))
    epochs = 1 + max(highest, default=0)
    return _added_up(QuestionTally(epochs=epochs), store.asked(QUESTION, QUESTION_FIELDS), epochs=epochs)


def _added_up(tally: QuestionTally, tables: Iterable[pa.Table], *, epochs: int) -> QuestionTally:
    for table in tables:
        if epochs > 1:  # which answers of a question agree, no sum tells
            for row in dicts(table):
                tally.add(row)
        else:
            for row, sums, latencies in alike(table, ALIKE, SUMMED):
                tally.add_alike(row, sums, latencies)
    return tally


def _judged(asks: QuestionSpec, ledger: Ledger) -> str:
    """Say how far the judge and the scorer are of one mind."""
    names = ("score", "scorer_score")
    rows = (row for table in ledger.tables(names) for row in dicts(table) if row["scorer_score"] is not None)
    found = agreement((row["score"] >= 1, row["scorer_score"] >= 1) for row in rows)
    if found.share is None:
        return f"{asks.judge} has judged nothing yet"
    kappa = "" if found.kappa is None else f", Cohen's kappa {found.kappa:.2f}"
    return f"{asks.judge} agrees with the scorer {asks.scorer!r} on {found.share:.1%} of {found.n:,} answers{kappa}"


def print_written(output: str, ledger: Ledger, environment: Mapping[str, str]) -> None:
    """Write a run's rows where ``--output`` says, and tell how many were new there."""
    written = write_output(output, ledger.store, ledger.run, environment=environment, tell=print, wanted=ledger.plans)
    print(f"output    {output}: {written:,} rows written")


def print_results(spec: RunSpec, ledger: Ledger) -> None:
    """Print the table of a run and where everything was written."""
    store = ledger.store
    if isinstance(spec.asks, QuestionSpec):
        render_questions(question_tally_of(spec.asks, ledger).figures(), sys.stdout, simulated=spec.simulated)
        if spec.asks.judge:
            print(_judged(spec.asks, ledger))
    else:
        render_results(tally_of(spec, ledger).cells(), sys.stdout, simulated=spec.simulated)
    if store.trial_parts():
        print(f"rows      {store.trials_dir / '*'}{SUFFIXES[store.form]}")
        print(f"summary   {store.path / 'summary.json'}")
    else:
        print(f"rows      none in {store.path}")
    print(f"run       {_short(ledger.run.path)}")


def _short(path: Path) -> Path:
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
