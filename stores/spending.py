"""What a run has paid for so far: read off its journals as they grow, while other processes write them.

Every reply that a provider gave stands in the journal of the shard that asked for it, whatever became of its trial, so
nothing paid is missed and a process that dies takes nothing along but its last replies. A reply that is recorded a
second time, because another process goes on with its trial, says so (``again``). Files are searched for lines that tell
of replies, and these are not parsed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_BLOCK_BYTES = 1 << 20
_COMPLETION = b'"kind":"completion",'
_KIND_BEGINS_BY = 28
"""A line's kind stands at its beginning, its cost and checksum in its last bytes."""
_COST_BYTES = 120
_COST = re.compile(rb'"cost_usd":([0-9.e+-]+)\}(,"again":true)?,"crc":"[0-9a-f]{8}"\}$')


class Spending:
    """US dollars by shard. ``update`` reads what is new; it is meant for one thread."""

    def __init__(self, journals: Callable[[], Mapping[int, Path]]) -> None:
        self.usd_by_shard: dict[int, float] = {}
        self._journals = journals
        self._read_to: dict[int, int] = {}

    @property
    def usd(self) -> float:
        """What all shards together have spent."""
        return sum(self.usd_by_shard.values())

    def update(self) -> None:
        """Read the whole lines that have come since the last time; a journal that cannot be read is left for later."""
        for shard, path in self._journals().items():
            try:
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                self._read(shard, file)
            finally:
                os.close(file)

    def _read(self, shard: int, file: int) -> None:
        at = self._read_to.get(shard, 0)
        spent = self.usd_by_shard.get(shard, 0.0)
        rest = b""
        while read := os.pread(file, _BLOCK_BYTES, at + len(rest)):
            block = rest + read
            whole = block.rfind(b"\n") + 1
            spent += sum(_costs(block, whole))
            at += whole
            rest = block[whole:]
        self._read_to[shard], self.usd_by_shard[shard] = at, spent


def _costs(block: bytes, whole: int) -> Iterator[float]:
    """Yield what each completion has cost that is told of in the whole lines at the beginning of a block."""
    at = block.find(_COMPLETION, 0, whole)
    while at >= 0:
        end = block.find(b"\n", at, whole)
        is_kind = at < _KIND_BEGINS_BY or block.rfind(b"\n", at - _KIND_BEGINS_BY, at) >= 0
        found = _COST.search(block, max(at, end - _COST_BYTES), end) if is_kind else None
        if found and not found[2]:
            yield float(found[1])
        at = block.find(_COMPLETION, end if is_kind else at + 1, whole)
