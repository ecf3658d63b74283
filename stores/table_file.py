"""A table as a file of its own, for other programs: CSV, JSON Lines or Parquet, whichever its suffix names."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from stores.parts import schema_of
from trials.errors import UsageError

SUFFIXES = (".csv", ".jsonl", ".parquet")
_ROWS_AT_A_TIME = 1 << 12
_FORMULA_STARTS = tuple("=+-@＝＋－＠\t\r")
_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def check_table_path(flag: str, path: str) -> Path:
    """Return where a table is to be written. Raises UsageError where it could not be."""
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{flag}: {path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"{flag}: cannot write {path}: {'it is a folder' if target.is_dir() else 'no such folder'}")
    return target


def write_table(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows (values of the columns' types, or None) to a file, whole or not at all; return how many there were.

    An existing file is replaced. Raises UsageError if the file cannot be written.
    """
    write = {".csv": _write_csv, ".jsonl": _write_json_lines, ".parquet": _write_parquet}[path.suffix.lower()]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        count = write(temporary, columns, rows)
        temporary.replace(path)
    except OSError as problem:
        raise UsageError(f"cannot write {path}: {problem.strerror or problem}") from problem
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return count


def _write_csv(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for count, row in enumerate(rows, 1):  # noqa: B007
            writer.writerow([_csv_value(row[name]) for name in columns])
    return count


def _csv_value(value: Any) -> Any:
    """Return a cell; text other than a number that a spreadsheet would take for a formula is led by an apostrophe."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS) and not _PLAIN_NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def _write_json_lines(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with path.open("wb") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(orjson.dumps({name: row[name] for name in columns}) + b"\n")
    return count


def _write_parquet(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, schema, coming = 0, schema_of(columns), iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := list(islice(coming, _ROWS_AT_A_TIME)):
            writer.write_table(pa.Table.from_pylist([dict(row) for row in some], schema=schema))
            count += len(some)
    return count
