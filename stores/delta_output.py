"""A run's rows in a Delta table, local or on S3, in which every trial key stands at most once.

Each batch is one commit: an append if it replaces nothing, else a merge in which a row replaces one that it beats (a
scored row beats any other, then the newest, as in the results store). A commit holds application transactions
(Delta protocol, "Transaction Identifiers"):

    <run>@<created>/<source run>/<shard>   how far this run's rows of a journal have come: what is up to there is not
                                           sent again
    <run>@<created>                        a number that names the batch, by which one that was committed and never
                                           answered is known again
    ultra-parallel-runner                  in every commit of ours, so that of two made upon the same version of the
                                           table one fails: what a batch was compared with is what it is committed upon

So a batch that is tried again, by the same process or the next, after a lost answer or a ``kill -9``, is there once.
Files of a commit that did not come about are never read; deltalake's ``vacuum`` removes them.

Does not delete rows, compact files or vacuum. Appends need the memory of a few batches, whatever the size of the table;
a merge is deltalake's, and takes about 1 KB a row of the table beside, since it rewrites the files that hold the keys.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stores.aws_credentials import refusal
from stores.delta_table import CreatedMeanwhile, Target
from stores.parts import ID, schema_of
from trials.errors import UsageError
from trials.rows import FIELDS
from trials.words import SCORED

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

BATCH_ROWS = 65_536
BATCH_BYTES = 1 << 26
_PIECE_ROWS = 1 << 12
COLUMNS: dict[str, type] = {"id": str, "answer": str, "latency": float} | FIELDS
"""The table's columns in order: ``id`` is the task's, ``latency`` is in seconds and null for what was not called."""
NEEDED = ("trial_key", "status", "ended_at", *ID)
"""Columns without which rows cannot be told apart: a table that has them not is somebody else's."""
_OURS = "ultra-parallel-runner"
_DELTA_TYPES = {str: "string", int: "long", float: "double", bool: "boolean"}


def check_table(target: Target) -> None:
    """Look at a table before anything is asked; one that is not there yet is fine.

    Raises UsageError if it is of another schema, StoreError if it cannot be reached.
    """
    target.attempt(lambda table: None if table is None else _missing(target.place, table))


def write_table(target: Target, tables: Iterable[pa.Table], *, writer: str, marks: bool) -> int:
    """Write rows that the table does not have, or has worse ones of; return how many were written.

    ``tables`` have the columns of a result row and each trial key once. ``writer`` names the run whose output this is,
    so that the journals of other runs are counted for each run apart. With ``marks`` the rows of a journal must come in
    the order of their offsets, and those up to the last one committed are passed over unseen. Raises StoreError.
    """
    batches = (_Batch(target=target, rows=rows, writer=writer, marks=marks) for rows in _batches(tables))
    return sum(target.attempt(batch.commit) for batch in batches)


def columns_of(rows: pa.Table) -> pa.Table:
    """Return result rows as the columns of the Delta table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    called = pc.and_(pc.greater(rows["provider_ms"], 0), pc.equal(pc.coalesce(rows["cache_hits"], 0), 0))
    latency = pc.if_else(called, pc.divide(rows["provider_ms"], 1000.0), pa.scalar(None, pa.float64()))
    made = {"id": rows["task_id"], "latency": latency}
    return pa.table([made.get(name, rows[name] if name in FIELDS else None) for name in COLUMNS], schema_of(COLUMNS))


def _batches(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Collect rows into tables of at most BATCH_ROWS and, unless a few rows are longer, BATCH_BYTES."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        for start in range(0, table.num_rows, _PIECE_ROWS):
            piece = table.slice(start, _PIECE_ROWS)
            if waiting and (rows + piece.num_rows > BATCH_ROWS or size + piece.nbytes > BATCH_BYTES):
                yield pa.concat_tables(waiting)
                waiting, rows, size = [], 0, 0
            waiting.append(piece)
            rows, size = rows + piece.num_rows, size + piece.nbytes
    if waiting:
        yield pa.concat_tables(waiting)


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Rows to be committed, and whether that has been tried."""

    target: Target
    rows: pa.Table
    writer: str
    marks: bool
    name: int = field(default_factory=lambda: random.getrandbits(62))
    tried: int = 0

    def commit(self, table: DeltaTable | None) -> int:
        """Commit what is new upon this version of the table; return how many rows that is, or was at the last try."""
        table = _create(self.target) if table is None else table
        if self.tried and table.transaction_version(self.writer) == self.name:
            return self.tried
        evolve = bool(_missing(self.target.place, table))
        reached = _reached(self.rows, self.writer) if self.marks else {}
        known = {app: -1 if (mark := table.transaction_version(app)) is None else mark for app in reached}
        rows = _behind(self.rows, self.writer, known) if self.marks else self.rows
        there = _there(table, rows)
        rows = _better(rows, there)
        self.tried = rows.num_rows
        if rows.num_rows:
            marks = {app: max(mark, known[app]) for app, mark in reached.items()}
            properties = _properties({**marks, self.writer: self.name})
            replaces = bool(there) and any(key in there for key in rows["trial_key"].to_pylist())
            (_merge if replaces else _append)(table, columns_of(rows), properties, evolve)
        return len(rows)


