"""Run directories: their files, their journals, and what the store should have of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from stores.endings import Found, tables_of
from stores.findings import DAMAGED, INCOMPLETE, MERGE, NOTE, REPAIR, UNTIDY, Finding
from stores.run_directory import RunDirectory, open_run
from stores.verify_cross import before, behind
from stores.verify_journals import JournalLines, Scanned, journal_of, scan
from stores.verify_places import Journal, Places
from trials.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """A run that a store has to do with. One that ``belongs`` was made for this very store; others left rows in it.

    ``idle`` says that nobody works on it. ``journals`` are by shard.
    """

    run_id: str
    path: Path
    belongs: bool
    idle: bool
    journals: dict[int, Path]


def runs_of(logs_dir: Path, store: Path, run_ids: set[str]) -> tuple[list[RunFiles], list[Finding]]:
    """Return the runs below a logs directory that have to do with a store, and what is wrong with their heads.

    ``run_ids`` are those that rows of the store name.
    """
    runs, findings = [], []
    for path in sorted(head.parent for head in logs_dir.glob("*/run.json")):
        run: RunDirectory | None = None
        try:
            run = open_run(path)
        except StoreError as problem:
            what = f"cannot be read: {str(problem).replace(str(path), path.name)}"
            todo = "see that its rows are in the store; the same command starts the run anew"
            findings.append(Finding(severity=DAMAGED, path=str(path / "run.json"), what=what, todo=todo))
        belongs = run is not None and run.results_dir == store.resolve()
        if belongs or path.name in run_ids:
            runs.append(_files(path, run, belongs=belongs))
    return runs, findings


def _files(path: Path, run: RunDirectory | None, *, belongs: bool) -> RunFiles:
    found = sorted(path.glob("shards/*/journal.jsonl"))
    journals = {int(one.parent.name): one for one in found if one.parent.name.isdigit()}
    idle = run is None or not (path / "run.lock").exists() or run.is_idle()
    return RunFiles(run_id=path.name, path=path, belongs=belongs, idle=idle, journals=journals)


class Journals:
    """The journals of some runs, read whole once."""

    def __init__(self, runs: list[RunFiles]) -> None:
        self.runs = runs
        self.scanned: dict[Journal, Scanned] = {}
        self.endings = Places()
        self.paths: dict[Journal, Path] = {}
        for run in runs:
            for shard, path in run.journals.items():
                found = scan(path)
                self.scanned[run.run_id, shard] = found
                self.paths[run.run_id, shard] = path
                self.endings.put((run.run_id, shard), found.endings)

    def found(self, places: Places) -> Iterator[Found]:
        """Yield the endings at places."""
        for journal in places.journals():
            path = self.paths[journal]
            with JournalLines(path.parent.parent.parent.parent) as lines:
                for offset in sorted(places.offsets(journal).to_pylist()):
                    ending = lines.ending(*journal, offset)
                    if ending is not None:
                        yield Found(path, *journal, offset, ending)

    def idle(self) -> Places:
        """Return the endings in journals of runs that nobody works on."""
        busy = {run.run_id for run in self.runs if not run.idle}
        chosen = Places()
        for journal in self.endings.journals():
            if journal[0] not in busy:
                chosen.put(journal, self.endings.offsets(journal))
        return chosen


def check_runs(store: Path, journals: Journals, rows: Places) -> Iterator[Finding]:
    """Yield what is wrong with runs and their journals, and what the store does not have of them."""
    for run in journals.runs:
        yield from _heads(run)
        for shard, path in run.journals.items():
            yield from _journal(path, journals.scanned[run.run_id, shard], rows.offsets((run.run_id, shard)), run.idle)
    folders = {run.run_id: run.path.parent for run in journals.runs}
    for journal in rows.journals():
        gone = journal_of(folders[journal[0]], *journal) if journal[0] in folders else None
        if gone is not None and not gone.exists():
            what = f"is gone; {len(rows.offsets(journal)):,} rows of the store came from it, and are still there"
            yield Finding(severity=DAMAGED, path=str(gone), what=what, todo="nothing; the store needs it no more")
    yield from _missing(store, journals, rows)


def _heads(run: RunFiles) -> Iterator[Finding]:
    for path in [*run.path.glob("*.json"), *run.path.glob("shards/*/*.json")]:
        try:
            orjson.loads(path.read_bytes())
        except (OSError, ValueError) as problem:
            if path.name != "run.json":
                todo = "nothing; the next start of the run writes what it needs"
                yield Finding(severity=DAMAGED, path=str(path), what=f"cannot be read: {problem}", todo=todo)


def _journal(path: Path, found: Scanned, rows: pa.Array, idle: bool) -> Iterator[Finding]:
    gone = rows.filter(pc.invert(pc.is_in(rows, value_set=found.endings))).to_pylist()
    if found.damaged:
        yield _damaged_lines(path, found, gone)
    if count := sum(not found.explains(offset) for offset in gone):
        what = f"{count:,} rows of the store came from lines that are not there: it was cut short, or replaced"
        yield Finding(severity=DAMAGED, path=str(path), what=what, todo="nothing; the rows are still in the store")
    if found.tail is not None and idle:
        first, size, zeros = found.tail
        what = f"ends in {size:,} {'zeros' if zeros else 'bytes that are no whole line'} (from byte {first:,})"
        yield Finding(severity=UNTIDY, path=str(path), what=what, todo="nothing; the next start drops them")


def _damaged_lines(path: Path, found: Scanned, gone: list[int]) -> Finding:
    """Tell of damaged lines; ``gone`` are the offsets of rows in the store whose line cannot be read any more."""
    first, _, why = found.damaged[0]
    lost = [one for one in found.damaged if not any(one[0] <= offset < one[1] for offset in gone)]
    what = f"{len(found.damaged):,} lines are damaged (the first at byte {first:,}: {why})"
    if not lost:
        return Finding(severity=NOTE, path=str(path), what=f"{what}; their rows are in the store", todo="nothing")
    what += f"; what {len(lost):,} of them said is lost, unless the store has it from elsewhere"
    return Finding(
        severity=DAMAGED, path=str(path), what=what, todo="start the run again: what has no row is asked again"
    )


def _missing(store: Path, journals: Journals, rows: Places) -> Iterator[Finding]:
    """Tell of trials that ended and are in no row, of what can be made rows of."""
    missing = journals.idle().minus(rows)
    unusable: list[tuple[Path, int, str]] = []
    usable = Places()
    for table in tables_of(journals.found(missing), lambda *told: unusable.append(told)):
        usable.add(table)
    for path, offset, why in unusable[:1]:
        what = f"{len(unusable):,} ended trials are no rows of ours (the first at byte {offset:,}: {why})"
        yield Finding(severity=DAMAGED, path=str(path), what=what, todo="see which version wrote it")
    own = {run.run_id for run in journals.runs if run.belongs}
    lost, coming = before(usable, rows), behind(usable, rows)
    if lost:
        what = f"{len(lost):,} rows are lost that journals still hold"
        yield Finding(severity=DAMAGED, path=str(store / "trials"), what=what, todo=REPAIR)
    for run_id in sorted({run_id for run_id, _ in coming.journals()} & own):
        count = sum(len(coming.offsets(journal)) for journal in coming.journals() if journal[0] == run_id)
        path = next(run.path for run in journals.runs if run.run_id == run_id)
        what = f"{count:,} ended trials are not merged yet"
        yield Finding(severity=INCOMPLETE, path=str(path), what=what, todo=MERGE)
