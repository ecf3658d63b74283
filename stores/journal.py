"""The journal: one append-only file of events per shard, with one writer; the thing that must survive a crash.

A line is a JSON object whose last field ``crc`` is the CRC-32 of the line without that field. It is written with one
``write`` call, so after ``kill -9`` at most the last line is torn. Only fsync is grouped (``sync``). Replaying reads
line by line in constant memory; a torn last line is dropped, a damaged line is told and skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from trials.errors import StoreError
from trials.progress import ending
from trials.words import SCORED

SCHEMA_VERSION = 1
_CRC_BYTES = len(b',"crc":"00000000"}')


def encode(event: Mapping[str, Any]) -> bytes:
    """Return the journal line of an event, newline included. Raises StoreError if it cannot be written as JSON."""
    versioned = {"v": SCHEMA_VERSION, **event}
    try:
        try:
            body = orjson.dumps(versioned)
        except TypeError:  # half a surrogate pair in a text, which what a model writes may well hold
            text = json.dumps(versioned, ensure_ascii=False, separators=(",", ":"), default=asdict)
            body = text.encode("utf-8", "replace")
    except (TypeError, ValueError) as problem:
        raise StoreError(f"an event of kind {event.get('kind')!r} cannot be written as JSON: {problem}") from problem
    return b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body))


def decode(line: bytes) -> dict[str, Any]:
    """Return the event of a line. Raises ValueError saying what is damaged."""
    line = line.rstrip(b"\n")
    body = line[:-_CRC_BYTES] + b"}"
    if line[-_CRC_BYTES:] != b',"crc":"%08x"}' % crc32(body):
        raise ValueError("checksum does not match")
    event: dict[str, Any] = orjson.loads(body)
    if event.get("v") != SCHEMA_VERSION:
        raise ValueError(f"schema version {event.get('v')!r}, this program reads {SCHEMA_VERSION}")
    return event


class JournalWriter:
    """Appends events. Thread-safe; one process at a time per file, held by a lock that dies with the process."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and drop a torn last line. Raises StoreError if another process writes it."""
        self.path = path
        self._lock = threading.Lock()
        self._unsynced = False
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise StoreError(f"cannot open the journal {path}: {problem.strerror}") from problem
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(self._file)
            raise StoreError(f"the journal {path} is being written by another process") from problem
        self._size_bytes = _whole_lines_bytes(self._file)
        os.ftruncate(self._file, self._size_bytes)

    def append(self, event: Mapping[str, Any]) -> int:
        """Write one event and return the offset of its line. Raises StoreError if the disk does not take it whole."""
        line = encode(event)
        with self._lock:
            offset = self._size_bytes
            try:
                written = os.write(self._file, line)
            except OSError as problem:
                raise StoreError(f"cannot write the journal {self.path}: {problem.strerror}") from problem
            if written != len(line):
                os.ftruncate(self._file, offset)
                raise StoreError(f"cannot write the journal {self.path}: the disk is full")
            self._size_bytes += written
            self._unsynced = True
        return offset

    def sync(self) -> None:
        """Make everything appended so far survive a power cut. Raises StoreError."""
        if not self._unsynced:
            return
        self._unsynced = False
        try:
            os.fdatasync(self._file)
        except OSError as problem:
            raise StoreError(f"cannot sync the journal {self.path}: {problem.strerror}") from problem

    def close(self) -> None:
        """Sync, let go of the lock and close; a second call does nothing."""
        if self._file < 0:
            return
        try:
            self.sync()
        finally:
            os.close(self._file)
            self._file = -1


def _whole_lines_bytes(file: int, block_bytes: int = 1 << 16) -> int:
    """Return the size of the file up to and including its last newline."""
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - block_bytes)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def written_bytes(path: Path) -> int:
    """Return the size of a journal up to its last whole line; 0 if there is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return _whole_lines_bytes(file)
    finally:
        os.close(file)


def read_events(
    path: Path, start: int = 0, on_damage: Callable[[int, str], None] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (offset, event) from byte ``start`` on, which must begin a line; a missing file has no events.

    A last line without newline is still being written, or torn, and is dropped. ``on_damage(offset, reason)`` is
    told of every other line that cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                event = decode(line)
            except ValueError as problem:
                if on_damage is not None:
                    on_damage(offset, str(problem))
            else:
                yield offset, event
            offset += len(line)


def replay(path: Path, held: Container[int], since: int = 0) -> tuple[dict[int, str], dict[int, list[dict[str, Any]]]]:
    """Return what a journal says of the trials in ``held``: how they ended, and completions of the others.

    The first maps a number to its ending (see trials.progress), the second a number to its completions so far. A trial
    that was asked again after a provider's failure counts as not ended, and keeps the completions it had. Endings
    before byte ``since`` are of an earlier run of the command and do not count.
    """
    endings: dict[int, str] = {}
    completions: dict[int, list[dict[str, Any]]] = {}
    for offset, event in read_events(path):
        number = event["number"]
        if number not in held:
            continue
        if event["kind"] == "begun":
            endings.pop(number, None)
        elif event["kind"] == "completion":
            known = completions.setdefault(number, [])
            if event["index"] == len(known):
                known.append(event["completion"])
        elif event["kind"] == "ended":
            if offset >= since:
                endings[number] = ending(event["row"])
            if event["row"]["status"] == SCORED:
                completions.pop(number, None)
    return endings, completions
