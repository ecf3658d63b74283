"""What a run has paid for so far: read off its journals as they grow, while other processes write them.

Every reply that a provider gave stands in the journal of the shard that asked for it, whatever became of its trial, so
nothing paid is missed and a process that dies takes nothing along but its last replies. A reply that is recorded a
second time, because another process goes on with its trial, says so (``again``). Lines are searched, not parsed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

_BLOCK_BYTES = 1 << 20
_COMPLETION = b'"kind":"completion",'
_KIND_ENDS_AT = 48
"""A line's kind stands at its beginning."""
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
        while block := os.pread(file, _BLOCK_BYTES, at + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            spent += sum(map(_cost_of, lines))
            at += sum(map(len, lines)) + len(lines)
        self._read_to[shard], self.usd_by_shard[shard] = at, spent


def _cost_of(line: bytes) -> float:
    if line.find(_COMPLETION, 0, _KIND_ENDS_AT) < 0:
        return 0.0
    found = _COST.search(line, max(0, len(line) - 120))
    return float(found[1]) if found and not found[2] else 0.0
