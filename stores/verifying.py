"""Checks a results store and the runs it came from: every file, every row, every journal line. Changes nothing.

Memory holds some dozens of bytes a row. The store is locked meanwhile, so that no merge is seen half done; where it
cannot be, as on a disk that may only be read, it is checked all the same.

- ``verify_parts``: seals, rows and their domains, and the journal lines they came from
- ``verify_cross``: rows, conversations, history and summary against each other
- ``verify_runs`` and ``verify_journals``: run directories, and what the store should have of them
- ``verify_files``: leftovers, strange files, permissions
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from filelock import FileLock

from stores.findings import DAMAGED, INCOMPLETE, REPAIR, Finding, with_told
from stores.parts import FORMS, SUFFIXES, read_tables
from stores.results import SCHEMA_VERSION, ResultsStore, read_store
from stores.run_directory import runs_in
from stores.verify_cross import check_conversations, check_rows, check_summary
from stores.verify_files import check_files, check_permissions
from stores.verify_journals import JournalLines
from stores.verify_parts import TRIALS, Contents, read_contents
from stores.verify_runs import Journals, check_runs, runs_of
from trials.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of one store came to. ``statuses`` counts the rows of trials/ and history/."""

    path: Path
    findings: tuple[Finding, ...]
    rows: int
    statuses: Counter[str]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return all(one.severity != DAMAGED for one in self.findings)


def check_store(path: Path, logs_dir: Path) -> Checked:
    """Check a store and what its runs in a logs directory hold. Raises StoreError if there is nothing like a store."""
    if not path.is_dir() and _kinds(path, logs_dir):
        todo = "start one of them again: it makes rows of what its journals hold"
        gone = Finding(severity=INCOMPLETE, path=str(path), what="is not there, but runs are for it", todo=todo)
        return Checked(path=path, findings=(gone,), rows=0, statuses=Counter())
    with locked(path, logs_dir):
        return check_locked(path, logs_dir)


@contextmanager
def locked(path: Path, logs_dir: Path) -> Iterator[bool]:
    """Hold the lock of a store, if it can be had; yield whether it could. Raises StoreError if there is no store."""
    if not path.is_dir() or not is_store(path, logs_dir):
        raise StoreError(f"{path}: no results store here")
    lock = FileLock(path / ".lock", mode=0o600)
    try:
        lock.acquire()
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def check_locked(path: Path, logs_dir: Path) -> Checked:
    """Check a store that the caller has locked."""
    store, findings = head_of(path, logs_dir)
    if store is None:
        return Checked(path=path, findings=tuple(findings), rows=0, statuses=Counter())
    with JournalLines(logs_dir) as lines:
        contents, found = read_contents(store, lines)
    findings += [*found, *_checks(store, contents, logs_dir)]
    rows = len(contents.places[TRIALS])
    return Checked(path=path, findings=tuple(with_told(findings, path)), rows=rows, statuses=contents.statuses)


def _checks(store: ResultsStore, contents: Contents, logs_dir: Path) -> Iterator[Finding]:
    runs, found = runs_of(logs_dir, store.path, contents.run_ids())
    yield from found
    journals = Journals(runs)
    yield from check_rows(store, contents)
    yield from check_conversations(store, contents, journals.endings)
    yield from check_summary(store, contents)
    yield from check_runs(store.path, journals, contents.rows())
    yield from check_files(store)
    yield from check_permissions(store.path)
    for run in runs:
        yield from check_permissions(run.path)


def head_of(path: Path, logs_dir: Path) -> tuple[ResultsStore | None, list[Finding]]:
    """Return a store as its head tells, or where that is damaged its parts or runs; and what is wrong with the head."""
    head = path / "store.json"
    try:
        store = read_store(path)
    except StoreError as problem:
        reason = Finding(severity=DAMAGED, path=str(head), what=f"cannot be used: {problem}", todo=REPAIR)
        if _newer(head):
            return None, [reason]
        return _guessed(path, logs_dir), [reason]
    return store, []


def is_store(path: Path, logs_dir: Path) -> bool:
    """Whether a folder is a results store, was one, or is meant to be one by a run."""
    return (path / "store.json").exists() or any((path / TRIALS).glob("part-*")) or bool(_kinds(path, logs_dir))


def _kinds(path: Path, logs_dir: Path) -> set[bool]:
    """Return the kinds, simulated or not, of the runs that are for a store."""
    return {run.spec.simulated for run in runs_in(logs_dir) if run.results_dir == path.resolve()}


def _newer(head: Path) -> bool:
    """Whether a head is of a later version, which must not be touched."""
    try:
        version = orjson.loads(head.read_bytes())["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(version, int) and version > SCHEMA_VERSION


def _guessed(path: Path, logs_dir: Path) -> ResultsStore | None:
    """Return a store whose head is lost: in the form of its parts, of the kind that its rows say, or its runs."""
    parts = {form: sorted((path / TRIALS).glob(f"part-*{SUFFIXES[form]}")) for form in FORMS}
    form = max(FORMS, key=lambda one: len(parts[one]))
    for part in parts[form]:
        try:
            for table in read_tables(part, ("simulated",)):
                told = Counter(table["simulated"].to_pylist()).most_common(1)[0][0]
                return ResultsStore(path=path, simulated=bool(told), form=form)
        except StoreError:
            continue
    kinds = _kinds(path, logs_dir)
    return ResultsStore(path=path, simulated=kinds.pop(), form=form) if len(kinds) == 1 else None
