"""The results store: a ledger of trials by ``trial_key``, merged from journals under a file lock.

    store.json        whether its results are simulated or real, and its form
    trials/           part files: at most one row per trial key, the one that counts
    history/          part files: rows that a newer one of the same key has replaced
    conversations/    part files (always Parquet, zstd): whole conversations by trial key
    summary.json      derived afresh from the rows of trials/

A merge appends all new rows as one part (that rename is its commit), then tidies: rows that lost to another of their
key move to history/. Each step may be cut off anywhere and is mended by the next merge. What a journal has already
given is read off the rows themselves (run_id, shard, journal_offset), so merging twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from filelock import FileLock

from stores.journal import never_shorter
from stores.parts import (
    CONVERSATIONS,
    FORMS,
    ID,
    SUFFIXES,
    PartWriter,
    dicts,
    next_part_path,
    part_paths,
    read_part,
    read_row,
    read_tables,
    row_count,
)
from stores.run_directory import RunDirectory, make_directory, write_whole
from trials.accounting import Tally
from trials.digest import digest
from trials.errors import StoreError, UsageError
from trials.rows import FIELDS, Row

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1

OnDamage = Callable[[Path, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsStore:
    """One store. Reading is safe at any time from any process; writing happens under ``.lock``."""

    path: Path
    simulated: bool
    form: str

    @property
    def trials_dir(self) -> Path:
        """Where the rows that count are."""
        return self.path / "trials"

    def rows(self, names: Sequence[str] | None = None) -> Iterator[Row]:
        """Yield the row that counts of every trial key, all columns or those named."""
        for part in self.trial_parts():
            yield from read_part(part, names)

    def run_ids(self) -> set[str]:
        """Return the names of the runs that its rows come from."""
        if not (parts := [*self.trial_parts(), *self.history_parts()]):
            return set()  # before a first run, which should not wait for Arrow to be imported
        found: set[str] = set()
        for part in parts:
            for table in read_tables(part, ("run_id",)):
                found.update(table["run_id"].unique().to_pylist())
        return found

    def asked(self, prompt_type: str, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows that count of one prompt type, as tables with the columns named."""
        import pyarrow.compute as pc

        for part in self.trial_parts():
            for table in read_tables(part, tuple(dict.fromkeys((*names, "prompt_type")))):
                yield table.filter(pc.equal(table["prompt_type"], prompt_type)).select(list(names))

    def counting(self, run: RunDirectory, names: Sequence[str] = tuple(FIELDS)) -> Iterator[Row]:
        """Yield the row that counts for a run of every trial key it has: of a fresh run only what it asked itself.

        The store stays locked until the last one is taken, or the iterator closed.
        """
        for table in self.counting_tables(run, names):
            yield from dicts(table)

    def counting_tables(self, run: RunDirectory, names: Sequence[str] = tuple(FIELDS)) -> Iterator[pa.Table]:
        """Yield the same rows as tables."""
        with self.locked():
            store = read_store(self.path)
            parts = [*store.trial_parts(), *store.history_parts()] if run.fresh else store.trial_parts()
            if not parts:
                return
            from stores import ranking

            yield from ranking.counting(parts, names, run.run_id if run.fresh else None)

    def merge(self, runs: Iterable[RunDirectory], on_damage: OnDamage | None = None) -> int:
        """Add what the journals of these runs hold and the store does not; return how many rows were added."""
        runs = list(runs)
        with self.locked():
            # Another process may have converted the store since this one opened it.
            return read_store(self.path)._merge(runs, on_damage)

    def _merge(self, runs: Sequence[RunDirectory], on_damage: OnDamage | None) -> int:
        if not self.trial_parts() and not any(path.stat().st_size for run in runs for path in run.journals().values()):
            return 0  # before a first run, which should not wait for Arrow to be imported
        from stores import ranking
        from stores.endings import new_results

        if not (self.path / "summary.json").exists():
            self.write_summary()  # so that, once there are rows, one that is not there has been lost
        last = ranking.last_offsets([*self.trial_parts(), *self.history_parts()])
        for run in runs:
            _keep_places(run, last)
        # The inner part is in place before the outer one, whose rename is the commit.
        with (
            PartWriter(next_part_path(self.trials_dir, self.form)) as rows,
            PartWriter(next_part_path(self.path / CONVERSATIONS, "parquet")) as conversations,
        ):
            for table in new_results(runs, last, on_damage):
                conversations.write(table)
                rows.write(table)
        moved = self.tidy()
        if rows.rows or moved or not self._is_summed_up():
            self.write_summary()
        return rows.rows

    def convert(self, form: str) -> ResultsStore:
        """Return the store in the given form, rewriting its parts if it has another."""
        if form == self.form:
            return self
        with self.locked():
            old = [*self.trial_parts(), *self.history_parts()]
            for part in old:
                rewrite(part.with_suffix(SUFFIXES[form]), read_tables(part))
            other = ResultsStore(path=self.path, simulated=self.simulated, form=form)
            other.write_head()
            for part in old:
                part.unlink()
        return other

    def compact(self) -> None:
        """Rewrite the rows of trials/ as one part, and those of history/ as another."""
        with self.locked():
            for parts in (self.trial_parts(), self.history_parts()):
                if len(parts) > 1:
                    # The new part takes the first one's name, so a crash leaves duplicates that tidy removes.
                    rewrite(parts[0], (table for part in parts for table in read_tables(part)))
                    for part in parts[1:]:
                        part.unlink()
            self.tidy()

    def find(self, beginning: str) -> Row:
        """Return the row of the one trial whose key begins so. Raises UsageError if there is none, or several."""
        from stores import ranking

        parts = self.trial_parts()
        count, first, last = ranking.keys_beginning(parts, beginning)
        if not count:
            raise UsageError(f"no trial in {self.path} has a key that begins with {beginning!r} (see column trial_key)")
        if first != last:
            raise UsageError(f"{beginning!r} begins {count} trial keys, {first} among them; give more of it")
        found = ((part, ranking.place_of(part, {"trial_key": first})) for part in parts)
        return next(read_row(part, place) for part, place in found if place is not None)

    def conversation(self, row: Row) -> Row | None:
        """Return the conversation that a result row came from, or None if it has none."""
        from stores import ranking

        for part in part_paths(self.path / CONVERSATIONS, "parquet"):
            place = ranking.place_of(part, {name: row[name] for name in ID})
            if place is not None:
                found = read_row(part, place)
                return found | {name: orjson.loads(found[name]) for name in ("conversation", "detail")}
        return None

    def write_head(self) -> None:
        """Write ``store.json``."""
        head = {"schema": SCHEMA_VERSION, "kind": _kind(self.simulated), "form": self.form}
        write_whole(self.path / "store.json", orjson.dumps(head))

    def locked(self) -> FileLock:
        """Return the lock that is held, by ``with``, while the store is written."""
        return FileLock(self.path / ".lock", mode=0o600)

    def trial_parts(self) -> list[Path]:
        """Return the parts of trials/."""
        return part_paths(self.trials_dir, self.form)

    def history_parts(self) -> list[Path]:
        """Return the parts of history/."""
        return part_paths(self.path / "history", self.form)

    def tidy(self) -> bool:
        """Move rows that lost to another row of their key into history/; return whether there were any.

        The store must be locked, as for ``write_summary``.
        """
        from stores import ranking

        parts = self.trial_parts()
        lost, moving = ranking.leaving(parts, self.history_parts())
        with PartWriter(next_part_path(self.path / "history", self.form)) as moved:
            for place, part in enumerate(parts):
                if len(rows := ranking.rows_of(place, moving)):
                    for table in ranking.pick(part, rows):
                        moved.write(table)
        for place, part in enumerate(parts):
            if len(rows := ranking.rows_of(place, lost)) and not rewrite(part, ranking.pick(part, rows, but=True)):
                part.unlink()
        return bool(lost.num_rows)

    def tally(self) -> Tally:
        """Return the figures of the rows that count."""
        from stores.totals import add_rows

        tally = Tally()
        add_rows(tally, self.trial_parts())
        return tally

    def summary(self) -> Row:
        """Return the content of ``summary.json`` as the rows give it. ``rows`` never become fewer, ``digest`` seals."""
        note = "planned counts the trials stored here; what a run has planned and what is pending, its status tells"
        summary = {
            "kind": _kind(self.simulated),
            "note": note,
            "rows": self._row_counts(),
            "results": self.tally().summary(),
        }
        return {**summary, "digest": digest(summary)}

    def _row_counts(self) -> dict[str, int]:
        folders = {"trials": self.trial_parts(), "history": self.history_parts()}
        return {name: sum(map(row_count, parts)) for name, parts in folders.items()}

    def _is_summed_up(self) -> bool:
        """Whether the summary is of as many rows as there are: a merge that was cut off has not come to that."""
        try:
            told = orjson.loads((self.path / "summary.json").read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(told, dict) and told.get("rows") == self._row_counts()

    def write_summary(self) -> None:
        """Derive ``summary.json`` afresh."""
        write_whole(self.path / "summary.json", orjson.dumps(self.summary(), option=orjson.OPT_INDENT_2))


def _keep_places(run: RunDirectory, last: Mapping[tuple[str, int], int]) -> None:
    """See to it that new lines of a run's journals stand behind those that were merged, also where these are lost."""
    for (run_id, shard), offset in last.items():
        if run_id == run.run_id:
            never_shorter(run.journal_path(shard), offset + 1)


def rewrite(path: Path, tables: Iterable[pa.Table]) -> int:
    """Write a part, in place of the one that has its name; return how many rows it has. No rows leave all as it is."""
    with PartWriter(path) as part:
        for table in tables:
            part.write(table)
    return part.rows


def _kind(simulated: bool) -> str:
    return "simulated" if simulated else "real"


def read_store(path: Path) -> ResultsStore:
    """Open an existing store. Raises StoreError if there is none."""
    try:
        head = orjson.loads((path / "store.json").read_bytes())
    except OSError as problem:
        raise StoreError(f"{path}: no results store here ({problem.strerror})") from problem
    except orjson.JSONDecodeError as problem:
        raise StoreError(f"{path / 'store.json'} is damaged: {problem}") from problem
    if not isinstance(head, dict) or head.get("kind") not in (_kind(True), _kind(False)):
        raise StoreError(f"{path / 'store.json'} is damaged: it does not say whether results are simulated or real")
    if head.get("schema") != SCHEMA_VERSION or head.get("form") not in FORMS:
        raise StoreError(f"{path}: a store of another version; this program reads schema {SCHEMA_VERSION}")
    return ResultsStore(path=path, simulated=head["kind"] == "simulated", form=head["form"])


def open_store(path: Path, *, simulated: bool, form: str) -> ResultsStore:
    """Open or make a store of this kind and form. Raises UsageError if it holds results of the other kind."""
    make_directory(path)
    if not (path / "store.json").exists():
        store = ResultsStore(path=path, simulated=simulated, form=form)
        store.write_head()
        return store
    store = read_store(path)
    if store.simulated != simulated:
        raise UsageError(
            f"{path} holds {_kind(store.simulated)} results and this run is {_kind(simulated)}; "
            f"give another --results-dir, the two are never mixed"
        )
    return store.convert(form)
