"""Packs trials and what was said in them for a page: an index, and chunks of conversations that are read on demand.

Chunks are gzip (RFC 1952) in base64, so nothing that a model wrote stands in the page as markup. If they do not all
fit, trials that fell short or have no score go in first, then others by a seeded draw; how many were left out is told.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from trials.digest import uniform
from trials.rows import Row
from trials.words import FULL, SCORED

MOST_TRIALS = 50_000
_CHUNK_CHARACTERS = 600_000
_FIRST_GUESS = 8.0
"""Characters of conversation per byte of page, before it is known how well they pack."""

CATEGORIES = (
    *("model", "prompt_type", "outcome", "status", "error_category", "tool_success_rate", "difficulty", "task_type"),
    *("severity", "deployment", "followed_flaw", "recovered", "deviations", "plan_diff", "error_message"),
)
VALUES = (
    *("trial_key", "task_id", "epoch", "answer", "target", "score", "started_at", "turns", "tool_calls"),
    *("tool_failures", "requests", "attempts", "cache_hits", "prompt_tokens", "completion_tokens", "cost_usd"),
    *("queue_ms", "rate_wait_ms", "retry_wait_ms", "provider_ms", "duration_ms"),
    *("coverage", "order", "execution", "recovery", "efficiency"),
)
_KEPT = (*CATEGORIES, *VALUES, "run_id", "shard", "journal_offset")

Origin = tuple[Any, Any, Any]
"""The journal line a row and its conversation came from: run, shard, offset."""


class Said(NamedTuple):
    """A conversation and the details of its marking, each as JSON text."""

    origin: Origin
    conversation: str
    detail: str


class Shortlist:
    """Takes rows one at a time and keeps those that come first: 50,000, fallen short before successful ones."""

    def __init__(self, seed: int = 0, most: int = MOST_TRIALS) -> None:
        self.offered = self.offered_short = 0
        self._seed, self._most = seed, most
        self._kept: list[tuple[bool, float, int, Row]] = []

    def offer(self, row: Row) -> None:
        """Take note of a row."""
        good = row["status"] == SCORED and row.get("outcome") == FULL
        self.offered += 1
        self.offered_short += not good
        draw = uniform(self._seed, str(row["trial_key"]).encode("ascii", "backslashreplace").decode())
        self._kept.append((good, draw, self.offered, {name: row.get(name) for name in _KEPT}))
        if len(self._kept) >= 2 * self._most:
            self._cut()

    def rows(self) -> list[Row]:
        """Return the rows kept, first the one that matters most."""
        self._cut()
        return [row for *_, row in self._kept]

    def _cut(self) -> None:
        self._kept.sort(key=lambda one: one[:3])
        del self._kept[self._most :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What a page holds of conversations. ``chunks`` yields each in base64; ``index`` is base64 as well.

    ``shown`` trials of ``offered`` are in it; of those that fell short, ``shown_short`` of ``offered_short``.
    """

    file: IO[bytes]
    index: bytes
    shown: int
    shown_short: int
    offered: int
    offered_short: int

    def chunks(self) -> Iterator[bytes]:
        """Yield every chunk, one line of base64 each."""
        self.file.seek(0)
        for line in self.file:
            yield line.rstrip(b"\n")


def pack(shortlist: Shortlist, said: Callable[[], Iterable[Said]], room_bytes: int) -> Packed:
    """Return the conversations of a shortlist as far as they fit into ``room_bytes`` of base64.

    ``said`` yields all conversations there are, and is asked again when a first guess of their size was wrong. The same
    rows and seed give the same bytes.
    """
    rows = shortlist.rows()
    sizes = _sizes({_origin(row) for row in rows}, said)
    ratio = _FIRST_GUESS
    while True:
        chosen = _fitting(rows, sizes, int(ratio * room_bytes))
        written = _write_chunks({_origin(row): row for row in chosen}, said, room_bytes)
        if written.bytes <= room_bytes:
            break
        ratio = 0.9 * written.characters / written.bytes
    chosen.sort(key=lambda row: tuple(_sortable(row[name]) for name in _ORDER))
    return Packed(
        file=written.file,
        index=_encoded(_index(chosen, written.places)),
        shown=len(chosen),
        shown_short=sum(not (row["status"] == SCORED and row["outcome"] == FULL) for row in chosen),
        offered=shortlist.offered,
        offered_short=shortlist.offered_short,
    )


