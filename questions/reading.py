"""Streams the questions of a bank from its files, and says of every mistake in which file and row it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from questions.batch_lines import BatchLines, is_batch_line
from questions.columns import Columns, find_columns
from questions.formats import Piece, RowValues, read_pieces
from questions.places import find_files
from questions.question import Question
from questions.rows import RowReader
from trials.errors import UsageError


@dataclass(slots=True, kw_only=True)
class BankReader:
    """Reads one bank, as often as it is iterated; never holds more than a few thousand rows. Not for several threads.

    ``given`` are the columns that the user named, ``subject`` is what questions without one are filed under;
    ``lenient`` lets ``given`` name columns that are not there, ``flag`` is how the user gave the path. What was found
    on the way stands in ``columns``, ``parameters`` and, for rows that ask nothing, ``empty`` and ``first_empty``.
    """

    path: str
    given: Mapping[str, str]
    subject: str
    lenient: bool = False
    flag: str = "--questions"
    columns: Columns = field(default_factory=Columns)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    empty: int = 0
    first_empty: str = ""

    def __iter__(self) -> Iterator[tuple[Question, str]]:
        """Yield each question and where it stands; rows that ask nothing are counted. Raises UsageError."""
        self.columns, self.parameters, self.empty = Columns(), {}, 0
        batch = BatchLines()
        number = 0
        for file in find_files(self.path, self.flag):
            reader: RowReader | None = None
            lines = False
            for piece in read_pieces(file):
                if not piece.rows:
                    continue
                if reader is None:
                    lines = is_batch_line(piece.rows[0])
                rows = (
                    [batch.row(row, piece.place(index)) for index, row in enumerate(piece.rows)]
                    if lines
                    else piece.rows
                )
                self.parameters = batch.parameters
                reader = reader or self._reader(piece, rows, is_batch=lines)
                yield from self._questions(reader, piece, rows, number)
                number += len(rows)

    def _reader(self, piece: Piece, rows: Any, *, is_batch: bool) -> RowReader:
        """Return what reads the rows of a file, by the columns of its first piece."""
        there = list(dict.fromkeys(name for row in rows for name in row))
        given = {"messages": "messages", **self.given} if is_batch else self.given
        if self.lenient:
            given = {role: name for role, name in given.items() if name in ("", *there)}
        columns = find_columns(there, given, piece.file)
        if self.columns.roles and columns.roles.keys() != self.columns.roles.keys():
            roles = ", ".join(sorted(columns.roles.keys() ^ self.columns.roles.keys()))
            raise UsageError(f"{piece.file} has not the same columns as the files before it: they differ in {roles}")
        self.columns = columns
        return RowReader(columns, self.subject, typed=piece.typed)

    def _questions(self, reader: RowReader, piece: Piece, rows: Any, number: int) -> Iterator[tuple[Question, str]]:
        for index, row in enumerate(rows):
            question = _read(reader, row, number + index, piece, index)
            if question is not None:
                yield question, piece.place(index)
                continue
            self.empty += 1
            if self.empty == 1:
                self.first_empty = piece.place(index)


def _read(reader: RowReader, row: RowValues, number: int, piece: Piece, index: int) -> Question | None:
    try:
        return reader.question(row, number)
    except UsageError as problem:
        raise UsageError(f"{piece.place(index)}: {problem}") from problem
    except (TypeError, ValueError, RecursionError) as problem:  # lone surrogates, which are no Unicode text, for one
        raise UsageError(f"{piece.place(index)} holds what cannot be sent as JSON: {problem}") from problem
