"""Which rows count: of one trial key a scored row before any other, then the newest.

All at once there are in memory eight bytes a row (a hash of its key), the places of rows that lost, and the few columns
that rank a row for so many keys at a time that several rows have. Keys that share a hash do no harm: their rows are
looked at, and told apart by the key.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stores.parts import ID, read_tables
from trials.words import SCORED

KEYS_AT_A_TIME = 1 << 17
_PLACE = ("part", "row")
_RANK = ("trial_key", "status", "ended_at", *ID)
_WORST_FIRST = [(name, "ascending") for name in ("trial_key", "scored", "ended_at", *ID, *_PLACE)]


def last_offsets(parts: Sequence[Path]) -> dict[tuple[str, int], int]:
    """Return (run_id, shard) → the journal offset of the last row that came from there."""
    last: dict[tuple[str, int], int] = {}
    for part in parts:
        for table in read_tables(part, ID):
            highest = table.group_by(["run_id", "shard"]).aggregate([("journal_offset", "max")])
            for row in highest.to_pylist():
                journal = (row["run_id"], row["shard"])
                last[journal] = max(row["journal_offset_max"], last.get(journal, -1))
    return last


def beaten(parts: Sequence[Path], run_id: str | None = None) -> pa.Table:
    """Return the places of the rows that another of their key beats, among all rows or among those of one run.

    A place is a ``part``, by its number in ``parts``, and a ``row``, by its number in the part.
    """
    return _places([_lost(contest) for contest in _contests(parts, run_id)])


def leaving(parts: Sequence[Path], history: Sequence[Path]) -> tuple[pa.Table, pa.Table]:
    """Return the places of the beaten rows, and of those among them that the history does not have, each once."""
    lost, moving = [], []
    for contest in _contests(parts, None):
        losers = _lost(contest)
        lost.append(losers.select(_PLACE))
        moving.append(_not_yet_in(history, losers).select(_PLACE))
    return _places(lost), _places(moving)


def rows_of(part: int, places: pa.Table) -> pa.ChunkedArray:
    """Return which rows of a part are meant by places."""
    return places.filter(pc.equal(places["part"], part))["row"]


def pick(
    path: Path, rows: pa.ChunkedArray, *, but: bool = False, names: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield those rows of a part, or all but those."""
    first = 0
    for table in read_tables(path, names):
        numbers = pa.array(range(first, first + table.num_rows), pa.int64())
        near = pc.and_(pc.greater_equal(rows, first), pc.less(rows, first + table.num_rows))
        chosen = pc.is_in(numbers, value_set=rows.filter(near))
        yield table.filter(pc.invert(chosen) if but else chosen)
        first += table.num_rows


def counting(parts: Sequence[Path], names: Sequence[str], run_id: str | None = None) -> Iterator[pa.Table]:
    """Yield the row that counts of every key, of one run or of all, with the columns named."""
    lost = beaten(parts, run_id)
    needed = list(dict.fromkeys([*names, "run_id"]))
    for place, path in enumerate(parts):
        for table in pick(path, rows_of(place, lost), but=True, names=needed):
            yield _of_run(table, run_id).select(names)


def keys_beginning(parts: Sequence[Path], beginning: str) -> tuple[int, str, str]:
    """Return how many rows have a key that begins so, and the first and the last of these keys in their order."""
    count, first, last = 0, "", ""
    for part in parts:
        for table in read_tables(part, ("trial_key",)):
            keys = table["trial_key"].filter(pc.starts_with(table["trial_key"], beginning))
            if len(keys):
                ends = pc.min_max(keys).as_py()
                first = min(first or ends["min"], ends["min"])
                last = max(last, ends["max"])
                count += len(keys)
    return count, first, last


