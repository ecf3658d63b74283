"""A run's replies as a file in the form of OpenAI's batch output: one JSON object a line, each with its ``custom_id``.

The form is that of the "batch request output object" of OpenAI's API reference. A trial that ended without a reply has
``"response": null`` and an ``error``. Lines stand in the order of the store's conversations, not of the questions, as
OpenAI's do in none; several epochs or models of a question have the same ``custom_id`` and ids of their own.

Conversations are read a few megabytes at a time, and with each only those row groups of the rows that can belong to
it. What stays in memory is a byte a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from stores.parts import CONVERSATIONS, ID, part_paths, read_tables
from stores.run_directory import whole_file
from trials.rows import Row
from trials.words import SCORED

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_COLUMNS = [
    "trial_key",
    "task_id",
    "status",
    "error_category",
    "error_message",
    "model",
    "reported_model",
    "prompt_tokens",
    "completion_tokens",
    "ended_at",
    *ID,
]
_MESSAGE_FIELDS = ("role", "content", "tool_calls", "reasoning_content", "refusal")


def write_batch_file(path: Path, rows: IO[bytes], store: Path) -> int:
    """Write the file in one step, in place of what had its name, for the user alone; return how many lines it has.

    ``rows`` is a Parquet file of result rows, ``store`` the results store with their conversations. Raises StoreError
    for a conversation part that cannot be read, OSError if the file cannot be written.
    """
    count = 0
    with whole_file(path) as file:
        for line in _lines(rows, store):
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _lines(file: IO[bytes], store: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(file)
    seen = bytearray(rows.metadata.num_rows)  # a merge that was cut off leaves conversations twice
    for part in part_paths(store / CONVERSATIONS, "parquet"):
        for table in read_tables(part, (*ID, "conversation", "detail")):
            for number, row, place in _joined(rows, table):
                if not seen[number]:
                    seen[number] = True
                    yield _line(row, *(orjson.loads(table[name][place].as_py()) for name in ("conversation", "detail")))
    for number, row in _rows(rows, range(rows.num_row_groups)):
        if not seen[number]:
            yield _line(row, [], {})


def _joined(rows: pq.ParquetFile, table: pa.Table) -> Iterator[tuple[int, Row, int]]:
    """Yield each row whose conversation a table has, with its number before and the conversation's place behind."""
    places = {key: place for place, key in enumerate(zip(*(table[name].to_pylist() for name in ID), strict=True))}
    for number, row in _rows(rows, _near(rows, places)):
        place = places.get(tuple(row[name] for name in ID))
        if place is not None:
            yield number, row, place


def _near(rows: pq.ParquetFile, keys: Iterable[tuple[str, int, int]]) -> list[int]:
    """Return the row groups that may hold rows of these keys, by the least and greatest values in the footer."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for run_id, shard, offset in keys:
        low, high = spans.get((run_id, shard), (offset, offset))
        spans[run_id, shard] = min(low, offset), max(high, offset)
    return [
        group
        for group in range(rows.num_row_groups)
        if any(
            _may_hold(_bounds(rows, group), (run, shard, low), (run, shard, high))
            for (run, shard), (low, high) in spans.items()
        )
    ]


Bounds = tuple[tuple[Any, Any], ...]


def _bounds(rows: pq.ParquetFile, group: int) -> Bounds:
    found = rows.metadata.row_group(group)
    columns = [rows.schema_arrow.get_field_index(name) for name in ID]
    every = [found.column(column).statistics for column in columns]
    return tuple((each.min, each.max) for each in every)


def _may_hold(bounds: Bounds, low: tuple[Any, ...], high: tuple[Any, ...]) -> bool:
    return all(least <= last and first <= most for (least, most), first, last in zip(bounds, low, high, strict=True))


def _rows(rows: pq.ParquetFile, groups: Iterable[int]) -> Iterator[tuple[int, Row]]:
    """Yield the rows of some row groups, each with its number in the file."""
    for group in groups:
        first = sum(rows.metadata.row_group(before).num_rows for before in range(group))
        yield from enumerate(rows.read_row_group(group, columns=_COLUMNS).to_pylist(), first)


def _line(row: Row, conversation: list[Any], detail: Any) -> Row:
    line = {"id": f"batch_req_{row['trial_key']}", "custom_id": row["task_id"], "response": None, "error": None}
    reply = next((each for each in reversed(conversation) if each.get("role") == "assistant"), None)
    if row["status"] != SCORED:
        line["error"] = {"code": row["error_category"] or row["status"], "message": row["error_message"] or ""}
    elif reply is None:
        line["error"] = {"code": "no_conversation", "message": "the results store does not hold the reply"}
    else:
        request_id = f"{row['run_id']}/{row['shard']}/{row['journal_offset']}"
        line["response"] = {"status_code": 200, "request_id": request_id, "body": _body(row, reply, detail)}
    return line


def _body(row: Row, reply: Mapping[str, Any], detail: Any) -> Row:
    tokens = {name: row[name] or 0 for name in ("prompt_tokens", "completion_tokens")}
    finish = detail.get("finish_reason") if isinstance(detail, dict) else None
    message = {"content": None} | {name: reply[name] for name in _MESSAGE_FIELDS if name in reply}
    return {
        "id": f"chatcmpl-{row['trial_key']}",
        "object": "chat.completion",
        "created": int(row["ended_at"] or 0),
        "model": row["reported_model"] or row["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish or "stop"}],
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
    }
