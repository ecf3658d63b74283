"""From journals to columns: the ended trials that a store does not hold yet."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from stores.journal import NOTHING, Ending, read_endings
from stores.parts import CONVERSATION_FIELDS, GROUP_BYTES, ID, parse_rows, schema_of
from stores.run_directory import RunDirectory
from trials.rows import FIELDS, SHARED

OnDamage = Callable[[Path, int, str], None]


class Found(NamedTuple):
    """An ending, and the journal line it stands in."""

    path: Path
    run_id: str
    shard: int
    journal_offset: int
    ending: Ending


def new_results(
    runs: Iterable[RunDirectory], last: Mapping[tuple[str, int], int], on_damage: OnDamage | None
) -> Iterator[pa.Table]:
    """Yield tables of what the journals hold behind the offsets in ``last``: a row's columns and a conversation's.

    ``on_damage(path, offset, reason)`` is told of every line that cannot be used.
    """
    yield from tables_of(_new_endings(runs, last, on_damage), on_damage)


def tables_of(found: Iterable[Found], on_damage: OnDamage | None) -> Iterator[pa.Table]:
    """Yield endings as such tables."""
    batches = _batches(found)
    # A thread goes on reading while Arrow, which does without the interpreter's lock, works on the last batch.
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while batch := coming.result():
            coming = reader.submit(next, batches, None)
            yield _table(batch, on_damage)


def _new_endings(
    runs: Iterable[RunDirectory], last: Mapping[tuple[str, int], int], on_damage: OnDamage | None
) -> Iterator[Found]:
    for run in runs:
        for shard, path in run.journals().items():
            merged = last.get((run.run_id, shard), -1)
            told = None if on_damage is None else lambda offset, why, path=path: on_damage(path, offset, why)
            for offset, ending in read_endings(path, max(merged, 0), told):
                if offset > merged:
                    yield Found(path, run.run_id, shard, offset, ending)


def _batches(found: Iterable[Found]) -> Iterator[list[Found]]:
    """Collect what is found into lists of about GROUP_BYTES, however long conversations are."""
    batch: list[Found] = []
    room = GROUP_BYTES
    for one in found:
        batch.append(one)
        room -= sum(map(len, one.ending))
        if room <= 0:
            yield batch
            batch, room = [], GROUP_BYTES
    if batch:
        yield batch


def _table(batch: list[Found], on_damage: OnDamage | None) -> pa.Table:
    try:
        return columns_of(batch)
    except ValueError as problem:  # one of them is no row of ours
        if len(batch) == 1:
            if on_damage is not None:
                on_damage(batch[0].path, batch[0].journal_offset, str(problem))
            return schema_of(FIELDS | CONVERSATION_FIELDS).empty_table()
        middle = len(batch) // 2
        return pa.concat_tables([_table(half, on_damage) for half in (batch[:middle], batch[middle:])])


def columns_of(batch: list[Found]) -> pa.Table:
    """Return a batch as columns. Raises ValueError if one of its rows does not fit them."""
    _, run_ids, shards, offsets, endings = zip(*batch, strict=True)
    rows, shared, conversations, details = zip(*endings, strict=True)
    table = _rows(rows, shared)
    for name, values in zip(ID, (run_ids, shards, offsets), strict=True):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(place).type))
    return table.append_column("conversation", _texts(conversations)).append_column("detail", _texts(details))


def _rows(rows: Sequence[bytes], shared: Sequence[bytes]) -> pa.Table:
    """Return rows as columns; what many of them share is read once."""
    places: dict[bytes, int] = {}
    which = [places.setdefault(text, len(places)) for text in shared]
    if NOTHING in places:
        whole = [row if text == NOTHING else text[:-1] + b"," + row[1:] for row, text in zip(rows, shared, strict=True)]
        return parse_rows(whole, schema_of(FIELDS))
    own = parse_rows(rows, schema_of({name: kind for name, kind in FIELDS.items() if name not in SHARED}))
    common = parse_rows(list(places), schema_of({name: FIELDS[name] for name in SHARED}))
    common = common.take(pa.array(which, pa.int32()))
    columns = [(common if name in SHARED else own)[name] for name in FIELDS]
    return pa.table(columns, schema=schema_of(FIELDS))


def _texts(texts: Sequence[bytes]) -> pa.Array:
    """Return texts as a column by joining them, which is what Arrow makes of them anyway, one by one."""
    ends = array("i", accumulate(map(len, texts), initial=0))
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))