def place_of(part: Path, values: Mapping[str, Any]) -> int | None:
    """Return where the first row with these values stands in a part, None if it has none."""
    first = 0
    for table in read_tables(part, tuple(values)):
        same = reduce(pc.and_, (pc.equal(table[name], value) for name, value in values.items()))
        place: int = pc.index(same, True).as_py()
        if place >= 0:
            return first + place
        first += table.num_rows
    return None


def _of_run(table: pa.Table, run_id: str | None) -> pa.Table:
    return table if run_id is None else table.filter(pc.equal(table["run_id"], run_id))


def _hashes(keys: pa.ChunkedArray) -> pa.Array:
    hashed = array("q", map(hash, keys.to_pylist()))
    return pa.Array.from_buffers(pa.int64(), len(hashed), [None, pa.py_buffer(hashed)])


def _repeated(parts: Sequence[Path], run_id: str | None) -> pa.Array:
    """Return the hashes of keys that more than one row has."""
    tables = (_of_run(table, run_id) for part in parts for table in read_tables(part, ("trial_key", "run_id")))
    hashes = [_hashes(table["trial_key"]) for table in tables]
    every = pa.concat_arrays(hashes) if hashes else pa.array([], pa.int64())
    every = every.take(pc.array_sort_indices(every))
    above, below = every.slice(1), every.slice(0, max(0, len(every) - 1))
    return above.filter(pc.equal(above, below)).unique()


def _with_hash_in(table: pa.Table, hashes: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(_hashes(table["trial_key"]), value_set=hashes))


def _contests(parts: Sequence[Path], run_id: str | None) -> Iterator[pa.Table]:
    """Yield rank and place of all rows whose key several rows have, the worst first within each key."""
    hashes = _repeated(parts, run_id)
    for start in range(0, len(hashes), KEYS_AT_A_TIME):
        some = hashes.slice(start, KEYS_AT_A_TIME)
        table = pa.concat_tables(_of_run(one, run_id) for one in _with_hashes(parts, some)).combine_chunks()
        yield table.take(pc.sort_indices(table, sort_keys=_WORST_FIRST))


def _with_hashes(parts: Sequence[Path], hashes: pa.Array) -> Iterator[pa.Table]:
    for place, path in enumerate(parts):
        first = 0
        for table in read_tables(path, _RANK):
            yield _with_hash_in(_placed(table, place, first), hashes)
            first += table.num_rows


def _lost(contest: pa.Table) -> pa.Table:
    """Return the losers of contests, with ``copy``: whether the same row is there once more."""
    worse, better = contest.slice(0, contest.num_rows - 1), contest.slice(1)
    lost = pc.equal(worse["trial_key"], better["trial_key"])
    copy = lost
    for name in ID:
        copy = pc.and_(copy, pc.equal(worse[name], better[name]))
    return worse.append_column("copy", copy).filter(lost)


def _not_yet_in(history: Sequence[Path], losers: pa.Table) -> pa.Table:
    moving = losers.filter(pc.invert(losers["copy"])).select([*_PLACE, *ID, "trial_key"])
    hashes = _hashes(moving["trial_key"])
    near = [_with_hash_in(table, hashes) for part in history for table in read_tables(part, (*ID, "trial_key"))]
    return moving.join(pa.concat_tables(near).select(ID), ID, join_type="left anti") if near else moving


def _places(tables: Sequence[pa.Table]) -> pa.Table:
    nowhere = pa.schema([(name, pa.int64()) for name in _PLACE]).empty_table()
    return pa.concat_tables([nowhere, *(table.select(_PLACE) for table in tables)])


def _placed(table: pa.Table, part: int, first: int) -> pa.Table:
    """Return a table's rank columns with where its rows stand."""
    return pa.table(
        {
            **{name: table[name] for name in ("trial_key", *ID)},
            "scored": pc.equal(table["status"], SCORED),
            "ended_at": table["ended_at"],
            "part": pa.repeat(pa.scalar(part, pa.int64()), table.num_rows),
            "row": pa.array(range(first, first + table.num_rows), pa.int64()),
        }
    )