_ORDER = ("model", "prompt_type", "tool_success_rate", "difficulty", "task_type", "task_id", "epoch", "trial_key")


def _sortable(value: Any) -> tuple[str, Any]:
    return ("", value) if isinstance(value, (int, float)) else (type(value).__name__, str(value))


def _origin(row: Row) -> Origin:
    return row["run_id"], row["shard"], row["journal_offset"]


def _sizes(wanted: set[Origin], said: Callable[[], Iterable[Said]]) -> dict[Origin, int]:
    return {one.origin: len(one.conversation) + len(one.detail) for one in said() if one.origin in wanted}


def _fitting(rows: list[Row], sizes: dict[Origin, int], characters: int) -> list[Row]:
    """Return the first rows whose conversations have so many characters together, passing over what is too long."""
    chosen = []
    for row in rows:
        size = sizes.get(_origin(row), 0) + 300
        if size <= characters:
            characters -= size
            chosen.append(row)
    return chosen


class _Written(NamedTuple):
    file: IO[bytes]
    bytes: int
    characters: int
    places: dict[Origin, tuple[int, int]]


def _write_chunks(chosen: dict[Origin, Row], said: Callable[[], Iterable[Said]], room_bytes: int) -> _Written:
    """Write chunks until all are written, or there is no room; then ``bytes`` is more than ``room_bytes``."""
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the page reads it, and it goes with its last reader
    places: dict[Origin, tuple[int, int]] = {}
    size = characters = 0
    for number, (lines, origins) in enumerate(_chunks(chosen, said)):
        text = "\n".join(lines)
        size += file.write(_encoded(text) + b"\n")
        characters += len(text)
        places.update((origin, (number, line)) for line, origin in enumerate(origins))
        if size > room_bytes:
            break
    return _Written(file, size, characters, places)


def _chunks(chosen: dict[Origin, Row], said: Callable[[], Iterable[Said]]) -> Iterator[tuple[list[str], list[Origin]]]:
    lines: list[str] = []
    origins: list[Origin] = []
    waiting = 0
    for one in said():
        if one.origin not in chosen:
            continue
        # JSON has no line breaks but between its tokens, where a space does as well.
        lines.append(f"[{one.conversation or 'null'},{one.detail or 'null'}]".replace("\n", " ").replace("\r", " "))
        origins.append(one.origin)
        waiting += len(lines[-1])
        if waiting >= _CHUNK_CHARACTERS:
            yield lines, origins
            lines, origins, waiting = [], [], 0
    if lines:
        yield lines, origins


def _encoded(text: str) -> bytes:
    # A lone surrogate cannot be UTF-8; written as an escape it is JSON.
    return b64encode(gzip.compress(text.encode("utf-8", "backslashreplace"), 6, mtime=0))


def _index(rows: list[Row], places: dict[Origin, tuple[int, int]]) -> str:
    columns: dict[str, Any] = {}
    for name in CATEGORIES:
        levels: dict[Any, int] = {}
        codes = [levels.setdefault(row[name], len(levels)) for row in rows]
        columns[name] = {"levels": list(levels), "codes": codes}
    for name in VALUES:
        values = [row[name] for row in rows]
        if any(value is not None for value in values):
            columns[name] = values
    at = [places.get(_origin(row)) for row in rows]
    return json.dumps({"n": len(rows), "columns": columns, "at": at}, separators=(",", ":"))
