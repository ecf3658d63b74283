"""Which journal lines rows came from: (run_id, shard) → offsets, at eight bytes a row."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from stores.parts import ID

Journal = tuple[str, int]


class Places:
    """A collection of journal lines; the same one may be in it more than once. Not for several threads."""

    def __init__(self) -> None:
        self._chunks: dict[Journal, list[pa.Array]] = {}

    def add(self, table: pa.Table) -> None:
        """Add the places of rows; rows without one are passed over."""
        for journal, mask in _journals(table):
            self.put(journal, table["journal_offset"].filter(mask).combine_chunks())

    def put(self, journal: Journal, offsets: pa.Array) -> None:
        """Add offsets in one journal."""
        if isinstance(offsets, pa.ChunkedArray):
            offsets = offsets.combine_chunks()
        self._chunks.setdefault(journal, []).append(offsets)

    def join(self, other: Places) -> None:
        """Add all that another collection has."""
        for journal in other._chunks:
            self.put(journal, other.offsets(journal))

    def journals(self) -> list[Journal]:
        """Return the journals there are places of."""
        return list(self._chunks)

    def offsets(self, journal: Journal) -> pa.Array:
        """Return the offsets in one journal, in the order they came."""
        chunks = self._chunks.get(journal, [])
        if len(chunks) > 1:
            self._chunks[journal] = chunks = [pa.concat_arrays(chunks)]
        return chunks[0] if chunks else pa.array([], pa.int64())

    def minus(self, other: Places) -> Places:
        """Return the places that another collection does not have."""
        left = Places()
        for journal in self._chunks:
            mine = self.offsets(journal)
            missing = mine.filter(pc.invert(pc.is_in(mine, value_set=other.offsets(journal))))
            if len(missing):
                left.put(journal, missing)
        return left

    def of(self, table: pa.Table) -> pa.ChunkedArray:
        """Return which rows of a table have their place here."""
        found = pa.chunked_array([pa.repeat(pa.scalar(False), table.num_rows)])
        for journal, mask in _journals(table):
            here = pc.is_in(table["journal_offset"], value_set=self.offsets(journal))
            found = pc.or_(found, pc.and_(mask, here))
        return found

    def repeated(self) -> int:
        """Return how many places are there once more than they should."""
        return len(self) - sum(len(self.offsets(journal).unique()) for journal in self._chunks)

    def __len__(self) -> int:
        return sum(len(chunk) for chunks in self._chunks.values() for chunk in chunks)


def _journals(table: pa.Table) -> Iterator[tuple[Journal, pa.ChunkedArray]]:
    """Yield each journal that rows came from, and which rows those are."""
    for row in table.select(ID[:2]).group_by(list(ID[:2])).aggregate([]).to_pylist():
        if row["run_id"] is None or row["shard"] is None:
            continue
        same = pc.and_(pc.equal(table["run_id"], row["run_id"]), pc.equal(table["shard"], row["shard"]))
        yield (row["run_id"], row["shard"]), pc.and_(pc.fill_null(same, False), pc.is_valid(table["journal_offset"]))
