"""Reads a bank's files as a stream: Parquet, JSON Lines, CSV and TSV become pieces of a few thousand rows.

Memory stays flat whatever the size of a file; a single line may be as long as ``MOST_LINE_BYTES``. Values keep the type
the file gave them, and numbers of JSON how they were written. In CSV everything is text, and an empty cell is nothing.
What the rows mean is no matter here: see ``columns``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from questions.places import SourceFile, why
from trials.errors import UsageError

MOST_LINE_BYTES = 1 << 28
"""A longer line is not one row of a bank, but a file that is no JSON Lines, or a quotation mark that never closes."""

_PIECE_ROWS = 1 << 10
_PIECE_BYTES = 1 << 22
_BUFFER_BYTES = 1 << 20
_UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, KeyError)  # pyarrow's errors are among these

RowValues = dict[str, Any]


class Written(float):
    """A number of a JSON text that is no integer; ``str`` gives it as it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Written:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


_DECODER = json.JSONDecoder(parse_float=Written)  # once: ``json.loads`` would make one for every row


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A few rows of one file. ``numbers`` count from 1 what ``unit`` says, ``row`` or ``line``."""

    file: str
    unit: str
    numbers: Sequence[int]
    rows: Sequence[RowValues]
    typed: bool = True

    def place(self, index: int) -> str:
        """Say where a row of this piece stands."""
        return f"{self.file}, {self.unit} {self.numbers[index]}"


def read_pieces(file: SourceFile) -> Iterator[Piece]:
    """Yield the rows of a file in their order. Raises UsageError for a file that is not what its name says."""
    read = {"parquet": _parquet, "jsonl": _json_lines, "csv": _csv, "tsv": _csv}[file.form]
    last = ""
    try:
        for piece in read(file):
            last = f" after {piece.unit} {piece.numbers[-1]}" if piece.numbers else last
            yield piece
    except _UNREADABLE as problem:
        what = "Parquet" if file.form == "parquet" else "file"
        raise UsageError(f"{file.name}: damaged or truncated {what}{last}: {why(problem)}") from problem


def _parquet(file: SourceFile) -> Iterator[Piece]:
    import pyarrow.parquet as pq

    with (
        file.filesystem.open_input_file(file.path) as stream,
        pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False) as parquet,
    ):
        _check_names(parquet.schema_arrow.names, file.name)
        groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
        heaviest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1.0)
        rows = int(min(max(_PIECE_BYTES / max(heaviest, 1.0), 1), _PIECE_ROWS))
        begin = 1
        for batch in parquet.iter_batches(batch_size=rows, use_threads=False):
            numbers = range(begin, begin + batch.num_rows)
            yield Piece(file=file.name, unit="row", numbers=numbers, rows=batch.to_pylist())
            begin += batch.num_rows


def _lines(file: SourceFile) -> Iterator[bytes]:
    with file.filesystem.open_input_stream(file.path, buffer_size=_BUFFER_BYTES) as stream:
        buffered = io.BufferedReader(stream, _BUFFER_BYTES)
        number = 0
        while line := buffered.readline(MOST_LINE_BYTES + 1):
            number += 1
            if len(line) > MOST_LINE_BYTES:
                raise UsageError(f"{file.name}, line {number} is longer than {MOST_LINE_BYTES >> 20} MiB")
            yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _json_lines(file: SourceFile) -> Iterator[Piece]:
    numbers: list[int] = []
    rows: list[RowValues] = []
    size = 0
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        numbers.append(number)
        rows.append(_json_row(line, f"{file.name}, line {number}"))
        size += len(line)
        if len(rows) == _PIECE_ROWS or size > _PIECE_BYTES:
            yield Piece(file=file.name, unit="line", numbers=numbers, rows=rows)
            numbers, rows, size = [], [], 0
    yield Piece(file=file.name, unit="line", numbers=numbers, rows=rows)


def _json_row(line: bytes, place: str) -> RowValues:
    try:
        row = _DECODER.decode(_text(line, place))
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"{place} is not JSON ({why(problem)}){_advice(line)}") from problem
    if not isinstance(row, dict):
        raise UsageError(f"{place} holds {kind_of(row)}, where an object with a question is expected{_advice(line)}")
    return row


def _advice(line: bytes) -> str:
    is_array = line.lstrip()[:1] == b"["
    return "; one JSON array is no JSON Lines: jq -c '.[]' FILE makes lines of it" if is_array else ""


def _text(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as problem:
        raise UsageError(f"{place} is not UTF-8 (byte {problem.start + 1} of the line); convert the file") from problem


def _csv(file: SourceFile) -> Iterator[Piece]:
    csv.field_size_limit(max(MOST_LINE_BYTES, csv.field_size_limit()))
    texts = (_text(line, f"{file.name}, line {number}") for number, line in enumerate(_lines(file), start=1))
    reader = csv.reader(texts, delimiter="\t" if file.form == "tsv" else ",", strict=True)
    records = _records(reader, file.name)
    _, names = next(records, (0, []))
    _check_names(names, file.name)
    numbers: list[int] = []
    rows: list[RowValues] = []
    begin = 1
    for begin, values in records:
        if len(values) != len(names):
            raise UsageError(
                f"{file.name}, line {begin} has {len(values)} cells where the first line names {len(names)} columns"
            )
        numbers.append(begin)
        rows.append({name: value or None for name, value in zip(names, values, strict=True)})
        if len(rows) == _PIECE_ROWS or sum(map(len, values)) > _PIECE_BYTES:
            yield Piece(file=file.name, unit="line", numbers=numbers, rows=rows, typed=False)
            numbers, rows = [], []
    yield Piece(file=file.name, unit="line", numbers=numbers, rows=rows, typed=False)


def _records(reader: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV file that are not blank, with the lines they begin in."""
    begin = 1
    try:
        for values in reader:
            if values:
                yield begin, values
            begin = reader.line_num + 1
    except csv.Error as problem:
        raise UsageError(f"{name}, line {begin} is not CSV: {problem}") from problem


def _check_names(names: Sequence[str], file: str) -> None:
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise UsageError(f"{file} has two columns named '{twice}'; rename one")


def kind_of(value: Any) -> str:
    """Name the type of a value as a person would."""
    if isinstance(value, bool):
        return "true or false"
    kinds = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", bytes: "bytes"}
    found = (name for kind, name in kinds.items() if isinstance(value, kind))
    return "nothing" if value is None else next(found, f"a {type(value).__name__}")
