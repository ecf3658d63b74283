"""How a run stands: which of its trials have a result, from its journals, this store's other runs, and the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.journal import replay
from stores.results import ResultsStore, open_store
from stores.run_directory import RunDirectory, make_directory, open_or_create, runs_in
from stores.totals import status_counts
from stores.trial_index import TrialIndex, batched, of_plan
from trials.plan import TrialPlan
from trials.rows import FIELDS, Row
from trials.words import HARNESS_ERROR, PENDING, PROVIDER_ERROR, SCORED, STATUSES

if TYPE_CHECKING:
    import pyarrow as pa

    from commands.request import Request


class Standing:
    """How the trials of a plan stand, a byte each: the place of their status in ``STATUSES``. All are pending at first.

    Where a trial has several rows, it is the row that counts which decides.
    """

    def __init__(self, planned: int) -> None:
        self._places = bytearray([STATUSES.index(PENDING)]) * planned

    def set(self, number: int, status: str) -> None:
        """Say how a trial stands."""
        self._places[number] = STATUSES.index(status)

    def done(self, *, retry_errors: bool = False) -> NumberSet:
        """Return the trials that are not asked again: scored, or failed in the harness unless ``retry_errors``."""
        return NumberSet(self._places, [SCORED] if retry_errors else [SCORED, HARNESS_ERROR])

    def pending(self) -> NumberSet:
        """Return the trials that may be asked at the next start."""
        return NumberSet(self._places, [PENDING, PROVIDER_ERROR, HARNESS_ERROR])

    def counts(self) -> Counter[str]:
        """Return how many trials have each status; they add up to what is planned."""
        return Counter({status: self._places.count(place) for place, status in enumerate(STATUSES)})


class NumberSet(Container[int]):
    """Those trials of a standing that have one of some statuses, as it stands now."""

    def __init__(self, places: bytearray, statuses: Iterable[str]) -> None:
        table = bytes(place < len(STATUSES) and STATUSES[place] in set(statuses) for place in range(256))
        self._flags = places.translate(table)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and 0 <= number < len(self._flags) and self._flags[number] == 1

    def __len__(self) -> int:
        return self._flags.count(1)


def open_places(request: Request) -> tuple[ResultsStore, RunDirectory]:
    """Open or make the results store and the run. Raises UsageError before anything is written to either."""
    for directory in (request.results_dir, request.logs_dir):
        make_directory(directory)
    store = open_store(request.results_dir, simulated=request.spec.simulated, form=request.options.storage_format)
    run = open_or_create(
        request.logs_dir, request.spec, request.results_dir, fresh=request.options.fresh, taken=store.run_ids
    )
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


class Ledger:
    """A plan, and what a store holds of its trials for a run. Keeps the plan's keys once there is a row to look up."""

    def __init__(self, plan: TrialPlan, store: ResultsStore, run: RunDirectory) -> None:
        self.plan = plan
        self.store = store
        self.run = run

    def standing(self) -> Standing:
        """Look up how the trials stand."""
        now = Standing(len(self.plan))
        for number, row in self.rows(("trial_key", "status")):
            now.set(number, row["status"])
        return now

    def counts(self) -> Counter[str]:
        """Return how many trials of the plan have each status; without looking for their numbers."""
        counts = status_counts(self.tables(("status",)))
        counts[PENDING] = len(self.plan) - counts.total()
        return counts

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows that count of the plan's trials, as tables with these columns."""
        needed = list(dict.fromkeys((*names, "trial_key", "run_id")))
        for table in self.store.counting_tables(self.run, needed):
            yield of_plan(table, self.run.run_id, lambda: self._index).select(list(names))

    def rows(self, names: Sequence[str] = tuple(FIELDS)) -> Iterator[tuple[int, Row]]:
        """Yield (number, row) for every trial that has a row which counts; ``names`` has ``trial_key`` among them."""
        for rows in batched(self.store.counting(self.run, names)):
            for number, row in zip(self._index.numbers([row["trial_key"] for row in rows]), rows, strict=True):
                if number is not None:
                    yield number, row

    def plans(self, trial_keys: Sequence[str]) -> list[bool]:
        """Return which of these trials the plan has."""
        return [number is not None for number in self._index.numbers(trial_keys)]

    @cached_property
    def _index(self) -> TrialIndex:
        return TrialIndex(self.plan.trial(number).trial_key for number in range(len(self.plan)))


def begun(run: RunDirectory, pending: Container[int]) -> dict[int, list[dict[str, Any]]]:
    """Return the completions that trials without a result already have, from all journals of the run."""
    found: dict[int, list[dict[str, Any]]] = {}
    for path in run.journals().values():
        for number, completions in replay(path, pending)[1].items():
            if len(completions) > len(found.get(number, ())):
                found[number] = completions
    return found
