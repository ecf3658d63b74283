"""Mends a results store: what is damaged is moved aside, and journals give again what they still hold.

Nothing is deleted. What a merge would pass over, since it goes on behind the last row of a journal, is looked for line
by line. Every step may be cut off anywhere: what is new is in place before what is damaged is moved, rows that are
there already are not added again, and the next repair does what this one could not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stores.endings import tables_of
from stores.findings import DAMAGED, LOST, Finding, lost_lines, place_of
from stores.parts import CONVERSATIONS, ID, PartWriter, next_part_path, read_tables
from stores.results import ResultsStore, rewrite
from stores.salvage import are_conversations, salvage
from stores.setting_aside import Aside
from stores.verify_cross import before, check_summary, keyed, read_summary, without_winner
from stores.verify_files import open_to_others, other_form, temporary_files
from stores.verify_journals import JournalLines
from stores.verify_parts import HISTORY, TRIALS, Contents, read_contents
from stores.verify_places import Places
from stores.verify_runs import Journals, RunFiles, runs_of
from stores.verifying import check_locked, head_of, locked
from trials.errors import StoreError, UsageError


@dataclass(slots=True, kw_only=True)
class Repaired:
    """What a repair did: files moved aside, rows and conversations brought back, and rows that are lost for good."""

    path: Path
    moved: list[str] = field(default_factory=list)
    rows: int = 0
    conversations: int = 0
    lost_rows: int = 0
    lost_keys: list[str] = field(default_factory=list)


def repair_store(path: Path, logs_dir: Path) -> Repaired:
    """Mend what can be mended. Raises UsageError while a run into the store is being worked on, StoreError."""
    with locked(path, logs_dir) as held:
        if not held:
            raise StoreError(f"{path} cannot be locked, so it is not repaired")
        return _repair(path, logs_dir)


def repair_banks(logs_dir: Path, damaged: Iterable[Path]) -> list[Path]:
    """Move damaged question banks aside; the next run that asks one prepares it again from its source."""
    aside = Aside(logs_dir)
    for path in damaged:
        aside.move(path, "a damaged question bank")
    return aside.moved


def _repair(path: Path, logs_dir: Path) -> Repaired:
    aside, done = Aside(path), Repaired(path=path)
    store, wrong = head_of(path, logs_dir)
    if store is None:
        raise StoreError(f"{wrong[0].path} {wrong[0].what}; nothing tells what results it is for: write it by hand")
    with JournalLines(logs_dir) as lines:
        contents, _ = read_contents(store, lines)
    runs, _ = runs_of(logs_dir, path, contents.run_ids())
    _refuse_busy(runs)
    known = _known_rows(store, contents)
    damaged = [*contents.damaged, *other_form(store)]
    heads = [path / name for name in ("store.json", "summary.json")]  # a part may have been swapped with one
    _restore(store, contents, Journals(runs), [*damaged, *(one for one in heads if one.exists())], done)
    _mend_head(store, wrong, aside)
    for part in damaged:
        aside.move(part, "damaged, or of the other form; what could be read of it is in the store again")
    for leftover in temporary_files(path):
        aside.move(leftover, "left by a process that was killed")
    _settle(store)
    _close(path, *(run.path for run in runs))
    with JournalLines(logs_dir) as lines:
        contents, _ = read_contents(store, lines)
    done.lost_rows = max(0, known - len(contents.rows()))
    _note_lost_rows(store, contents, aside, done)
    _summarise(store, contents, aside)
    _note_lost(path, logs_dir, aside)
    done.moved = [str(one) for one in aside.moved]
    return done


def _mend_head(store: ResultsStore, wrong: list[Finding], aside: Aside) -> None:
    for one in wrong:
        if (store.path / "store.json").exists():
            aside.move(store.path / "store.json", one.what)
        store.write_head()


def _refuse_busy(runs: list[RunFiles]) -> None:
    for run in runs:
        if not run.idle:
            raise UsageError(f"run {run.run_id} is being worked on; repair the store when it has ended")


def _known_rows(store: ResultsStore, contents: Contents) -> int:
    """Return how many rows there should be at least: as many as the summary tells of, and those that are there."""
    total = len(contents.rows()) - contents.rows().repeated()
    try:
        told: Iterable[int] = read_summary(store.path / "summary.json").get("rows", {}).values()
        return max(total, sum(told))
    except (OSError, ValueError):
        return total


def _restore(store: ResultsStore, contents: Contents, journals: Journals, damaged: list[Path], done: Repaired) -> None:
    """Add, as new parts, rows and conversations that journals or damaged parts hold and sound parts do not."""
    rows, conversations = contents.rows(), Places()
    conversations.join(contents.places[CONVERSATIONS])
    with (
        PartWriter(next_part_path(store.trials_dir, store.form)) as new_rows,
        PartWriter(next_part_path(store.path / CONVERSATIONS, "parquet")) as new_conversations,
    ):
        for table in tables_of(journals.found(_wanted(journals, rows, conversations)), None):
            _add(new_conversations, table, conversations)
            _add(new_rows, table, rows)
        for part in damaged:
            for table in salvage(part, simulated=store.simulated):
                said = are_conversations(table)
                _add(new_conversations if said else new_rows, table, conversations if said else rows)
    done.rows, done.conversations = new_rows.rows, new_conversations.rows


def _wanted(journals: Journals, rows: Places, conversations: Places) -> Places:
    """Return the endings of which a row or a conversation is missing; of another store's runs, only what was here."""
    own = {run.run_id for run in journals.runs if run.belongs}
    wanted = Places()
    for journal in journals.endings.journals():
        if journal[0] in own:
            wanted.put(journal, journals.endings.offsets(journal))
    wanted.join(before(journals.endings.minus(wanted), rows))
    with_both = wanted.minus(wanted.minus(rows)).minus(wanted.minus(conversations))
    return wanted.minus(with_both)