def _create(target: Target) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable.create(target.place, schema_of(COLUMNS), storage_options=target.options())
    except DeltaError as problem:
        if refusal(problem):
            raise
        try:
            DeltaTable(target.place, storage_options=target.options())
        except TableNotFoundError:
            raise problem from None
        raise CreatedMeanwhile from None


def _append(table: DeltaTable, rows: pa.Table, properties: CommitProperties, evolve: bool) -> None:
    from deltalake import write_deltalake

    schema_mode: Any = "merge" if evolve else None
    write_deltalake(table, rows, mode="append", schema_mode=schema_mode, commit_properties=properties)


def _merge(table: DeltaTable, rows: pa.Table, properties: CommitProperties, evolve: bool) -> None:
    merger = table.merge(
        rows,
        "old.trial_key = new.trial_key",
        source_alias="new",
        target_alias="old",
        merge_schema=evolve,
        commit_properties=properties,
    )
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def _properties(versions: Mapping[str, int]) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    now_ms = int(time.time() * 1000)
    every = {**versions, _OURS: now_ms}
    return CommitProperties(app_transactions=[Transaction(app, mark, now_ms) for app, mark in every.items()])


def _app(writer: str, run_id: str, shard: int) -> str:
    return f"{writer}/{run_id}/{shard}"


def _reached(batch: pa.Table, writer: str) -> dict[str, int]:
    """Return the last offset of each journal in a batch, by its application id."""
    last = batch.group_by(["run_id", "shard"]).aggregate([("journal_offset", "max")]).to_pylist()
    return {_app(writer, row["run_id"], row["shard"]): row["journal_offset_max"] for row in last}


def _behind(batch: pa.Table, writer: str, known: Mapping[str, int]) -> pa.Table:
    """Return the rows that stand behind what has been committed of their journals."""
    if set(known.values()) == {-1}:
        return batch
    places = zip(*(batch[name].to_pylist() for name in ID), strict=True)
    return batch.filter([offset > known[_app(writer, run, shard)] for run, shard, offset in places])


def _there(table: DeltaTable, batch: pa.Table) -> dict[str, tuple[Any, ...]]:
    """Return the rank of the table's row of each key of the batch that it has."""
    import pyarrow.compute as pc

    if not batch.num_rows or not table.file_uris():
        return {}
    keys = batch["trial_key"].combine_chunks()
    # Not filtered by the scanner: files of a merge say that their strings are views, which pyarrow cannot compare; and
    # keys are digests, so that no file could be passed over anyway.
    scanner = table.to_pyarrow_dataset().scanner(
        columns=list(NEEDED), batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=2
    )
    there: dict[str, tuple[Any, ...]] = {}
    for rows in scanner.to_batches():
        for key, rank in _ranks(rows.filter(pc.is_in(rows["trial_key"], value_set=keys))):
            there[key] = max(rank, there.get(key, rank))
    return there


def _better(batch: pa.Table, there: Mapping[str, tuple[Any, ...]]) -> pa.Table:
    """Return the rows of keys that are not there, or that beat the one there."""
    if not there:
        return batch
    return batch.filter([key not in there or rank > there[key] for key, rank in _ranks(batch)])


def _ranks(rows: pa.Table | pa.RecordBatch) -> Iterator[tuple[str, tuple[Any, ...]]]:
    columns = [rows[name].to_pylist() for name in NEEDED]
    for key, status, ended_at, run, shard, offset in zip(*columns, strict=True):
        yield key, (status == SCORED, ended_at or 0.0, run or "", shard or 0, offset or 0)


def _missing(place: str, table: DeltaTable) -> list[str]:
    """Return our columns that a table has not yet. Raises UsageError if it is of another schema."""
    theirs = {each.name: (str(getattr(each.type, "type", each.type)), each.nullable) for each in table.schema().fields}
    ours = {name: _DELTA_TYPES[kind] for name, kind in COLUMNS.items()}
    wrong = [f"{name} is not there" for name in NEEDED if name not in theirs]
    wrong += [
        f"{name} is {theirs[name][0]}, not {kind}"
        for name, kind in ours.items()
        if name in theirs and theirs[name][0] != kind
    ]
    wrong += [
        f"{name} may not be null" for name, (_, nullable) in theirs.items() if not nullable and name not in NEEDED
    ]
    if wrong:
        raise UsageError(f"{place} is a Delta table of another schema ({'; '.join(wrong)}); choose another place")
    return [name for name in ours if name not in theirs]
