"""What can still be read of a damaged part: row groups whose pages fit their checksums, lines that fit theirs.

What a file holds is told by its content: its name may be that of another one it was swapped with.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from stores.parts import CONVERSATION_FIELDS, fitted, parse_rows, schema_of
from stores.seals import MAGIC, line_is_checked
from stores.verify_rows import conversation_faults, row_faults, sound
from trials.rows import FIELDS

_LINES_AT_A_TIME = 1 << 12
_CONVERSATION = "conversation"


def salvage(path: Path, *, simulated: bool) -> Iterator[pa.Table]:
    """Yield the rows, or conversations (``are_conversations``), of a damaged part that can be trusted, if any."""
    try:
        with path.open("rb") as file:
            parquet = file.read(len(MAGIC)) == MAGIC
        for table in (_groups if parquet else _lines)(path):
            said = are_conversations(table)
            yield sound(table, conversation_faults(table) if said else row_faults(table, simulated=simulated))
    except OSError:
        return


def are_conversations(table: pa.Table) -> bool:
    """Return whether a table is one of conversations, not of rows."""
    return _CONVERSATION in table.column_names


def _groups(path: Path) -> Iterator[pa.Table]:
    file = _opened(path)
    if file is None:
        return
    with file:
        theirs = file.schema_arrow
        schema = schema_of(CONVERSATION_FIELDS if _CONVERSATION in theirs.names else FIELDS)
        if any(name not in schema.names or theirs.field(name).type != schema.field(name).type for name in theirs.names):
            return  # its footer is not to be believed
        for group in range(file.num_row_groups):
            try:
                table = file.read_row_group(group).replace_schema_metadata(None)
                table.validate(full=True)
            except (OSError, ValueError):
                continue
            yield fitted(table, schema)


def _opened(path: Path) -> Any:
    """Return a damaged Parquet file, without what was added behind its end; None if it has no end."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        last = content.rfind(MAGIC, len(MAGIC)) + len(MAGIC)
        whole = last == len(content)
    if last <= len(MAGIC):
        return None
    try:
        source = path if whole else pa.BufferReader(pa.memory_map(str(path)).read_buffer(last))
        return pq.ParquetFile(source, page_checksum_verification=True)
    except (OSError, ValueError):
        return None


def _lines(path: Path) -> Iterator[pa.Table]:
    checked, schema = _has_checksums(path), schema_of(FIELDS)
    lines: list[bytes] = []
    with path.open("rb") as file:
        for line in file:
            if _is_whole(line, checked=checked):
                lines.append(line)
            if len(lines) == _LINES_AT_A_TIME:
                yield _parsed(lines, schema)
                lines = []
    if lines:
        yield _parsed(lines, schema)


def _parsed(lines: list[bytes], schema: pa.Schema) -> pa.Table:
    try:
        return fitted(parse_rows(lines, schema), schema)
    except ValueError:
        if len(lines) == 1:
            return schema.empty_table()
        middle = len(lines) // 2
        return pa.concat_tables([_parsed(half, schema) for half in (lines[:middle], lines[middle:])])


def _has_checksums(path: Path) -> bool:
    with path.open("rb") as file:
        return any(_is_whole(line, checked=True) for line in file)


def _is_whole(line: bytes, *, checked: bool) -> bool:
    try:
        return line_is_checked(line) == checked and isinstance(orjson.loads(line), dict)
    except ValueError:
        return False
