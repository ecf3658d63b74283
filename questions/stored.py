"""A prepared bank: one Arrow file, mapped into memory and read at random by any number of processes and threads.

The file's last record batch is empty and carries the summary, which is known only when everything has been read: what
the bank is called, how its prompts are made, and how many questions there are of each subject and difficulty.
Texts are taken from Arrow's buffers directly (Arrow columnar format 1.0, variable-size binary layout), which is several
times as fast as through its scalars. Writing such files is the business of ``bank``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from questions.question import Question
from questions.templates import Prompt
from trials.errors import StoreError
from trials.words import Message

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
SUMMARY = "summary"
KEY_BYTES = 16


def bank_schema() -> pa.Schema:
    """Return the columns of a prepared bank. ``more`` is JSON, or null: choices, messages, further fields."""
    import pyarrow as pa

    texts = [pa.field(name, pa.string()) for name in ("question_id", "question", "target", "truth", "more")]
    return pa.schema([pa.field("key", pa.binary(KEY_BYTES)), pa.field("cell", pa.uint32()), *texts])


class _Texts:
    """A column of texts in one record batch."""

    __slots__ = ("_bytes", "_ends", "_valid")

    def __init__(self, column: pa.Array) -> None:
        valid, ends, content = column.buffers()
        self._valid = None if valid is None or not column.null_count else memoryview(valid)
        self._ends = memoryview(ends).cast("i")
        self._bytes = memoryview(content or b"")

    def __getitem__(self, row: int) -> str | None:
        valid = self._valid
        if valid is not None and not valid[row >> 3] >> (row & 7) & 1:
            return None
        return str(self._bytes[self._ends[row] : self._ends[row + 1]], "utf-8")


class _Block:
    """One record batch; holds on to it, since its buffers are the file's."""

    __slots__ = ("batch", "cells", "ids", "keys", "more", "questions", "targets", "truths")

    def __init__(self, batch: pa.RecordBatch) -> None:
        key, cell, *texts = batch.columns
        self.batch = batch
        self.keys = memoryview(key.buffers()[1])
        self.cells = memoryview(cell.buffers()[1]).cast("I")
        self.ids, self.questions, self.targets, self.truths, self.more = map(_Texts, texts)


class Bank:
    """A prepared bank. Questions are numbered from 0. Safe to share between threads.

    ``digest`` is of everything that is asked and how it is marked, ``input_digest`` of the rows alone, whatever their
    file format. ``cells`` counts questions by (subject, difficulty). ``parameters`` are request fields that the bank
    itself asks for (OpenAI's batch files). ``columns`` maps roles to the names that were found.
    """

    def __init__(self, batches: list[pa.RecordBatch], summary: Mapping[str, Any]) -> None:
        self.digest: str = summary["digest"]
        self.input_digest: str = summary["input_digest"]
        self.name: str = summary["name"]
        self.source: str = summary["source"]
        self.columns: Mapping[str, str] = summary["columns"]
        self.template_name: str = summary["template_name"]
        self.parameters: Mapping[str, Any] = summary["parameters"]
        self.targets: int = summary["targets"]
        self.skipped: int = summary["skipped"]
        self.has_choices: bool = summary["has_choices"]
        self._few_shot = len(summary["examples"])
        self._by_index = tuple((subject, difficulty) for subject, difficulty, _ in summary["cells"])
        self.cells: Mapping[tuple[str, str], int] = {
            (subject, difficulty): count for subject, difficulty, count in summary["cells"]
        }
        self._blocks = [_Block(batch) for batch in batches]
        self._starts: list[int] = list(accumulate((batch.num_rows for batch in batches), initial=0))
        self._count = self._starts.pop()
        self._prompt = Prompt(
            template=summary["template"],
            name=self.template_name,
            system=summary["system"],
            examples=summary["examples"],
            columns=self.columns,
        )

    def __len__(self) -> int:
        return self._count

    @property
    def has_targets(self) -> bool:
        """Whether any question has an answer to mark against."""
        return self.targets > 0

    def key(self, number: int) -> str:
        """Return the digest, 32 hex digits, of a question: id, messages, answer, choices, and where it is filed."""
        block, row = self._at(number)
        return block.keys[row * KEY_BYTES : (row + 1) * KEY_BYTES].hex()

    def cell_of(self, number: int) -> tuple[str, str]:
        """Return a question's subject and difficulty."""
        block, row = self._at(number)
        return self._by_index[block.cells[row]]

    def id_of(self, number: int) -> str:
        """Return a question's id."""
        block, row = self._at(number)
        return block.ids[row] or ""

    def question(self, number: int) -> Question:
        """Return one question. Raises IndexError."""
        block, row = self._at(number)
        more = block.more[row]
        rest: Mapping[str, Any] = orjson.loads(more) if more else {}
        subject, difficulty = self._by_index[block.cells[row]]
        return Question(
            question_id=block.ids[row] or "",
            text=block.questions[row] or "",
            messages=tuple(rest.get("messages", ())),
            target=block.targets[row],
            choices=tuple(rest.get("choices", ())),
            subject=subject,
            difficulty=difficulty,
            truth=block.truths[row],
            fields=rest.get("fields", {}),
        )

    def messages(self, question: Question) -> list[Message]:
        """Return what a question is asked with; the caller may change it."""
        return self._prompt.messages(question)

    def remarks(self) -> list[str]:
        """Say what the bank is, a line each."""
        columns = ", ".join(f"{role}={name}" for role, name in self.columns.items())
        few_shot = f", {self._few_shot} examples" if self._few_shot else ""
        return [
            f"{self.name}: {self._count:,} questions from {self.source} ({columns})",
            f"prompts: {self.template_name}{few_shot}; {len(self.cells)} subjects and difficulties",
        ]

    def __iter__(self) -> Iterator[Question]:
        return map(self.question, range(self._count))

    def _at(self, number: int) -> tuple[_Block, int]:
        if not 0 <= number < self._count:
            raise IndexError(f"the bank has {self._count} questions; there is no number {number}")
        place = bisect_right(self._starts, number) - 1
        return self._blocks[place], number - self._starts[place]


def open_bank(path: Path) -> Bank:
    """Map a prepared bank into memory. Raises StoreError if it is none, or of another version."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            last = reader.num_record_batches - 1
            summary = orjson.loads(reader.get_batch_with_custom_metadata(last).custom_metadata[SUMMARY])
            if summary["version"] != VERSION:
                raise StoreError(f"{path} was prepared by another version of this program; prepare the bank again")
            return Bank([reader.get_batch(place) for place in range(last)], summary)
    except FileNotFoundError as problem:
        raise StoreError(f"there is no prepared bank {path}; start the run again with its --questions") from problem
    except (OSError, ValueError, KeyError, TypeError) as problem:  # pyarrow's errors are among these
        raise StoreError(
            f"{path} is no prepared bank, or a damaged one ({problem}); remove it and start again"
        ) from problem
