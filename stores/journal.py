"""The journal: one append-only file of events per shard, with one writer; the thing that must survive a crash.

A line is a JSON object whose last field ``crc`` is the CRC-32 of the line without that field. It is written with one
``write`` call, so after ``kill -9`` at most the last line is torn. Only fsync is grouped (``sync``). Reading goes
line by line in constant memory; a torn last line is dropped, a damaged line is told and skipped. What is only passed
on (``read_endings``) is cut out of its line and never parsed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import orjson

from stores.run_directory import sync_directory
from trials.errors import StoreError
from trials.progress import ending
from trials.words import SCORED

SCHEMA_VERSION = 1
BUSY_S = 0.0005
"""Lines that follow each other so quickly need no write each: a killed process loses a millisecond's worth,
and at most what came since the last ``sync`` if they have just ceased to come."""

_CRC_BYTES = len(b',"crc":"00000000"}\n')
_BLOCK_BYTES = 1 << 18
_GAP_BYTES = 1 << 16
_HEAD = re.compile(rb'{"v":%d,"kind":"(\w+)","number":(\d+),' % SCHEMA_VERSION)
"""How ``encode`` begins the line of a trial's event; other lines are parsed to know what they are."""
_VERSION = b'{"v":%d,' % SCHEMA_VERSION
_VERSION_CRC = crc32(_VERSION)
_NO_END = tuple(b'{"v":%d,"kind":"%b",' % (SCHEMA_VERSION, kind) for kind in (b"begun", b"completion"))

NOTHING = b"{}"
"""What is shared where a row has all its fields itself, as journals were once written."""

T = TypeVar("T")
OnDamage = Callable[[int, str], None]


class Ending(NamedTuple):
    """What an ``ended`` event tells of a trial, each as the JSON text that stands in the journal.

    A row is its own fields, ``row``, and those it has in common with others, ``shared``; none if it has all itself.
    """

    row: bytes
    shared: bytes
    conversation: bytes
    detail: bytes


def encode(event: Mapping[str, Any]) -> bytes:
    """Return the journal line of an event, newline included. Raises StoreError if it cannot be written as JSON."""
    try:
        try:
            body = orjson.dumps(event)
        except TypeError:  # half a surrogate pair in a text, which what a model writes may well hold
            text = json.dumps(event, ensure_ascii=False, separators=(",", ":"), default=asdict)
            body = text.encode("utf-8", "replace")
    except (TypeError, ValueError) as problem:
        raise StoreError(f"an event of kind {event.get('kind')!r} cannot be written as JSON: {problem}") from problem
    return _sealed(_VERSION, _VERSION_CRC, memoryview(body)[1:])


def with_checksum(body: bytes) -> bytes:
    """Return the line of a JSON object: its text with its CRC-32 as a last field, and a newline."""
    return _sealed(b"", 0, memoryview(body))


def _sealed(head: bytes, head_crc: int, rest: memoryview) -> bytes:
    # Not by ``%b``: the resizing that does left a shard of 600 threads with 2 kB more for every trial.
    return b"".join((head, rest[:-1], b',"crc":"%08x"}\n' % crc32(rest, head_crc)))


def decode(line: bytes) -> dict[str, Any]:
    """Return the event of a line that ``encode`` made. Raises ValueError saying what is damaged."""
    check_line(line)
    event: dict[str, Any] = orjson.loads(line[:-_CRC_BYTES] + b"}")
    if event.get("v") != SCHEMA_VERSION:
        raise ValueError(f"schema version {event.get('v')!r}, this program reads {SCHEMA_VERSION}")
    return event


def check_line(line: bytes) -> None:
    """Raise ValueError if a line is not as ``with_checksum`` made it."""
    found = crc32(b"}", crc32(memoryview(line)[:-_CRC_BYTES]))
    if not line.endswith(b',"crc":"%08x"}\n' % found):
        raise ValueError("checksum does not match")


def kind_of(line: bytes) -> str:
    """Return the kind of event that a line tells of. Raises ValueError saying what is damaged."""
    check_line(line)
    head = _HEAD.match(line)
    return head[1].decode() if head else str(decode(line).get("kind"))


def ending_of(line: bytes) -> Ending | None:
    """Return what a line tells of a trial's end, None if it tells of something else. Raises ValueError."""
    head = _HEAD.match(line)
    if head is None or head[1] == b"ended":
        return (head and _cut(line, head.end())) or _parsed(decode(line))
    check_line(line)
    return None


