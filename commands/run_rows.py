"""The rows of one run: what it asked itself, and what it found in its store and had no need to ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import click

from commands.ledger import take_in
from commands.values import nearest
from commands.workloads import open_workload
from stores.results import ResultsStore, read_store
from stores.run_directory import RunDirectory, runs_in
from stores.trial_index import TrialIndex, batched
from trials.errors import RunnerError, UsageError
from trials.plan import TrialPlan
from trials.rows import Row


def find_run(name: str, logs_dir: Path) -> RunDirectory:
    """Return the run of this name, or the one whose name begins so. Raises UsageError for none or several."""
    runs = {run.run_id: run for run in runs_in(logs_dir)}
    if name in runs:
        return runs[name]
    begun = [one for one in runs if name and one.startswith(name)]
    if len(begun) == 1:
        return runs[begun[0]]
    if begun:
        raise UsageError(f"{name!r} begins the names of {len(begun)} runs in {logs_dir}: {', '.join(begun[:5])}")
    hint = nearest(name, runs) if runs else "there is none"
    raise UsageError(f"no run {name!r} in {logs_dir}; {hint}")


class RunRows:
    """The rows of a run, to be read as often as one likes; what its journals hold is merged first."""

    def __init__(self, run: RunDirectory, logs_dir: Path) -> None:
        self.run = run
        self.store: ResultsStore = read_store(run.results_dir)
        take_in(self.store, logs_dir, None, _tell)

    def read(self, names: Sequence[str]) -> Iterator[Row]:
        """Yield one row per trial key: the run's own, even where another run's counts by now, then those taken over.

        It took over what is in its plan, it did not ask, and had ended before its own last trial.
        """
        needed = list(dict.fromkeys([*names, "trial_key", "run_id", "ended_at"]))
        own: set[str] = set()
        last_s = self.run.created_at
        for row in self.store.counting(replace(self.run, fresh=True), needed):
            own.add(row["trial_key"])
            last_s = max(last_s, row["ended_at"] or 0.0)
            yield row
        if not self.run.fresh:
            others = (row for row in self.store.rows(needed) if row["run_id"] != self.run.run_id)
            yield from self._planned(
                row for row in others if row["trial_key"] not in own and (row["ended_at"] or 0.0) <= last_s
            )

    def _planned(self, rows: Iterator[Row]) -> Iterator[Row]:
        for some in batched(rows):
            if self._index is None:
                return
            for number, row in zip(self._index.numbers([row["trial_key"] for row in some]), some, strict=True):
                if number is not None:
                    yield row

    @cached_property
    def _index(self) -> TrialIndex | None:
        """The trial keys of the run's plan; None if what it asked cannot be opened any more."""
        spec = self.run.spec
        try:
            workload = open_workload(spec, self.run.banks_dir)
            if workload.definition == spec.definition:
                plan = TrialPlan(spec, workload)
                return TrialIndex(plan.trial(number).trial_key for number in range(len(plan)))
            why = "it was made by another version of the benchmark"
        except RunnerError as problem:
            why = str(problem)
        _tell(f"{self.run.run_id}: results that it took over from other runs are left out ({why})")
        return None


def _tell(text: str) -> None:
    click.echo(text, err=True)