def _add(part: PartWriter, table: pa.Table, held: Places) -> None:
    """Write the rows of a table that are not held yet."""
    new = table.filter(pc.invert(held.of(table)))
    part.write(new)
    held.add(new)


def _settle(store: ResultsStore) -> None:
    """Let the best row of each trial count: also one in history/ whose better is lost."""
    contents = Contents()
    contents.sound = {TRIALS: store.trial_parts(), HISTORY: store.history_parts(), CONVERSATIONS: []}
    alone = Places()
    for table in without_winner(contents):
        alone.add(table)
    if alone:
        _copy(store, alone)
    store.tidy()
    for part in store.trial_parts() if store.history_parts() else ():
        for table in read_tables(part, ID):
            contents.places[TRIALS].add(table)
    for part in store.history_parts():
        _drop(part, contents.places[TRIALS])


def _copy(store: ResultsStore, places: Places) -> None:
    """Add rows of history/ to trials/; those that lose to another of them leave it again by ``tidy``."""
    with PartWriter(next_part_path(store.trials_dir, store.form)) as back:
        for part in store.history_parts():
            for table in read_tables(part):
                back.write(table.filter(places.of(table)))


def _drop(part: Path, places: Places) -> None:
    """Take the rows that are in trials/ as well out of a part of history/."""
    kept = copies = 0
    for table in read_tables(part, ID):
        here = pc.sum(places.of(table)).as_py() or 0
        copies, kept = copies + here, kept + table.num_rows - here
    if copies and kept:
        rewrite(part, (table.filter(pc.invert(places.of(table))) for table in read_tables(part)))
    elif copies:
        part.unlink()


def _close(*roots: Path) -> None:
    """Take from others what rights they have to a store and its runs."""
    for root in roots:
        for path in open_to_others(root):
            path.chmod(path.stat().st_mode & 0o700)


def _note_lost_rows(store: ResultsStore, contents: Contents, aside: Aside, done: Repaired) -> None:
    """Write down every row and conversation that did not come back, by trial key where it is known."""
    rows, said = contents.rows(), contents.places[CONVERSATIONS]
    lost = [*_lost(contents, (CONVERSATIONS,), said.minus(rows), "row")]
    lost += _lost(contents, (TRIALS, HISTORY), rows.minus(said), "conversation")
    told = [known for _, known in lost_lines(store.path)]
    new = [one for one in lost if one not in told]
    done.lost_keys = [one["trial_key"] for one in new if one["lost"] == "row"]
    if done.lost_rows:
        what = f"{done.lost_rows:,} rows could not be brought back; {LOST} has the trial keys that are known"
        aside.lost([{"place": TRIALS, "what": what, "always": True}])
    if new:
        aside.lost(new)


def _lost(contents: Contents, folders: tuple[str, ...], places: Places, what: str) -> Iterator[dict[str, Any]]:
    for folder in folders if places else ():
        for row in keyed(contents.sound[folder], places):
            yield {"lost": what, **row}


def _summarise(store: ResultsStore, contents: Contents, aside: Aside) -> None:
    path = store.path / "summary.json"
    for wrong in check_summary(store, contents):
        if path.exists():
            aside.move(path, wrong.what)
    if contents.sound[TRIALS] and not path.exists():
        store.write_summary()


def _note_lost(path: Path, logs_dir: Path, aside: Aside) -> None:
    """Write down what is damaged still: from now on it is known to be lost."""
    left: list[Finding] = [one for one in check_locked(path, logs_dir).findings if one.severity == DAMAGED]
    if left:
        aside.lost({"place": place_of(path, one.path), "what": one.what} for one in left)