def _parsed(event: Mapping[str, Any]) -> Ending | None:
    if event["kind"] != "ended":
        return None
    told = (event["row"], event.get("shared", {}), event.get("conversation", []), event.get("detail", {}))
    return Ending(*map(orjson.dumps, told))


def _cut(line: bytes, start: int) -> Ending | None:
    """Cut the line of an end at its fields, which begin at ``start``; None if that is not certain to be right.

    A quote inside a text is escaped, so the bytes that are looked for stand between values only. No value of a row is
    an object, so the first of them end the row, and what it shares. A conversation or its details may hold a field
    ``detail`` of their own; then there is more than one place to cut, and none is taken.
    """
    check_line(line)
    said = line.find(b'},"conversation":[', start)
    shared = line.find(b'},"shared":{', start, said)
    detail = line.find(b'],"detail":{', said)
    if said < 0 or detail < 0 or line.rfind(b'],"detail":{') != detail:
        return None
    if not line.startswith(b'"row":{', start) or line[-_CRC_BYTES - 1 : -_CRC_BYTES] != b"}":
        return None
    return Ending(
        row=line[start + len(b'"row":') : (said if shared < 0 else shared) + 1],
        shared=NOTHING if shared < 0 else line[shared + len(b'},"shared":') : said + 1],
        conversation=line[said + len(b'},"conversation":') : detail + 1],
        detail=line[detail + len(b'],"detail":') : -_CRC_BYTES],
    )


class JournalWriter:
    """Appends events. Thread-safe; one process at a time per file, held by a lock that dies with the process."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and drop a torn last line. Raises StoreError if another process writes it."""
        self.path = path
        self._writing = threading.Lock()
        self._lines: deque[bytes] = deque()
        self._failure: StoreError | None = None
        self._unsynced = False
        self._written_at = 0.0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise StoreError(f"cannot open the journal {path}: {problem.strerror}") from problem
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(self._file)
            raise StoreError(f"the journal {path} is being written by another process") from problem
        try:
            self._size_bytes = _whole_lines_bytes(self._file)
            os.ftruncate(self._file, self._size_bytes)
            if not self._size_bytes:
                sync_directory(path.parent)  # or a power cut would take the name, and all that was synced with it
        except OSError as problem:
            os.close(self._file)
            raise StoreError(f"cannot open the journal {path}: {problem.strerror}") from problem

    def append(self, event: Mapping[str, Any], *, soon: bool = False) -> None:
        """Write one event: at once, or as the next thing done by the thread that is writing at this moment.

        So nobody waits for anybody, and under load many lines go out with one call. With ``soon`` a line that
        follows another within BUSY_S waits for the next one, which will come as quickly, or for ``sync``. Raises
        StoreError if the disk does not take it whole, and at every later call.
        """
        self.append_lines(encode(event), soon=soon)

    def append_lines(self, lines: bytes, *, soon: bool = False) -> None:
        """Write whole lines of another journal as they are; see ``append``."""
        self._lines.append(lines)
        if soon and self._failure is None and time.monotonic() - self._written_at < BUSY_S:
            return
        # Who comes between the last look of a writer and its release is seen when the writer looks again.
        while self._lines and self._writing.acquire(blocking=False):
            try:
                self._write()
            finally:
                self._writing.release()
        if self._failure is not None:
            raise self._failure

    def flush(self) -> None:
        """Make everything appended so far survive the process. Raises StoreError."""
        with self._writing:
            self._write()
        if self._failure is not None:
            raise self._failure

    def sync(self) -> None:
        """Make everything appended so far survive a power cut. Raises StoreError."""
        self.flush()
        with self._writing:
            if not self._unsynced:
                return
            self._unsynced = False
        try:
            os.fdatasync(self._file)
        except OSError as problem:
            # For good: the kernel may have dropped what it could not write, and a later sync would not tell.
            self._failure = StoreError(f"cannot sync the journal {self.path}: {problem.strerror}")
            raise self._failure from problem

    def _write(self) -> None:
        """Write all lines that wait; whole ones stay if the disk takes a part only."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines or self._failure is not None:
            return
        block = b"".join(lines) if len(lines) > 1 else lines[0]
        written = 0
        try:
            while written < len(block):  # a write may take a part only, and the next one say why
                written += os.write(self._file, memoryview(block)[written:])
        except OSError as problem:
            self._failure = StoreError(f"cannot write the journal {self.path}: {problem.strerror}")
            written = block.rfind(b"\n", 0, written) + 1
            with suppress(OSError):  # or the next who opens it drops the torn line
                os.ftruncate(self._file, self._size_bytes + written)
        self._unsynced = True
        self._written_at = time.monotonic()
        self._size_bytes += written

    @property
    def size_bytes(self) -> int:
        """How much of the file is whole lines."""
        return self._size_bytes

    def close(self) -> None:
        """Sync, let go of the lock and close; a second call does nothing."""
        if self._file < 0:
            return
        try:
            self.sync()
        finally:
            os.close(self._file)
            self._file = -1


def never_shorter(path: Path, least_bytes: int) -> None:
    """Fill up a journal that has lost its end, with lines that tell nothing.

    So no line ever stands where a lost one stood: what was merged is known by where its line began. Raises StoreError,
    also if another process writes the journal.
    """
    if written_bytes(path) >= least_bytes:
        return
    writer = JournalWriter(path)
    try:
        while writer.size_bytes < least_bytes:
            lost = min(least_bytes - writer.size_bytes, _GAP_BYTES)
            writer.append({"kind": "gap", "number": -1, "lost": "." * lost})
    finally:
        writer.close()


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


def read_events(path: Path, start: int = 0, on_damage: OnDamage | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (offset, event) of the lines that begin at byte ``start`` or later; a missing file has no events.

    A last line without newline is still being written, or torn, and is dropped. ``on_damage(offset, reason)`` is
    told of every other line that cannot be read.
    """
    return _read(path, start, decode, on_damage)


