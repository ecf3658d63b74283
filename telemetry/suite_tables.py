"""What each of the suites 5.1 to 5.5 ends with: its table, its paired comparisons in detail, and a reading of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from telemetry.exports import POINTS, SHARE, SIGNED, Field, P, Table, Value
from telemetry.result_tables import HOLM_NOTE, RATE_FIELDS, account, comparison_table, rate_values
from telemetry.suite_figures import Group, Study, slope, study
from telemetry.suite_readings import reading, slope_in_words
from trials.accounting import MIXED, CellKey, Mean
from trials.rows import Row

_VERSUS_FIELDS = (
    Field(key="difference", title="difference", kind=POINTS),
    Field(key="difference_interval", title="its 95 % interval", kind=POINTS, pair=True),
    Field(key="adjusted_p", title="p (Holm)", kind=P),
)
_FLAW_FIELDS = (
    Field(key="followed_flaw", title="followed %", kind=SHARE, rank=1),
    Field(key="recovered", title="recovered %", kind=SHARE, rank=1),
    Field(key="efficiency_difference", title="efficiency difference", kind=SIGNED, rank=2),
    Field(key="efficiency_interval", title="its 95 % interval", kind=SIGNED, pair=True, rank=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteReport:
    """All that a suite ends with."""

    table: Table
    comparisons: Table
    reading: str


def suite_report(suite: str, rows: Iterable[Row], planned: Mapping[CellKey, int], *, simulated: bool) -> SuiteReport:
    """Return the report of a suite from the rows of its own trials and the planned number of trials per cell."""
    figures = study(suite, rows, planned, simulated=simulated)
    title = f"{figures.shape.title}: paired comparisons of full success"
    return SuiteReport(
        table=_table(figures),
        comparisons=comparison_table(figures.comparisons, simulated=figures.simulated, title=title),
        reading=reading(figures),
    )


def suite_table(suite: str, rows: Iterable[Row], planned: Mapping[CellKey, int], *, simulated: bool) -> Table:
    """Return the table of a suite; see ``suite_report``."""
    return _table(study(suite, rows, planned, simulated=simulated))


def suite_reading(suite: str, rows: Iterable[Row], planned: Mapping[CellKey, int], *, simulated: bool) -> str:
    """Return the reading of a suite, one paragraph; see ``suite_report``."""
    return reading(study(suite, rows, planned, simulated=simulated))


def _table(figures: Study) -> Table:
    shape = figures.shape
    columns = [Field(key="model", title="model"), *RATE_FIELDS]
    if shape.level:
        columns[1:1] = [Field(key=shape.varies, title=shape.level_title)]
        columns += _VERSUS_FIELDS
    if shape.scores:
        columns += _FLAW_FIELDS
    return Table(
        title=shape.title,
        columns=tuple(columns),
        rows=tuple(_values(figures, group) for group in figures.groups),
        notes=_notes(figures),
        simulated=figures.simulated,
    )


def _values(figures: Study, group: Group) -> tuple[Value, ...]:
    values: tuple[Value, ...] = (group.model, *([group.level] if figures.shape.level else []))
    values += rate_values(group.figures, group.interval)
    versus = group.versus
    if figures.shape.level:
        values += (versus.difference, versus.interval, versus.adjusted_p) if versus else (None, None, None)
    if figures.shape.scores:
        efficiency = versus.scores.get("efficiency") if versus else None
        means = group.figures.means
        values += tuple(means.get(name, Mean()).value for name in ("followed_flaw", "recovered"))
        values += (efficiency.mean, efficiency.interval) if efficiency else (None, None)
    return values


def _notes(figures: Study) -> tuple[str, ...]:
    every = figures.every
    notes = [*account(every)]
    if any(group.figures.variant == MIXED for group in figures.groups):
        notes.append("some rows pool task types that were asked with different settings")
    if figures.shape.level:
        notes.append(f"difference: points of full success against {figures.reference} of the same model, same tasks")
        notes.append(HOLM_NOTE)
    if figures.shape.scores:
        notes.append("recovered: full successes among the trials that followed the flaw")
    if figures.shape.level == "rate":
        notes += [f"{model}: {slope_in_words(slope(groups))}" for model, groups in figures.by_model.items()]
    return tuple(notes)
