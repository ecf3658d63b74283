"""Writes a prepared bank: rows come one at a time, and the file is there whole, under its digest, or not at all."""

from __future__ import annotations

import os
import tempfile
import time
from array import array
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from questions.question import Question
from questions.stored import KEY_BYTES, SUMMARY, VERSION, Bank, bank_schema, open_bank
from trials.digest import digest
from trials.errors import StoreError
from trials.words import Message

_BLOCK_ROWS = 1 << 12
_BLOCK_BYTES = 1 << 22
_LEFT_BEHIND_S = 86_400
"""A temporary file that is older belongs to a process that was killed."""


class BankWriter:
    """Collects questions in a temporary file of ``directory``; ``commit`` gives it its name. Not for several threads.

    Leaving the ``with`` without a commit leaves no file. Raises StoreError if the disk does not take it.
    """

    def __init__(self, directory: Path) -> None:
        import pyarrow as pa

        self.count = 0
        self.targets = 0
        self.has_choices = False
        self.subjects: set[str] = set()
        self.difficulties: set[str] = set()
        self._directory = directory
        self._schema = bank_schema()
        self._columns: list[list[Any]] = [[] for _ in self._schema]
        self._waiting_bytes = 0
        self._cells: dict[tuple[str, str], int] = {}
        self._counts: list[int] = []
        self._keys = blake2b(digest_size=KEY_BYTES)
        self._input = blake2b(digest_size=KEY_BYTES)
        self._id_hashes = array("q")
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sweep(directory)
            number, name = tempfile.mkstemp(prefix=".bank-", suffix=".tmp", dir=directory)
        except OSError as problem:
            raise self._failed(problem) from problem
        self._file = os.fdopen(number, "wb")
        self._temporary = Path(name)
        self._sink: Any = pa.ipc.new_file(self._file, self._schema)

    def __enter__(self) -> BankWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: object, trace: TracebackType | None) -> None:
        with suppress(OSError, ValueError):  # already closed, or the disk is full: either way it goes
            self._sink.close()
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def add(self, question: Question, messages: list[Message]) -> None:
        """Take in one question, and the messages it will be asked with."""
        cell = (question.subject, question.difficulty)
        place = self._cells.setdefault(cell, len(self._cells))
        if place == len(self._counts):
            self._counts.append(0)
            self.subjects.add(question.subject)
            self.difficulties.add(question.difficulty)
        self._counts[place] += 1
        asked = [question.question_id, messages, question.target, question.choices, *cell, question.truth]
        key = bytes.fromhex(digest(asked, KEY_BYTES))
        more = _more(question)
        texts = (question.question_id, question.text, question.target, question.truth)
        self._keys.update(key)
        self._input.update(orjson.dumps([*texts, *cell]) + (more or b"") + b"\n")
        self._id_hashes.append(hash(question.question_id))
        for column, value in zip(self._columns, (key, place, *texts, more), strict=True):
            column.append(value)
        self.count += 1
        self.targets += question.target is not None
        self.has_choices = self.has_choices or bool(question.choices)
        self._waiting_bytes += len(question.text) + len(more or b"") + 64
        if len(self._columns[0]) == _BLOCK_ROWS or self._waiting_bytes >= _BLOCK_BYTES:
            self._flush()

    def commit(self, about: Mapping[str, Any]) -> Bank:
        """End the file, put it in its place unless the same one is there, and return it as a bank.

        ``about`` is the rest of the summary: how the bank is called, and how its prompts are made.
        """
        summary = self._summary(about)
        try:
            self._flush()
            self._end(summary)
            path = self._directory / f"{summary['digest']}.arrow"
            if _summary_of(path) != summary:
                self._temporary.replace(path)
                _sync_directory(self._directory)
        except OSError as problem:
            raise self._failed(problem) from problem
        return open_bank(path)

    def repeated_hashes(self) -> frozenset[int]:
        """Return the hashes (``hash``) that more than one id has: of an id that is there twice, or by rare chance."""
        import pyarrow as pa
        import pyarrow.compute as pc

        hashes = pa.Array.from_buffers(pa.int64(), self.count, [None, pa.py_buffer(self._id_hashes)])
        ordered = hashes.take(pc.array_sort_indices(hashes))
        same = pc.equal(ordered.slice(1), ordered.slice(0, max(self.count - 1, 0)))
        return frozenset(ordered.slice(1).filter(same).to_pylist())

    def _summary(self, about: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            "version": VERSION,
            "input_digest": self._input.hexdigest(),
            "cells": [[*cell, self._counts[place]] for cell, place in self._cells.items()],
            "targets": self.targets,
            "has_choices": self.has_choices,
            **about,
        }
        asks = [found[name] for name in ("version", "input_digest", "template", "system", "examples", "parameters")]
        summary: dict[str, Any] = orjson.loads(
            orjson.dumps({"digest": digest([*asks, self._keys.hexdigest()], KEY_BYTES), **found})
        )
        return summary

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._columns[0]:
            return
        arrays = [pa.array(values, field.type) for values, field in zip(self._columns, self._schema, strict=True)]
        try:
            self._sink.write_batch(pa.record_batch(arrays, schema=self._schema))
        except OSError as problem:
            raise self._failed(problem) from problem
        for column in self._columns:
            column.clear()
        self._waiting_bytes = 0

    def _end(self, summary: Mapping[str, Any]) -> None:
        import pyarrow as pa

        nothing = pa.record_batch([pa.array([], field.type) for field in self._schema], schema=self._schema)
        self._sink.write_batch(nothing, custom_metadata={SUMMARY: orjson.dumps(summary)})
        self._sink.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _failed(self, problem: OSError) -> StoreError:
        return StoreError(f"cannot write a prepared bank into {self._directory}: {problem.strerror or problem}")


def _more(question: Question) -> bytes | None:
    """Return as JSON what has no column of its own."""
    parts = {"choices": question.choices, "messages": question.messages, "fields": question.fields}
    parts = {name: part for name, part in parts.items() if part}
    return orjson.dumps(parts, option=orjson.OPT_NON_STR_KEYS) if parts else None


def _summary_of(path: Path) -> Any:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            last = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
            return orjson.loads(last.custom_metadata[SUMMARY])
    except (OSError, ValueError, KeyError, TypeError):  # none, or a damaged one, which the new one replaces
        return None


def _sweep(directory: Path) -> None:
    """Remove what processes that were killed left behind."""
    for path in directory.glob(".bank-*.tmp"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _LEFT_BEHIND_S:
                path.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