def read_endings(path: Path, start: int = 0, on_damage: OnDamage | None = None) -> Iterator[tuple[int, Ending]]:
    """Yield (offset, ending) of every ``ended`` event as ``read_events`` would, several times faster.

    Lines that begin as those of other events do are passed over unchecked.
    """
    for offset, found in _read(path, start, ending_of, on_damage, passed=_NO_END):
        if found is not None:
            yield offset, found


def _read(
    path: Path,
    start: int,
    take: Callable[[bytes], T],
    on_damage: OnDamage | None,
    passed: tuple[bytes, ...] = (),
) -> Iterator[tuple[int, T]]:
    try:
        file = path.open("rb", buffering=_BLOCK_BYTES)
    except FileNotFoundError:
        return
    with file:
        offset = max(0, start - 1)
        file.seek(offset)
        if start:
            offset += len(file.readline())  # the newline before, or the rest of a line that now stands there
        for line in file:
            if not line.endswith(b"\n"):
                return
            if not line.startswith(passed):
                try:
                    taken = take(line)
                except ValueError as problem:
                    if on_damage is not None:
                        on_damage(offset, str(problem))
                else:
                    yield offset, taken
            offset += len(line)


def replay(path: Path, held: Container[int], since: int = 0) -> tuple[dict[int, str], dict[int, list[dict[str, Any]]]]:
    """Return what a journal says of the trials in ``held``: how they ended, and completions of the others.

    The first maps a number to its ending (see trials.progress), the second a number to its completions so far. A trial
    that was asked again after a provider's failure counts as not ended, and keeps the completions it had. Reads from
    byte ``since`` on, which must begin a line: what is before it has been told already, or is of an earlier run.
    """
    endings: dict[int, str] = {}
    completions: dict[int, list[dict[str, Any]]] = {}
    for _, event in _events_of(path, held, since):
        number = event["number"]
        if event["kind"] == "begun":
            endings.pop(number, None)
        elif event["kind"] == "completion":
            known = completions.setdefault(number, [])
            if event["index"] == len(known):
                known.append(event["completion"])
        elif event["kind"] == "ended":
            endings[number] = ending(event["row"])
            if event["row"]["status"] == SCORED:
                completions.pop(number, None)
    return endings, completions


def unended(path: Path, held: Container[int], since: int = 0) -> dict[int, int]:
    """Return which of the trials in ``held`` a journal says have begun and not ended, and the byte where each did last.

    Reads from byte ``since`` on, as ``replay`` does.
    """
    began: dict[int, int] = {}
    for offset, event in _events_of(path, held, since):
        if event["kind"] == "begun":
            began[event["number"]] = offset
        elif event["kind"] in ("ended", "beaten"):
            began.pop(event["number"], None)
    return began


def _events_of(path: Path, held: Container[int], since: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (offset, event) of what is told of some trials."""

    def take(line: bytes) -> dict[str, Any] | None:
        head = _HEAD.match(line)
        return decode(line) if head is None or int(head[2]) in held else None

    for offset, event in _read(path, since, take, None):
        if event is not None and event["number"] in held:
            yield offset, event
