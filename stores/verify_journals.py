"""Journals, line by line: what is damaged, where trials ended, and whether stored rows say what their lines say."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from stores.endings import Found, columns_of
from stores.journal import Ending, ending_of, kind_of
from stores.parts import CONVERSATIONS, ID

_OPEN_AT_ONCE = 8
_ROWS_AT_A_TIME = 1 << 12
_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """A journal that was read whole. ``endings`` are offsets; ``damaged`` holds (first byte, byte behind it, why).

    ``tail`` is what follows the last whole line: its first byte, its size, and whether it is all zeros.
    """

    endings: pa.Array
    damaged: tuple[tuple[int, int, str], ...]
    tail: tuple[int, int, bool] | None
    size_bytes: int

    def explains(self, offset: int) -> bool:
        """Return whether a line that began at this byte may be among the damaged ones."""
        return any(first <= offset < behind for first, behind, _ in self.damaged)


def scan(path: Path) -> Scanned:
    """Read a whole journal, in the memory of its longest line. Raises OSError."""
    endings, damaged, offset = array("q"), [], 0
    tail = None
    with path.open("rb", buffering=_BLOCK_BYTES) as file:
        for line in file:
            behind = offset + len(line)
            if not line.endswith(b"\n"):
                tail = (offset, len(line), not line.strip(b"\0"))
                break
            try:
                if kind_of(line) == "ended":
                    endings.append(offset)
            except ValueError as problem:
                damaged.append((offset, behind, str(problem)))
            offset = behind
    found = pa.Array.from_buffers(pa.int64(), len(endings), [None, pa.py_buffer(endings)])
    return Scanned(endings=found, damaged=tuple(damaged), tail=tail, size_bytes=offset + (tail[1] if tail else 0))


class JournalLines:
    """Looks up single lines of the journals below a logs directory; what is not there has none. Use by ``with``."""

    def __init__(self, logs_dir: Path) -> None:
        self._logs_dir = logs_dir
        self._files: OrderedDict[tuple[str, int], BinaryIO | None] = OrderedDict()

    def __enter__(self) -> JournalLines:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            if file is not None:
                file.close()
        self._files.clear()

    def differing(self, path: Path, table: pa.Table) -> Iterator[str]:
        """Yield the trial keys of rows of a part that do not say what the line they came from says."""
        for start in range(0, table.num_rows, _ROWS_AT_A_TIME):
            yield from self._differing(table.slice(start, _ROWS_AT_A_TIME), whole=path.parent.name == CONVERSATIONS)

    def _differing(self, table: pa.Table, *, whole: bool) -> Iterator[str]:
        rows, found = [], []
        places = zip(*(table[name].to_pylist() for name in ID), strict=True)
        for row, (run_id, shard, offset) in enumerate(places):
            ending = None if None in (run_id, shard, offset) else self.ending(run_id, shard, offset)
            if ending is not None:
                rows.append(row)
                ending = ending if whole else ending._replace(conversation=b"", detail=b"")
                found.append(Found(Path(), run_id, shard, offset, ending))
        if found and not _same(table.take(rows), found):
            for row, one in zip(rows, found, strict=True):
                if not _same(table.slice(row, 1), [one]):
                    yield str(table["trial_key"][row])

    def ending(self, run_id: str, shard: int, offset: int) -> Ending | None:
        """Return the ending that stands at an offset; None if there is none that can be read."""
        file = self._file(run_id, shard)
        if file is None:
            return None
        file.seek(offset)
        try:
            return ending_of(file.readline())
        except ValueError:
            return None

    def _file(self, run_id: str, shard: int) -> BinaryIO | None:
        journal = (run_id, shard)
        if journal not in self._files:
            if len(self._files) >= _OPEN_AT_ONCE and (oldest := self._files.popitem(last=False)[1]) is not None:
                oldest.close()
            self._files[journal] = _opened(self._logs_dir, run_id, shard)
        return self._files[journal]


def journal_of(logs_dir: Path, run_id: str, shard: int) -> Path | None:
    """Return where the journal of a shard should be; None for what is no name of a run."""
    if Path(run_id).name != run_id or run_id == ".." or "\0" in run_id:
        return None
    return logs_dir / run_id / "shards" / f"{shard:02d}" / "journal.jsonl"


def _opened(logs_dir: Path, run_id: str, shard: int) -> BinaryIO | None:
    path = journal_of(logs_dir, run_id, shard)
    try:
        return None if path is None else path.open("rb", buffering=_BLOCK_BYTES)
    except OSError:
        return None


def _same(rows: pa.Table, found: list[Found]) -> bool:
    try:
        return bool(columns_of(found).select(rows.column_names).equals(rows))
    except ValueError:
        return False
