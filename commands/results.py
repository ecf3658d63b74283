"""Printing result tables: of a run at its end, and of a store."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from commands.ledger import Ledger
from stores.totals import TALLIED
from telemetry.tables import render_results
from trials.accounting import CellKey, Tally, rate_name
from trials.plan import TrialPlan
from trials.rows import variant
from trials.spec import RunSpec
from trials.words import Cell


def key_of_cell(cell: Cell) -> CellKey:
    """Return the name of a cell in tables."""
    return CellKey(cell.model, cell.prompt_type, rate_name(cell.tool_success_rate), cell.difficulty, cell.task_type)


def planned_of(plan: TrialPlan) -> Counter[CellKey]:
    """Return how many trials each cell of a plan has."""
    planned: Counter[CellKey] = Counter()
    for group in plan.groups:
        planned.update({key_of_cell(cell): group.num_instances for cell in group.cells})
    return planned


def tally_of(spec: RunSpec, ledger: Ledger) -> Tally:
    """Return the figures of a run, cells without a row included."""
    cells = [cell for group in ledger.plan.groups for cell in group.cells]
    tally = Tally(planned_of(ledger.plan), {key_of_cell(cell): variant(cell, spec.definition) for cell in cells})
    for _, row in ledger.rows(("trial_key", *TALLIED)):
        tally.add(row)
    return tally


def print_results(spec: RunSpec, ledger: Ledger) -> None:
    """Print the table of a run and where everything was written."""
    store = ledger.store
    render_results(tally_of(spec, ledger).cells(), sys.stdout, simulated=spec.simulated)
    print(f"rows      {store.trials_dir}{'/*.parquet' if store.form == 'parquet' else '/*.jsonl'}")
    print(f"summary   {store.path / 'summary.json'}")
    print(f"run       {_short(ledger.run.path)}")


def _short(path: Path) -> Path:
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
