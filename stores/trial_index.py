"""Finds the numbers of trials by their keys, in some 40 bytes a trial: a plan of a million needs no dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 65_536
T = TypeVar("T")


class TrialIndex:
    """The keys of a plan in the order of their numbers. Immutable."""

    def __init__(self, keys: Iterable[str]) -> None:
        import pyarrow as pa

        chunks = [pa.array(chunk, pa.string()) for chunk in batched(keys)]
        self._keys = pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())

    def has(self, keys: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return which of these keys are there."""
        import pyarrow.compute as pc

        return pc.is_in(keys, value_set=self._keys)

    def numbers(self, keys: Sequence[str]) -> list[int | None]:
        """Return the number of each key, None for one that is not there. Fast for many keys at a time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found: list[int | None] = pc.index_in(pa.array(keys, pa.string()), value_set=self._keys).to_pylist()
        return found


def of_plan(table: pa.Table, run_id: str, index: Callable[[], TrialIndex]) -> pa.Table:
    """Return those rows of a table that belong to a run's plan: all that it asked itself, and whichever the plan has.

    ``index`` is called only if there are rows of other runs. The table has ``trial_key`` and ``run_id``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    own = pc.equal(table["run_id"], run_id)
    others = table.filter(pc.invert(own))
    if not others.num_rows:
        return table
    return pa.concat_tables([table.filter(own), others.filter(index().has(others["trial_key"]))])


def batched(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield the items in lists of at most ``size``."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
