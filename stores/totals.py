"""Rows by the million, added up column by column for a tally."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stores.parts import read_tables
from trials.accounting import COSTS, SCORES, Mean, Tally

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
            _add(tally, table)


def _add(tally: Tally, table: pa.Table) -> None:
    import pyarrow.compute as pc

    for name in ("followed_flaw", "recovered"):
        table = table.set_column(table.schema.get_field_index(name), name, pc.cast(table[name], "int64"))
    asked = [([], "count_all"), ("ended_at", "max")]
    asked += [(name, how) for name in _AVERAGED for how in ("count", "sum")]
    for row in table.group_by(list(_ALIKE)).aggregate(asked).to_pylist():
        means = {name: Mean(n=row[f"{name}_count"], total=float(row[f"{name}_sum"] or 0)) for name in _AVERAGED}
        tally.add_alike({**row, "ended_at": row["ended_at_max"]}, row["count_all"], means)
