"""Which tables a report has, made from the same facts as its plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from telemetry.exports import COUNT, NUMBER, Field, Table, Value
from telemetry.question_tables import question_table
from telemetry.report.bars import short_latency
from telemetry.report.facts import PHASES, Facts, rate_of
from telemetry.report.figures import PERCENTILES, percentiles_of
from telemetry.result_tables import RATE_FIELDS, account, rate_values, result_table
from trials.accounting import MIXED, CellFigures, CellKey, pool
from trials.words import QUESTION

_CONDITION = (
    Field(key="model", title="model"),
    Field(key="prompt_type", title="prompt"),
    Field(key="tool_success_rate", title="tool rate"),
    Field(key="difficulty", title="difficulty"),
)
_ONLY_IF_MISSING = ("planned", "bounds")
STORED = "counts are of what is stored; what a run had planned beyond that, and what is pending, its status tells"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """What a suite ended with: its tables and the reading of them."""

    name: str
    tables: tuple[Table, ...]
    reading: str


def condition_table(facts: Facts) -> Table:
    """Return a row per model, prompt type, tool success rate and difficulty, all kinds of task together."""
    groups: dict[CellKey, list[CellKey]] = {}
    cells = workflow_cells(facts)
    for key in cells:
        groups.setdefault(key._replace(task_type=""), []).append(key)
    rows, notes = [], list(account(pool(cells.values())))
    mixed = False
    for group, keys in groups.items():
        figures = pool(facts.cells[key] for key in keys)
        mixed = mixed or figures.variant == MIXED
        rate = rate_of(facts.counts(keys))
        rows.append((*group[:-1], *rate_values(figures, rate.interval if rate else (0.0, 1.0)), *_unscored(figures)))
    if mixed:
        notes.append("some rows pool task types that were asked with different settings")
    fields = (*_CONDITION, *RATE_FIELDS, Field(key="provider_errors", title="prov.err", kind=COUNT))
    table = Table(
        title="Results per condition, all kinds of task together",
        columns=(*fields, Field(key="harness_errors", title="harness err", kind=COUNT)),
        rows=tuple(rows),
        notes=(*notes, STORED),
        simulated=facts.simulated,
    )
    return whole(table)


def workflow_cells(facts: Facts) -> dict[CellKey, CellFigures]:
    """Return the figures of the tool-use benchmark's cells; questions have a table of their own."""
    return {key: figures for key, figures in facts.cells.items() if key.prompt_type != QUESTION}


def cell_table(facts: Facts) -> Table:
    """Return a row per cell."""
    return whole(result_table(workflow_cells(facts), simulated=facts.simulated))


def bank_table(facts: Facts) -> Table | None:
    """Return a row per model and subject of what question banks were asked; None if none was."""
    figures = facts.questions.figures()
    return question_table(figures, simulated=facts.simulated, title="Results by subject") if figures else None


def main_tables(facts: Facts) -> list[Table]:
    """Return the tables of results, of either kind of work as far as there is any."""
    bank = bank_table(facts)
    return [*([cell_table(facts)] if workflow_cells(facts) else []), *([bank] if bank else [])]


def _unscored(figures: Any) -> tuple[int, int]:
    return figures.provider_errors, figures.harness_errors


def whole(table: Table) -> Table:
    """Leave out the columns about missing trials if there are none."""
    keys = [one.key for one in table.columns]
    if not {"scored", *_ONLY_IF_MISSING} <= set(keys):
        return table
    scored, planned = keys.index("scored"), keys.index("planned")
    if any(row[scored] != row[planned] for row in table.rows):
        return table
    return _without(table, {keys.index(name) for name in _ONLY_IF_MISSING})


def _without(table: Table, places: set[int]) -> Table:
    def kept(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(value for place, value in enumerate(values) if place not in places)

    return replace(table, columns=kept(table.columns), rows=tuple(kept(row) for row in table.rows))


def phase_table(facts: Facts) -> Table | None:
    """Return the percentiles of each phase of a trial; None if nobody was asked."""
    if not len(facts.phases["whole"]):
        return None
    columns = [Field(key="phase", title="phase")]
    columns += [Field(key=f"p{q:g}", title=f"{q:g} %", kind=NUMBER) for q in PERCENTILES]
    notes = [
        "per trial, known to 2 %, 1 ms at the least; the phases of a trial add up, their percentiles do not",
        "the whole begins when the trial was due, that is, handed to its shard: what waits behind a stalled provider"
        " counts as waiting (no coordinated omission)",
    ]
    if facts.cached:
        notes.append(f"left out: {facts.cached} trials that were answered from the cache alone")
    rows: list[tuple[Value, ...]] = [(PHASES[name], *percentiles_of(facts, name)) for name in PHASES]
    return Table(
        title="Latency percentiles by phase, ms",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(notes),
        simulated=facts.simulated,
    )


def phase_words(table: Table) -> Table:
    """Return the same table with its times in words, for reading."""
    rows = tuple(
        (row[0], *(short_latency(value) if isinstance(value, float) else value for value in row[1:]))
        for row in table.rows
    )
    return replace(table, rows=rows)


def spent_table(facts: Facts) -> Table:
    """Return what each model has used; money only where rows tell of it."""
    priced = any(one.cost_usd is not None for one in facts.spent.values())
    names = ("trials", "requests", "attempts", "cache_hits", "prompt_tokens", "completion_tokens")
    columns = [Field(key="model", title="model")]
    columns += [Field(key=name, title=name.replace("_", " "), kind=COUNT) for name in names]
    columns.append(Field(key="tokens_per_trial", title="tokens per trial", kind=COUNT))
    if priced:
        columns.append(Field(key="cost_usd", title="cost, USD", kind=NUMBER))
    rows: list[tuple[Value, ...]] = []
    for model, one in sorted(facts.spent.items()):
        values: list[Value] = [model, *(getattr(one, name) for name in names)]
        values.append(round((one.prompt_tokens + one.completion_tokens) / one.trials))
        rows.append((*values, one.cost_usd) if priced else tuple(values))
    return Table(title="Tokens and requests", columns=tuple(columns), rows=tuple(rows), simulated=facts.simulated)


def read_table(record: Mapping[str, Any]) -> Table:
    """Return a table from its JSON form. Raises ValueError if it is none."""
    try:
        columns = tuple(Field(key=one["key"], title=one["title"], kind=one["kind"]) for one in record["columns"])
        rows = tuple(tuple(_value(row[one.key]) for one in columns) for row in record["rows"])
        return Table(
            title=str(record["title"]),
            columns=columns,
            rows=rows,
            notes=tuple(map(str, record["notes"])),
            simulated=bool(record["simulated"]),
        )
    except (KeyError, TypeError) as problem:
        raise ValueError(f"no table ({problem!r})") from problem


def _value(value: Any) -> Value:
    if isinstance(value, list):
        low, high = value
        return (float(low), float(high))
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"no value of a table: {type(value).__name__}")
