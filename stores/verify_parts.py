"""Part files, one after another: seals, rows to the last one, their fields, and the journal lines they came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stores.findings import DAMAGED, NOTE, REPAIR, Finding
from stores.parts import CONVERSATIONS, SUFFIXES, part_paths, read_tables
from stores.results import ResultsStore
from stores.seals import check_seal
from stores.verify_journals import JournalLines
from stores.verify_places import Places
from stores.verify_rows import conversation_faults, row_faults
from trials.errors import StoreError
from trials.rows import FIELDS

TRIALS, HISTORY = "trials", "history"
FOLDERS = (TRIALS, HISTORY, CONVERSATIONS)


@dataclass(slots=True, kw_only=True)
class Contents:
    """What a store holds: the places of the rows in its sound parts, by folder, these parts, and the damaged ones."""

    places: dict[str, Places] = field(default_factory=lambda: {name: Places() for name in FOLDERS})
    sound: dict[str, list[Path]] = field(default_factory=lambda: {name: [] for name in FOLDERS})
    damaged: list[Path] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def rows(self) -> Places:
        """Return the places of the rows in trials/ and history/."""
        both = Places()
        for name in (TRIALS, HISTORY):
            both.join(self.places[name])
        return both

    def run_ids(self) -> set[str]:
        """Return the runs that anything came from."""
        return {run_id for places in self.places.values() for run_id, _ in places.journals()}


def parts_of(store: ResultsStore) -> Iterator[tuple[str, Path]]:
    """Yield every part of a store with the folder it is in."""
    for folder in FOLDERS:
        form = "parquet" if folder == CONVERSATIONS else store.form
        yield from ((folder, path) for path in part_paths(store.path / folder, form))


def read_contents(store: ResultsStore, lines: JournalLines) -> tuple[Contents, list[Finding]]:
    """Read every part of a store; return what the sound ones hold, and what is wrong with the others."""
    contents = Contents()
    findings: list[Finding] = []
    for folder, path in parts_of(store):
        findings += _read_part(contents, folder, path, lines, simulated=store.simulated)
    return contents, findings


def _read_part(
    contents: Contents, folder: str, path: Path, lines: JournalLines, *, simulated: bool
) -> Iterator[Finding]:
    try:
        sealed = check_seal(path)
        seen = _Seen(sealed=sealed)
        if not sealed:
            _check_columns(path)
        for table in read_tables(path):
            seen.take(path, table, lines, simulated=simulated)
        if not seen.rows:
            raise ValueError("it has no rows")
    except (OSError, ValueError, StoreError) as problem:
        contents.damaged.append(path)
        yield Finding(severity=DAMAGED, path=str(path), what=f"cannot be trusted: {_reason(problem)}", todo=REPAIR)
        return
    if (seen.faults or seen.differing) and not sealed:
        contents.damaged.append(path)
    else:
        contents.sound[folder].append(path)
        contents.places[folder].join(seen.places)
        contents.statuses.update(seen.statuses)
    yield from seen.findings(path)


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What was seen of one part."""

    sealed: bool
    rows: int = 0
    places: Places = field(default_factory=Places)
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    differing: int = 0
    first: str = ""

    def take(self, path: Path, table: pa.Table, lines: JournalLines, *, simulated: bool) -> None:
        self.rows += table.num_rows
        self.places.add(table)
        if path.parent.name == CONVERSATIONS:
            faults = conversation_faults(table)
        else:
            faults = row_faults(table, simulated=simulated)
            self.statuses.update({one["values"]: one["counts"] for one in table["status"].value_counts().to_pylist()})
        for what, mask in faults:
            if count := pc.sum(mask).as_py():
                self.faults[what] += count
        for key in lines.differing(path, table):
            self.first = self.first or key
            self.differing += 1

    def findings(self, path: Path) -> Iterator[Finding]:
        todo = "its seal is whole, so a program wrote it so: please report it" if self.sealed else REPAIR
        for what, count in sorted(self.faults.items()):
            yield Finding(severity=DAMAGED, path=str(path), what=f"{count:,} rows have {what}", todo=todo)
        if self.differing:
            what = f"{self.differing:,} rows say something else than the journal lines they came from ({self.first})"
            yield Finding(severity=DAMAGED, path=str(path), what=what, todo="see whether the run directory is the same")
        if not self.sealed:
            what = "unverifiable: written by a version without checksums; what can be checked without is sound"
            yield Finding(severity=NOTE, path=str(path), what=what, todo="nothing; whatever is written now has them")


def _check_columns(path: Path) -> None:
    """Raise ValueError if an unsealed Parquet part has a column that is none of ours, as a changed name would be."""
    if path.suffix != SUFFIXES["parquet"] or path.parent.name == CONVERSATIONS:
        return
    import pyarrow.parquet as pq

    for name in pq.read_schema(path).names:
        if name not in FIELDS:
            raise ValueError(f"it has a column {name!r}")


def _reason(problem: Exception) -> str:
    cause = problem.__cause__ if isinstance(problem, StoreError) and problem.__cause__ else problem
    return " ".join(str(cause).split())[:200]
