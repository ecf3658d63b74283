"""Figures and paired comparisons as tables that can be exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from telemetry.exports import COUNT, NUMBER, POINTS, SHARE, Field, P, Table, Value
from trials.accounting import CellFigures, CellKey, pool
from trials.comparisons import PairedComparison
from trials.statistics import Interval

HOLM_NOTE = (
    "p: exact sign test over tasks (McNemar's with one pair per task), adjusted by Holm's method; intervals are not"
    " adjusted"
)

RATE_FIELDS = (
    Field(key="scored", title="scored", kind=COUNT),
    Field(key="planned", title="planned", kind=COUNT, rank=2),
    Field(key="full_rate", title="full %", kind=SHARE),
    Field(key="full_interval", title="95 % interval", kind=SHARE, pair=True),
    Field(key="partial_rate", title="partial %", kind=SHARE, rank=4),
    Field(key="weighted_success", title="weighted", kind=NUMBER, rank=3),
    Field(key="coverage", title="coverage %", kind=SHARE, rank=1),
    Field(key="bounds", title="full % if missing failed, succeeded", kind=SHARE, pair=True, rank=5),
)

_CELL_FIELDS = (
    Field(key="model", title="model"),
    Field(key="prompt_type", title="prompt"),
    Field(key="tool_success_rate", title="tool rate"),
    Field(key="difficulty", title="difficulty"),
    Field(key="task_type", title="task type"),
    *RATE_FIELDS,
    Field(key="provider_errors", title="prov.err", kind=COUNT, rank=6),
    Field(key="harness_errors", title="harness err", kind=COUNT, rank=6),
    Field(key="pending", title="pending", kind=COUNT, rank=6),
)

_COMPARISON_FIELDS = (
    Field(key="a", title="a"),
    Field(key="b", title="b"),
    Field(key="pairs", title="pairs", kind=COUNT),
    Field(key="tasks", title="tasks", kind=COUNT, rank=5),
    Field(key="lost", title="lost", kind=COUNT, rank=4),
    Field(key="unpaired_a", title="only in a", kind=COUNT, rank=5),
    Field(key="unpaired_b", title="only in b", kind=COUNT, rank=5),
    Field(key="rate_a", title="a full %", kind=SHARE, rank=1),
    Field(key="rate_b", title="b full %", kind=SHARE, rank=1),
    Field(key="difference", title="difference", kind=POINTS),
    Field(key="interval", title="95 % interval", kind=POINTS, pair=True),
    Field(key="discordant_a", title="a alone full", kind=COUNT, rank=3),
    Field(key="discordant_b", title="b alone full", kind=COUNT, rank=3),
    Field(key="p", title="p", kind=P, rank=2),
    Field(key="adjusted_p", title="p (Holm)", kind=P),
    Field(key="weighted", title="weighted difference", kind=POINTS, rank=6),
    Field(key="weighted_interval", title="its 95 % interval", kind=POINTS, pair=True, rank=6),
    Field(key="weighted_p", title="its p", kind=P, rank=6),
)


def rate_values(figures: CellFigures, interval: Interval | tuple[float, float]) -> tuple[Value, ...]:
    """Return the values of ``RATE_FIELDS``."""
    return (
        figures.scored,
        figures.planned,
        figures.full_rate,
        (interval[0], interval[1]) if figures.scored else None,
        figures.partial_rate,
        figures.weighted_success,
        figures.coverage,
        figures.bounds,
    )


def result_table(figures: Mapping[CellKey, CellFigures], *, simulated: bool, title: str = "Results per cell") -> Table:
    """Return a row per cell. There are no totals, which whoever adds the rows up would count twice."""
    rows = [
        (*key, *rate_values(one, one.full_interval), one.provider_errors, one.harness_errors, one.pending)
        for key, one in figures.items()
    ]
    return Table(
        title=title,
        columns=_CELL_FIELDS,
        rows=tuple(rows),
        notes=account(pool(figures.values())),
        simulated=simulated,
    )


def account(every: CellFigures) -> tuple[str, ...]:
    """Say how what was planned adds up, and what is in no figure."""
    notes = [
        f"{every.planned} planned = {every.scored} scored + {every.provider_errors} provider_error"
        f" + {every.harness_errors} harness_error + {every.pending} pending"
    ]
    if every.left_out:
        notes.append(f"left out: {every.left_out} older rows that were asked with other settings")
    return tuple(notes)


def comparison_table(
    comparisons: Iterable[PairedComparison], *, simulated: bool, title: str = "Paired comparisons of full success"
) -> Table:
    """Return a row per comparison, with what was lost in pairing."""
    return Table(
        title=title,
        columns=_COMPARISON_FIELDS,
        rows=tuple(_comparison_values(one) for one in comparisons),
        notes=(
            "differences are a - b in points, on tasks that both were asked",
            "lost: pairs without a score on a side; only in a, b: scored trials without a partner",
            HOLM_NOTE,
        ),
        simulated=simulated,
    )


def _comparison_values(one: PairedComparison) -> tuple[Value, ...]:
    weighted = one.weighted
    return (
        one.name_a,
        one.name_b,
        one.pairs,
        one.tasks,
        one.lost,
        one.unpaired_a,
        one.unpaired_b,
        one.rate_a,
        one.rate_b,
        one.difference,
        one.interval,
        one.b,
        one.c,
        one.p,
        one.adjusted_p,
        weighted.mean if weighted else None,
        weighted.interval if weighted else None,
        weighted.p if weighted else None,
    )
