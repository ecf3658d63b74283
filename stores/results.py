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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from filelock import FileLock

from stores.journal import read_events
from stores.parts import FORMS, SUFFIXES, next_part_path, part_paths, read_part, write_part
from stores.run_directory import RunDirectory, make_directory, write_whole
from trials.accounting import summarise
from trials.errors import StoreError, UsageError
from trials.rows import FIELDS, Row
from trials.words import SCORED

SCHEMA_VERSION = 1
_ID = ("run_id", "shard", "journal_offset")
_RANK = ("trial_key", "status", "ended_at", *_ID)
CONVERSATION_FIELDS = {
    "trial_key": str,
    "run_id": str,
    "shard": int,
    "journal_offset": int,
    "conversation": str,
    "detail": str,
}

OnDamage = Callable[[Path, int, str], None]


def rank(row: Row) -> tuple[bool, float, str, int, int]:
    """Order the rows of one trial key: a scored one before any other, then the newest."""
    return (row["status"] == SCORED, row["ended_at"], row["run_id"], row["shard"], row["journal_offset"])


def identity(row: Row) -> tuple[str, int, int]:
    """Return which journal line a row came from."""
    return (row["run_id"], row["shard"], row["journal_offset"])


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

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Yield the row that counts of every trial key."""
        for part in part_paths(self.trials_dir, self.form):
            yield from read_part(part, columns)

    def all_rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Yield every row there is, replaced ones too."""
        yield from self.rows(columns)
        for part in part_paths(self.path / "history", self.form):
            yield from read_part(part, columns)

    def counting_rows(self, run: RunDirectory, keys: Callable[[str], bool]) -> dict[str, Row]:
        """Return trial key → the row that counts for a run: of a fresh run only what it asked itself."""
        best: dict[str, Row] = {}
        with self._locked():
            store = read_store(self.path)
            for row in store.all_rows() if run.fresh else store.rows():
                key = row["trial_key"]
                if (run.fresh and row["run_id"] != run.run_id) or not keys(key):
                    continue
                if key not in best or rank(row) > rank(best[key]):
                    best[key] = row
        return best

    def merge(self, runs: Iterable[RunDirectory], on_damage: OnDamage | None = None) -> int:
        """Add what the journals of these runs hold and the store does not; return how many rows were added."""
        runs = list(runs)
        with self._locked():
            # Another process may have converted the store since this one opened it.
            return read_store(self.path)._merge(runs, on_damage)

    def _merge(self, runs: Sequence[RunDirectory], on_damage: OnDamage | None) -> int:
        seen = self._last_offsets()
        conversations = (_conversation(row, event) for row, event in _new_events(runs, seen, None))
        write_part(next_part_path(self.path / "conversations", "parquet"), conversations, CONVERSATION_FIELDS)
        rows = (row for row, _ in _new_events(runs, seen, on_damage))
        added = write_part(next_part_path(self.trials_dir, self.form), rows, FIELDS)
        moved = self._tidy()
        if added or moved or not (self.path / "summary.json").exists():
            self._write_summary()
        return added

    def convert(self, form: str) -> ResultsStore:
        """Return the store in the given form, rewriting its parts if it has another."""
        if form == self.form:
            return self
        with self._locked():
            for directory in (self.trials_dir, self.path / "history"):
                for old in part_paths(directory, self.form):
                    write_part(old.with_suffix(SUFFIXES[form]), read_part(old), FIELDS)
            other = ResultsStore(path=self.path, simulated=self.simulated, form=form)
            other.write_head()
            for directory in (self.trials_dir, self.path / "history"):
                for old in part_paths(directory, self.form):
                    old.unlink()
        return other

    def compact(self) -> None:
        """Rewrite the rows of trials/ as one part, and those of history/ as another."""
        with self._locked():
            for directory in (self.trials_dir, self.path / "history"):
                old = part_paths(directory, self.form)
                if len(old) > 1:
                    # The new part takes the first one's name, so a crash leaves duplicates that _tidy removes.
                    write_part(old[0], (row for part in old for row in list(read_part(part))), FIELDS)
                    for part in old[1:]:
                        part.unlink()
            self._tidy()

    def find(self, beginning: str) -> Row:
        """Return the row of the one trial whose key begins so. Raises UsageError if there is none, or several."""
        keys = {row["trial_key"] for row in self.rows(["trial_key"]) if row["trial_key"].startswith(beginning)}
        if not keys:
            raise UsageError(f"no trial in {self.path} has a key that begins with {beginning!r} (see column trial_key)")
        if len(keys) > 1:
            example = min(keys)
            raise UsageError(f"{beginning!r} begins {len(keys)} trial keys, {example} among them; give more of it")
        return next(row for row in self.rows() if row["trial_key"] in keys)

    def conversation(self, row: Row) -> Row | None:
        """Return the conversation that a result row came from, or None if it has none."""
        for part in part_paths(self.path / "conversations", "parquet"):
            if any(identity(one) == identity(row) for one in read_part(part, _ID)):
                found = next(one for one in read_part(part) if identity(one) == identity(row))
                told = {name: orjson.loads(found[name]) for name in ("conversation", "detail")}
                return {**found, **told}
        return None

    def write_head(self) -> None:
        """Write ``store.json``."""
        head = {"schema": SCHEMA_VERSION, "kind": _kind(self.simulated), "form": self.form}
        write_whole(self.path / "store.json", orjson.dumps(head))

    def _locked(self) -> FileLock:
        return FileLock(self.path / ".lock", mode=0o600)

    def _last_offsets(self) -> dict[tuple[str, int], int]:
        last: dict[tuple[str, int], int] = {}
        for row in self.all_rows(_ID):
            journal = (row["run_id"], row["shard"])
            last[journal] = max(row["journal_offset"], last.get(journal, -1))
        return last

    def _tidy(self) -> bool:
        """Move rows that lost to another row of their key into history/; return whether there were any."""
        best: dict[str, Row] = {}
        lost: set[tuple[str, int, int]] = set()
        duplicates = False
        for row in self.rows(_RANK):
            known = best.get(row["trial_key"])
            if known is None:
                best[row["trial_key"]] = row
                continue
            duplicates = True
            winner, loser = (row, known) if rank(row) > rank(known) else (known, row)
            best[row["trial_key"]] = winner
            if identity(loser) != identity(winner):
                lost.add(identity(loser))
        if duplicates:
            self._move_to_history(lost)
        return duplicates

    def _move_to_history(self, lost: set[tuple[str, int, int]]) -> None:
        history = self.path / "history"
        kept = {identity(row) for part in part_paths(history, self.form) for row in read_part(part, _ID)}
        parts = part_paths(self.trials_dir, self.form)
        moving = (row for part in parts for row in read_part(part) if identity(row) in lost - kept)
        write_part(next_part_path(history, self.form), moving, FIELDS)
        seen: set[tuple[str, int, int]] = set(lost)
        for part in parts:
            rows = list(read_part(part))
            staying = []
            for row in rows:
                if identity(row) not in seen:
                    seen.add(identity(row))
                    staying.append(row)
            if not staying:
                part.unlink()
            elif len(staying) < len(rows):
                write_part(part, staying, FIELDS)

    def _write_summary(self) -> None:
        note = "planned counts the trials stored here; what a run has planned and what is pending, its status tells"
        summary = {"kind": _kind(self.simulated), "note": note, "results": summarise(self.rows())}
        write_whole(self.path / "summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))


def _new_events(
    runs: Iterable[RunDirectory], seen: dict[tuple[str, int], int], on_damage: OnDamage | None
) -> Iterator[tuple[Row, Row]]:
    for run in runs:
        for shard, path in run.journals().items():
            last = seen.get((run.run_id, shard), -1)
            told = None if on_damage is None else lambda offset, why, path=path: on_damage(path, offset, why)
            for offset, event in read_events(path, max(last, 0), told):
                if event["kind"] == "ended" and offset > last:
                    row = {**event["row"], "run_id": run.run_id, "shard": shard, "journal_offset": offset}
                    yield row, event


def _conversation(row: Row, event: Row) -> Row:
    return {
        **{name: row[name] for name in ("trial_key", *_ID)},
        "conversation": orjson.dumps(event.get("conversation", [])).decode(),
        "detail": orjson.dumps(event.get("detail", {})).decode(),
    }


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
