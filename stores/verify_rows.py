"""What every row must be, whoever wrote it: the domains of its fields. Vectorised, for millions of rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stores.parts import ID
from trials.accounting import COSTS
from trials.words import HARNESS_ERROR, OUTCOMES, PROVIDER_ERROR, SCORED

_ENDED = (SCORED, PROVIDER_ERROR, HARNESS_ERROR)
_GIVEN = ("trial_key", "model", "prompt_type", "difficulty", "task_type", "run_id")
_SHARES = ("tool_success_rate", "coverage", "order", "execution", "recovery", "efficiency", "score", "scorer_score")
_COUNTS = (*COSTS, "attempts", "cache_hits", "epoch", "shard", "journal_offset", "ended_at")
_ROUNDING = 1e-9


def row_faults(table: pa.Table, *, simulated: bool) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield what can be wrong with rows, and which rows of a table it is wrong with."""
    scored = pc.equal(table["status"], SCORED)
    no_outcome = pc.is_null(pc.if_else(pc.equal(table["outcome"], ""), None, table["outcome"]))
    yield "a status that is none", _no(pc.is_in(table["status"], value_set=pa.array(_ENDED)))
    yield "an outcome that is none", _and(scored, _no(pc.is_in(table["outcome"], value_set=pa.array(OUTCOMES))))
    yield "an outcome without a score", _and(_no(scored), _no(no_outcome))
    yield "the other kind of result", _no(pc.equal(table["simulated"], simulated))
    for name in _GIVEN:
        yield f"no {name}", _no(pc.not_equal(table[name], ""))
    for name in ID[1:]:
        yield f"no {name}", pc.is_null(table[name])
    for name in _SHARES:
        yield f"{name} outside [0, 1]", _outside(table[name], 0.0, 1.0)
    for name in _COUNTS:
        yield f"{name} below 0", _outside(table[name], 0.0, float("inf"))


def conversation_faults(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield the same of conversations."""
    for name in ("trial_key", "run_id"):
        yield f"no {name}", _no(pc.not_equal(table[name], ""))
    for name in ID[1:]:
        yield f"no {name}", pc.is_null(table[name])
    for name, first, last in (("conversation", "[", "]"), ("detail", "{", "}")):
        framed = pc.and_(pc.starts_with(table[name], first), pc.ends_with(table[name], last))
        yield f"no JSON as {name}", _no(framed)


def sound(table: pa.Table, faults: Iterator[tuple[str, pa.ChunkedArray]]) -> pa.Table:
    """Return the rows with which nothing is wrong."""
    wrong = reduce(pc.or_, (mask for _, mask in faults))
    return table.filter(pc.invert(wrong))


def _no(mask: Any) -> Any:
    return pc.invert(pc.fill_null(mask, False))


def _and(one: Any, other: Any) -> Any:
    return pc.and_(pc.fill_null(one, False), other)


def _outside(values: Any, least: float, most: float) -> Any:
    inside = pc.and_(pc.greater_equal(values, least - _ROUNDING), pc.less_equal(values, most + _ROUNDING))
    return pc.fill_null(pc.invert(inside), False)
