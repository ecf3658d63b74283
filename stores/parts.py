"""Part files: the immutable pieces of a results store, in Parquet or JSON Lines form.

A part is written to a temporary file, synced and renamed, so readers see whole parts only. Both forms hold the same
rows and convert into each other without loss.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from stores.run_directory import sync_directory
from trials.errors import StoreError

FORMS = ("parquet", "json")
SUFFIXES = {"parquet": ".parquet", "json": ".jsonl"}
BATCH_ROWS = 4096

Row = dict[str, Any]
Columns = dict[str, type]
_ARROW_TYPES = {str: "string", int: "int64", float: "float64", bool: "bool"}


def part_paths(directory: Path, form: str) -> list[Path]:
    """Return the parts of a directory in the order they were added."""
    return sorted(directory.glob(f"part-*{SUFFIXES[form]}"))


def next_part_path(directory: Path, form: str) -> Path:
    """Return the path of the next part to add, whatever forms stand there already."""
    numbers = [int(path.stem[5:]) for path in directory.glob("part-*") if path.stem[5:].isdigit()]
    return directory / f"part-{max(numbers, default=0) + 1:06d}{SUFFIXES[form]}"


def write_part(path: Path, rows: Iterable[Row], columns: Columns) -> int:
    """Write rows as a part in the form that the suffix names; return how many. No rows leave no file.

    Memory stays that of one batch. Replaces an existing part in one step.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.tmp")
    write = _write_parquet if path.suffix == SUFFIXES["parquet"] else _write_json
    try:
        count = write(temporary, iter(rows), columns)
        if count:
            temporary.replace(path)
            sync_directory(path.parent)
    except OSError as problem:
        raise StoreError(f"cannot write {path}: {problem.strerror or problem}") from problem
    finally:
        temporary.unlink(missing_ok=True)
    return count


def read_part(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a part, all columns or those named. Raises StoreError for a damaged file."""
    read = _read_parquet if path.suffix == SUFFIXES["parquet"] else _read_json
    try:
        yield from read(path, columns)
    except (OSError, ValueError) as problem:  # pyarrow's and orjson's errors are ValueErrors
        raise StoreError(f"{path} cannot be read ({problem}); move it aside and merge again") from problem


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _synced_and_closed(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_parquet(path: Path, rows: Iterator[Row], columns: Columns) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in columns.items()])
    count = 0
    with open(path, "wb", opener=_private) as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for batch in _batches(rows):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
        _synced_and_closed(file)
    return count


def _write_json(path: Path, rows: Iterator[Row], columns: Columns) -> int:
    count = 0
    with open(path, "wb", opener=_private) as file:
        for row in rows:
            file.write(orjson.dumps({name: row.get(name) for name in columns}) + b"\n")
            count += 1
        _synced_and_closed(file)
    return count


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            yield from batch.to_pylist()


def _read_json(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    with path.open("rb") as file:
        for line in file:
            row = orjson.loads(line)
            yield row if columns is None else {name: row.get(name) for name in columns}
