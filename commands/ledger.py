"""How a run stands: which of its trials have a result, from its journals, this store's other runs, and the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.journal import replay
from stores.results import ResultsStore, open_store
from stores.run_directory import RunDirectory, make_directory, open_or_create, runs_in
from trials.plan import TrialPlan
from trials.rows import Row
from trials.words import HARNESS_ERROR, PROVIDER_ERROR, SCORED, STATUSES

if TYPE_CHECKING:
    from commands.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Trial numbers by key, and the row that counts of every trial that has one."""

    numbers: Mapping[str, int]
    rows: Mapping[str, Row]

    def done(self, *, retry_errors: bool = False) -> set[int]:
        """Return the trials that are not asked again: scored, or failed in the harness unless ``retry_errors``."""
        final = {SCORED} if retry_errors else {SCORED, HARNESS_ERROR}
        return {self.numbers[key] for key, row in self.rows.items() if row["status"] in final}

    def counts(self) -> Counter[str]:
        """Return how many trials have each status; they add up to what is planned."""
        counts = Counter(dict.fromkeys(STATUSES, 0))
        counts.update(row["status"] for row in self.rows.values())
        counts["pending"] = len(self.numbers) - counts[SCORED] - counts[PROVIDER_ERROR] - counts[HARNESS_ERROR]
        return counts


def open_places(request: Request) -> tuple[ResultsStore, RunDirectory]:
    """Open or make the results store and the run. Raises UsageError before anything is written to either."""
    for directory in (request.results_dir, request.logs_dir):
        make_directory(directory)
    store = open_store(request.results_dir, simulated=request.spec.simulated, form=request.options.storage_format)
    run = open_or_create(request.logs_dir, request.spec, request.results_dir, fresh=request.options.fresh)
    return store, run


def take_in(store: ResultsStore, logs_dir: Path, run: RunDirectory | None, tell: Any) -> int:
    """Merge this run, and every other run into this store that nobody works on; return the rows added.

    ``tell(text)`` hears of journal lines that cannot be read.
    """

    def damaged(path: Path, offset: int, why: str) -> None:
        tell(f"{path}: the line at byte {offset} cannot be read ({why}); the rest is used")

    place = store.path.resolve()
    runs = [one for one in runs_in(logs_dir) if one.results_dir == place and one.spec.simulated == store.simulated]
    own = [] if run is None else [run]
    return store.merge([*own, *(one for one in runs if one not in own and one.is_idle())], damaged)


def standing(plan: TrialPlan, store: ResultsStore, run: RunDirectory) -> Standing:
    """Look up how the trials of a plan stand."""
    numbers = {plan.trial(number).trial_key: number for number in range(len(plan))}
    return Standing(numbers=numbers, rows=store.counting_rows(run, numbers.__contains__))


def begun(run: RunDirectory, pending: Iterable[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the completions that trials without a result already have, from all journals of the run."""
    numbers = frozenset(pending)
    found: dict[int, list[dict[str, Any]]] = {}
    for path in run.journals().values():
        for number, completions in replay(path, numbers)[1].items():
            if len(completions) > len(found.get(number, ())):
                found[number] = completions
    return found
