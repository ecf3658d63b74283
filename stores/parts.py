"""Part files: the immutable pieces of a results store, in Parquet or JSON Lines form.

A part is written to a temporary file, sealed (``seals``), synced and renamed, so readers see whole parts only. Both
forms hold the same rows and convert into each other without loss. Rows go in and out as Arrow tables of a few
megabytes, whatever the size of the part. Parts of ``conversations/``, which are always Parquet, have their own columns,
all others those of a row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson

from stores.run_directory import make_lasting, sync_directory
from stores.seals import SealedLines, SealedParquet, name_of
from trials.errors import StoreError
from trials.rows import FIELDS, Row

if TYPE_CHECKING:
    import pyarrow as pa

FORMS = ("parquet", "json")
SUFFIXES = {"parquet": ".parquet", "json": ".jsonl"}
GROUP_BYTES = 1 << 24
"""Tables are collected to this size before they are written, which in Parquet makes one row group."""
_DICT_ROWS = 1 << 12
_BLOCK_BYTES = 1 << 20

CONVERSATIONS = "conversations"
ID = ("run_id", "shard", "journal_offset")
"""Which journal line a row and its conversation came from."""
CONVERSATION_FIELDS = {name: FIELDS[name] for name in ("trial_key", *ID)} | {"conversation": str, "detail": str}
_ARROW_TYPES = {str: "string", int: "int64", float: "float64", bool: "bool"}


def part_paths(directory: Path, form: str) -> list[Path]:
    """Return the parts of a directory in the order they were added."""
    return sorted(directory.glob(f"part-*{SUFFIXES[form]}"))


def next_part_path(directory: Path, form: str) -> Path:
    """Return the path of the next part to add, whatever forms stand there already."""
    numbers = [int(path.stem[5:]) for path in directory.glob("part-*") if path.stem[5:].isdigit()]
    return directory / f"part-{max(numbers, default=0) + 1:06d}{SUFFIXES[form]}"


def schema_of(columns: Mapping[str, type]) -> pa.Schema:
    """Return columns as Arrow names and types them."""
    import pyarrow as pa

    return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in columns.items()])


def _schema(path: Path, names: Sequence[str] | None = None) -> pa.Schema:
    columns = CONVERSATION_FIELDS if path.parent.name == CONVERSATIONS else FIELDS
    return schema_of({name: columns[name] for name in names or columns})


class PartWriter:
    """Writes one part in the form that its suffix names: whole at the end of a ``with``, or not at all.

    No rows leave no file; an existing part is replaced in one step. Raises StoreError if the disk does not take it.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._schema = _schema(path)
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._file: Any = None
        self._sink: Any = None  # takes tables, and writes them to the file

    def write(self, table: pa.Table) -> None:
        """Add rows; columns that are not the part's are left out."""
        if not table.num_rows:
            return
        table = table.select(self._schema.names)
        self.rows += table.num_rows
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        if self._waiting_bytes >= GROUP_BYTES:
            self._flush()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: object, trace: TracebackType | None) -> None:
        try:
            if kind is None and self.rows:
                self._commit()
        finally:
            self._discard()

    def _flush(self) -> None:
        import pyarrow as pa

        table = pa.concat_tables(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        try:
            if self._sink is None:
                self._open()
            self._sink.write_table(table)
        except OSError as problem:
            raise self._failed(problem) from problem

    def _open(self) -> None:
        make_lasting(self._path.parent)
        self._file = os.fdopen(_private(self._temporary), "w+b")
        if self._path.suffix == SUFFIXES["parquet"]:
            self._sink = SealedParquet(self._file, self._schema, name_of(self._path))
        else:
            self._sink = SealedLines(self._file, name_of(self._path))

    def _commit(self) -> None:
        if self._waiting:
            self._flush()
        try:
            self._sink.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temporary.replace(self._path)
            sync_directory(self._path.parent)
        except OSError as problem:
            raise self._failed(problem) from problem

    def _discard(self) -> None:
        """Close what is open, and remove what was not committed."""
        if self._file is None:
            return
        with suppress(OSError):
            self._sink.close()
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _failed(self, problem: OSError) -> StoreError:
        return StoreError(f"cannot write {self._path}: {problem.strerror or problem}")


def _private(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def read_tables(path: Path, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a part in their order, all columns or those named. Raises StoreError for a damaged file."""
    schema = _schema(path, names)
    read = _read_parquet if path.suffix == SUFFIXES["parquet"] else _read_json
    try:
        for table in read(path, schema):
            yield fitted(table, schema)
    except (OSError, ValueError) as problem:  # pyarrow's errors are ValueErrors
        raise _unreadable(path, problem) from problem


def read_part(path: Path, names: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a part as ``read_tables`` does."""
    for table in read_tables(path, names):
        yield from dicts(table)


def dicts(table: pa.Table) -> Iterator[Row]:
    """Yield the rows of a table, a few thousand of them in memory at a time."""
    for batch in table.to_batches(max_chunksize=_DICT_ROWS):
        yield from batch.to_pylist()


def read_row(path: Path, number: int) -> Row:
    """Return one row of a part, numbered from 0, reading no more than its row group. Raises StoreError."""
    read = _parquet_row if path.suffix == SUFFIXES["parquet"] else _json_row
    try:
        row = read(path, number)
    except (OSError, ValueError) as problem:
        raise _unreadable(path, problem) from problem
    return {name: row.get(name) for name in _schema(path).names}


def row_count(path: Path) -> int:
    """Return how many rows a part has. Raises StoreError."""
    count = _count_parquet if path.suffix == SUFFIXES["parquet"] else _count_lines
    try:
        return count(path)
    except (OSError, ValueError) as problem:
        raise _unreadable(path, problem) from problem


def _count_parquet(path: Path) -> int:
    import pyarrow.parquet as pq

    rows: int = pq.read_metadata(path).num_rows
    return rows


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK_BYTES), b""))


def _unreadable(path: Path, problem: Exception) -> StoreError:
    return StoreError(f"{path} cannot be read ({problem}); move it aside and merge again")


def parse_rows(lines: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """Return rows from their JSON texts; fields that are no column are left out. Raises ValueError."""
    import pyarrow as pa
    import pyarrow.json as pj

    text = b"\n".join(lines)
    return pj.read_json(
        pa.BufferReader(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with exactly these columns; one that is not there holds nothing."""
    import pyarrow as pa

    if table.schema.equals(schema):
        return table
    there = set(table.column_names)
    found = [
        table[field.name].cast(field.type) if field.name in there else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(found, schema=schema)


def _read_parquet(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=schema.names).replace_schema_metadata(None)


def _read_json(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    with path.open("rb") as file:
        while lines := file.readlines(GROUP_BYTES):
            yield parse_rows(lines, schema)


def _parquet_row(path: Path, number: int) -> Row:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        group = 0
        while number >= (rows := file.metadata.row_group(group).num_rows):
            number -= rows
            group += 1
        row: Row = file.read_row_group(group).slice(number, 1).to_pylist()[0]
    return row


def _json_row(path: Path, number: int) -> Row:
    with path.open("rb") as file:
        row: Row = orjson.loads(next(islice(file, number, None)))
    return row
