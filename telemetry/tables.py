"""The plan before a run and the results after it, as tables for a terminal, a pipe or a file.

A terminal gets what fits its width, with names cut but never a number; anything else gets every column at full width.
Figures come from ``trials.accounting``; nothing is computed here but their spelling.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from telemetry.columns import Column, Line, Part, cells, clip, lay_out, text_of, wrap
from telemetry.pen import Pen
from telemetry.shard_table import style_of
from telemetry.terminal import look_at, say, size_of
from telemetry.wording import NOTHING, as_ascii, clean, dollars, duration, per_second, percent
from trials.accounting import MIXED, CellFigures, CellKey, pool

MOST_CELLS = 40
_NAMES = ("model", "prompt", "tool rate", "difficulty", "task type")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One shard of a plan. ``start_delay_s`` counts from the start of the shard before."""

    shard: int
    model: str
    deployment: str
    key_name: str
    workers: int
    qps: float
    trials: int
    start_delay_s: float


def render_plan(
    rows: Sequence[PlanRow],
    stream: TextIO | None = None,
    *,
    caption: str = "",
    start_when_ready: bool = False,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Write what a run would do: a line per shard, and totals.

    ``start_when_ready`` says that a shard starts as soon as the one before is ready, and after the delay at the latest.
    """
    stream = sys.stdout if stream is None else stream
    columns = [
        Column(title="shard"),
        Column(title="model", left=True, shrink_to=12),
        Column(title="deployment", left=True, shrink_to=12),
        Column(title="key variable", left=True, rank=2, shrink_to=14),
        Column(title="workers"),
        Column(title="QPS"),
        Column(title="trials"),
        Column(title="start delay", rank=1),
    ]
    body: list[list[Part]] = [
        [
            (str(row.shard), "dim"),
            (clean(row.model), ""),
            (clean(row.deployment), "bold"),
            (clean(row.key_name), ""),
            (str(row.workers), ""),
            (_whole(row.qps), ""),
            (str(row.trials), ""),
            (_delay(row, rows[0], start_when_ready), ""),
        ]
        for row in rows
    ]
    workers, trials = sum(row.workers for row in rows), sum(row.trials for row in rows)
    total = ["", "total", "", "", str(workers), "", str(trials), ""]
    body.append([(text, "bold") for text in total])
    _write(stream, [caption] if caption else [], columns, body, [], environ)


def _whole(value: float) -> str:
    return str(int(value)) if value == int(value) else per_second(value)


def _delay(row: PlanRow, first: PlanRow, start_when_ready: bool) -> str:
    if row is first:
        return f"{_whole(row.start_delay_s)} s"
    return f"{'≤ ' if start_when_ready else ''}+{_whole(row.start_delay_s)} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run in a list of runs. ``worked_on_at`` is in Unix seconds, ``cost_usd`` None where no price is known."""

    run_id: str
    state: str
    simulated: bool
    planned: int
    scored: int
    cost_usd: float | None
    worked_on_at: float
    results_dir: str


def render_runs(
    rows: Sequence[RunRow], stream: TextIO | None = None, *, now: float, environ: Mapping[str, str] | None = None
) -> None:
    """Write a line for each run, in their order."""
    stream = sys.stdout if stream is None else stream
    columns = [
        Column(title="run", left=True, shrink_to=14),
        Column(title="state", left=True),
        Column(title="scored"),
        Column(title="cost", rank=2),
        Column(title="", left=True, rank=3),
        Column(title="started", rank=1),
    ]
    body: list[list[Part]] = [
        [
            (clean(row.run_id), "bold"),
            (clean(row.state), style_of(row.state)),
            (f"{row.scored}/{row.planned}", ""),
            (dollars(row.cost_usd), ""),
            ("SIMULATED" if row.simulated else "", "magenta"),
            (f"{duration(max(0.0, now - row.worked_on_at))} ago", ""),
        ]
        for row in rows
    ]
    _write(stream, [], columns, body, [], environ)


def render_results(
    figures: Mapping[CellKey, CellFigures],
    stream: TextIO | None = None,
    *,
    simulated: bool = False,
    by: str = "auto",
    environ: Mapping[str, str] | None = None,
) -> None:
    """Write the result table: a row per cell, a total over several task types, and a line that adds all up.

    ``by`` is ``cell``, ``group`` (one row for all task types together) or ``auto``, which groups above 40 cells.
    """
    stream = sys.stdout if stream is None else stream
    look = look_at(stream, environ)
    by_cell = by == "cell" or (by == "auto" and len(figures) <= MOST_CELLS)
    rows = _result_rows(figures, by_cell)
    shared = _shared(figures) if look.terminal else {}
    columns = [one for one in _result_columns(rows) if one.title not in shared]
    body = [[row[one.title] for one in columns] for row in (_spelt(*each) for each in rows)]
    captions = [*(["SIMULATED results: they measure no real model"] if simulated else [])]
    if shared:
        captions.append(", ".join(f"{name} {value}" for name, value in shared.items()))
    if look.terminal:
        body = _unrepeated(columns, body)
    _write(stream, captions, columns, body, _notes(figures, by_cell, simulated and not look.terminal), environ)


def _result_rows(figures: Mapping[CellKey, CellFigures], by_cell: bool) -> list[tuple[CellKey, CellFigures, bool]]:
    groups: dict[CellKey, list[CellKey]] = {}
    for key in figures:
        groups.setdefault(key._replace(task_type=""), []).append(key)
    rows: list[tuple[CellKey, CellFigures, bool]] = []
    for group, keys in groups.items():
        if by_cell:
            rows += [(key, figures[key], False) for key in keys]
        if len(keys) > 1 or not by_cell:
            named = group._replace(task_type=f"all {len(keys)} types" if len(keys) > 1 else keys[0].task_type)
            rows.append((named, pool(figures[key] for key in keys), by_cell))
    return rows


def _shared(figures: Mapping[CellKey, CellFigures]) -> dict[str, str]:
    """Name the levels that are the same in all rows; on a terminal they stand above the table."""
    levels = zip(_NAMES[:-1], zip(*figures, strict=True), strict=False)
    return {name: clean(values[0]) for name, values in levels if len(set(values)) == 1} if figures else {}


def _result_columns(rows: Sequence[tuple[CellKey, CellFigures, bool]]) -> list[Column]:
    columns = [
        Column(title="model", left=True, shrink_to=12),
        Column(title="prompt", left=True, shrink_to=12),
        Column(title="tool rate"),
        Column(title="difficulty", left=True, shrink_to=9),
        Column(title="task type", left=True, shrink_to=16),
        Column(title="scored"),
        Column(title="full %"),
        Column(title="95 % interval"),
        Column(title="partial %", rank=3),
        Column(title="weighted", rank=2),
        Column(title="coverage", rank=4),
        Column(title="prov.err", rank=1),
    ]
    if any(figures.scored < figures.planned for _, figures, _ in rows):
        columns.append(Column(title="full % if missing failed, succeeded", rank=5))
    return columns


def _spelt(key: CellKey, figures: CellFigures, total: bool) -> dict[str, Part]:
    low, high = figures.full_interval
    bounds = figures.bounds
    style = "bold" if total else ""
    mixed = "*" if figures.variant == MIXED else ""
    spelt = dict(zip(_NAMES, (clean(name) for name in key), strict=True)) | {
        "scored": f"{figures.scored}/{figures.planned}",
        "full %": mixed + percent(figures.full_rate),
        "95 % interval": f"[{percent(low)}, {percent(high)}]" if figures.scored else NOTHING,
        "partial %": percent(figures.partial_rate),
        "weighted": NOTHING if figures.weighted_success is None else f"{figures.weighted_success:.3f}",
        "coverage": f"{percent(figures.coverage)} %" if figures.planned else NOTHING,
        "prov.err": str(figures.provider_errors),
        "full % if missing failed, succeeded": f"[{percent(bounds[0])}, {percent(bounds[1])}]" if bounds else NOTHING,
    }
    parts = {title: (text, style) for title, text in spelt.items()}
    if figures.provider_errors:
        parts["prov.err"] = (spelt["prov.err"], "red")
    return parts


def _unrepeated(columns: Sequence[Column], rows: Sequence[Sequence[Part]]) -> list[list[Part]]:
    """Blank the names that stand in the row above already, from the left up to the first that differs."""
    seen: Sequence[Part] = ()
    result: list[list[Part]] = []
    for row in rows:
        blanked, same = list(row), True
        for place, column in enumerate(columns):
            same = same and column.title in _NAMES[:-1] and bool(seen) and seen[place][0] == row[place][0]
            if same:
                blanked[place] = ("", "")
        seen = row
        result.append(blanked)
    return result


def _notes(figures: Mapping[CellKey, CellFigures], by_cell: bool, marked: bool) -> list[str]:
    every = pool(figures.values())
    notes = [
        f"{'SIMULATED: ' if marked else ''}{every.planned} planned = {every.scored} scored"
        f" + {every.provider_errors} provider_error + {every.harness_errors} harness_error + {every.pending} pending"
    ]
    if not by_cell:
        notes.append(f"{len(figures)} cells; all of them: report --by cell")
    if every.left_out:
        notes.append(f"left out: {every.left_out} older rows that were asked with other settings")
    if every.variant == MIXED:
        notes.append("* pools task types that were asked with different settings")
    return notes


def _write(
    stream: TextIO,
    captions: Sequence[str],
    columns: Sequence[Column],
    rows: Sequence[Sequence[Part]],
    notes: Sequence[str],
    environ: Mapping[str, str] | None,
) -> None:
    look = look_at(stream, environ)
    room = size_of(stream)[0] - 1 if look.terminal else None
    gap = 2 if room is None or room >= 100 else 1
    header, *body = lay_out(columns, rows, room, gap=gap, ellipsis="…" if look.unicode else "..")
    breadth = max(cells(text_of(line)) for line in (header, *body))
    rule: Line = ((("─" if look.unicode else "-") * breadth, "dim"),)
    lines: list[Line] = [((caption, "bold magenta" if "SIMULATED" in caption else ""),) for caption in captions]
    lines += [header, rule, *body, rule]
    for note in notes:
        lines += wrap(note, room, indent=2) if room else [((note, ""),)]
    if room:
        lines = [clip(line, room) for line in lines]
    if not look.unicode:
        lines = [tuple((as_ascii(text), style) for text, style in line) for line in lines]
    pen = Pen(look)
    say(stream, "".join(pen.draw(line) + "\n" for line in lines))
