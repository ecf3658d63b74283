"""Rows by the million, added up column by column for a tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores.parts import read_tables
from trials.accounting import COSTS, SCORES, Mean, Tally
from trials.rows import Row
from trials.words import SCORED

if TYPE_CHECKING:
    import pyarrow as pa

_ALIKE = (
    *("model", "prompt_type", "tool_success_rate", "difficulty", "task_type", "variant"),
    *("status", "outcome", "error_category"),
)
_AVERAGED = ("duration_ms", *COSTS, *SCORES)
TALLIED = (*_ALIKE, "ended_at", *_AVERAGED)
"""The fields of a row that a tally reads."""


def add_rows(tally: Tally, parts: Sequence[Path]) -> None:
    """Add the rows of parts to a tally. Raises StoreError."""
    for part in parts:
        for table in read_tables(part, TALLIED):
            add_table(tally, table)


def add_table(tally: Tally, table: pa.Table) -> None:
    """Add rows with the columns in ``TALLIED`` to a tally. Raises StoreError."""
    import pyarrow.compute as pc

    for name in ("followed_flaw", "recovered"):
        table = table.set_column(table.schema.get_field_index(name), name, pc.cast(table[name], "int64"))
    asked = [([], "count_all"), ("ended_at", "max")]
    asked += [(name, how) for name in _AVERAGED for how in ("count", "sum")]
    for row in table.group_by(list(_ALIKE)).aggregate(asked).to_pylist():
        means = {name: Mean(n=row[f"{name}_count"], total=float(row[f"{name}_sum"] or 0)) for name in _AVERAGED}
        tally.add_alike({**row, "ended_at": row["ended_at_max"]}, row["count_all"], means)


def status_counts(tables: Iterable[pa.Table]) -> Counter[str]:
    """Return how many rows have each status."""
    counts: Counter[str] = Counter()
    for table in tables:
        counts.update({one["values"]: one["counts"] for one in table["status"].value_counts().to_pylist()})
    return counts


def alike(table: pa.Table, keys: Sequence[str], summed: Sequence[str]) -> Iterator[tuple[Row, dict[str, float], Any]]:
    """Yield rows that are equal in ``keys`` as one: with the latest ``ended_at``, sums, and latencies per request.

    The sums are of ``rows``, of ``with_score``, of ``score`` and of each of ``summed``; the latencies, in milliseconds,
    those of scored rows that no cache answered.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    per_request = pc.divide(table["provider_ms"], pc.max_element_wise(table["requests"], 1))
    called = pc.and_(pc.equal(table["status"], SCORED), pc.equal(pc.coalesce(table["cache_hits"], 0), 0))
    called = pc.and_(called, pc.greater(pc.coalesce(table["provider_ms"], 0.0), 0.0))
    table = table.append_column("latency_ms", pc.if_else(called, per_request, pa.scalar(None, pa.float64())))
    asked = [([], "count_all"), ("ended_at", "max"), ("score", "count"), ("score", "sum"), ("latency_ms", "list")]
    found = table.group_by(list(keys)).aggregate([*asked, *((name, "sum") for name in summed)])
    for row in found.to_pylist():
        sums = {"rows": row["count_all"], "with_score": row["score_count"], "score": row["score_sum"] or 0.0}
        sums |= {name: row[f"{name}_sum"] or 0 for name in summed}
        latencies = (latency for latency in row["latency_ms_list"] if latency is not None)
        yield {**row, "ended_at": row["ended_at_max"]}, sums, latencies
