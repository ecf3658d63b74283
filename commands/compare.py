"""The sub-command ``compare``: what changed between two runs or stores, and whether the difference is significant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from commands.options import EXIT_SCORED
from commands.run_rows import RunRows, find_run
from stores.results import read_store
from stores.run_directory import RunDirectory, open_run
from stores.table_file import check_table_path, write_table
from telemetry.exports import COUNT, POINTS, SHARE, Field, P, Table, show, spell
from telemetry.wording import clean
from trials.answer_changes import COMPARED, CONDITION, KINDS, Changes, compare_answers, paired_on
from trials.errors import UsageError
from trials.rows import Row
from trials.spec import RunSpec

_SHOWN = 40
"""Characters of an answer that the table shows."""
_ANOTHER_BANK = 0.2
"""With another label on more than this share of the pairs, equal ids do not mean the same questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """A run, or a whole store."""

    name: str
    simulated: bool
    rows: Callable[[], Iterator[Row]]
    spec: RunSpec | None = None


def compare_runs(a: str, b: str, *, logs_dir: str, export: str | None = None, top: int = 20) -> int:
    """Print what changed from a to b, each a run (the beginning of its name suffices) or the folder of a store."""
    if top < 0:
        raise UsageError(f"--top: {top} is less than 0")
    target = check_table_path("--export", export) if export else None
    side_a, side_b = _side(a, Path(logs_dir)), _side(b, Path(logs_dir))
    if side_a.simulated != side_b.simulated:
        simulated, real = (side_a, side_b) if side_a.simulated else (side_b, side_a)
        raise UsageError(
            f"{simulated.name} is simulated and {real.name} is real; they cannot be compared, name two of one kind"
        )
    changes = _compared(side_a, side_b)
    _print(side_a, side_b, changes, top)
    if target is not None:
        _export(changes, target, simulated=side_a.simulated)
    return EXIT_SCORED


def _side(name: str, logs_dir: Path) -> _Side:
    path = Path(name)
    if (path / "store.json").exists():
        store = read_store(path)
        return _Side(name=str(path), simulated=store.simulated, rows=partial(store.rows, COMPARED))
    if (path / "run.json").exists():
        return _of_run(open_run(path), path.parent)
    return _of_run(find_run(name, logs_dir), logs_dir)


def _of_run(run: RunDirectory, logs_dir: Path) -> _Side:
    rows = RunRows(run, logs_dir)
    if not run.is_idle():
        click.echo(f"{run.run_id} is still being worked on; only what it has ended and merged is compared", err=True)
    return _Side(name=run.run_id, simulated=run.spec.simulated, rows=partial(rows.read, COMPARED), spec=run.spec)


def _compared(a: _Side, b: _Side) -> Changes:
    levels = []
    for side in (a, b):
        found: dict[str, set[Any]] = {name: set() for name in CONDITION}
        for row in side.rows():
            for name, values in found.items():
                values.add(row[name])
        if not found["model"]:
            raise UsageError(f"{side.name}: no results here yet")
        levels.append(found)
    try:
        changes = compare_answers(a.rows(), b.rows(), paired_on(*levels))
    except ValueError as problem:
        raise UsageError(f"{a.name} and {b.name} cannot be compared: {problem}") from problem
    if not changes.pairs:
        raise UsageError(
            f"{a.name} and {b.name} have nothing scored in common ({changes.only_a} and {changes.only_b} scored rows,"
            f" {changes.unscored} shared ones without a score); they must ask the same tasks of the same version"
        )
    if changes.relabelled > _ANOTHER_BANK * changes.pairs:
        raise UsageError(
            f"{a.name} and {b.name} do not ask the same questions: {changes.relabelled} of {changes.pairs} shared ids"
            " have another label; compare runs over one bank"
        )
    return changes


def _print(a: _Side, b: _Side, changes: Changes, top: int) -> None:
    click.echo(f"A  {clean(a.name)}\nB  {clean(b.name)}")
    for line in _settings(a.spec, b.spec):
        click.echo(line)
    show(_rates(changes, simulated=a.simulated), sys.stdout)
    click.echo(verdict_on(changes))
    if top and changes.changed:
        show(_changed(changes, top, simulated=a.simulated), sys.stdout)


def _rates(changes: Changes, *, simulated: bool) -> Table:
    lost = f"{changes.unscored} pairs without a score on a side, {changes.only_a} scored only in A"
    notes = [
        f"{changes.pairs} pairs of {changes.tasks} tasks; left out: {lost}, {changes.only_b} only in B",
        "answers that changed: " + ", ".join(f"{changes.counts[kind]} {kind}" for kind in KINDS),
    ]
    if changes.relabelled:
        notes.append(f"{changes.relabelled} pairs were marked by different labels")
    return Table(
        title="Right answers on what both were asked",
        columns=(
            Field(key="side", title=""),
            Field(key="pairs", title="pairs", kind=COUNT, rank=1),
            Field(key="rate", title="right %", kind=SHARE),
            Field(key="interval", title="95 % interval", kind=SHARE, pair=True),
        ),
        rows=(
            ("A", changes.pairs, changes.rate_a, changes.interval_a),
            ("B", changes.pairs, changes.rate_b, changes.interval_b),
        ),
        notes=tuple(notes),
        simulated=simulated,
    )


def verdict_on(changes: Changes) -> str:
    """Say in plain words what the difference is, and whether it means anything."""
    told = f"B - A: {spell(changes.difference, POINTS)} points, 95 % interval {spell(changes.interval, POINTS)}"
    test = (
        f"McNemar's exact test over tasks: {changes.ahead_b} for B, {changes.ahead_a} for A, p = {spell(changes.p, P)}"
    )
    if not changes.ahead_a and not changes.ahead_b:
        meaning = "No difference: neither side is right more often on any task."
    elif changes.significant:
        better = "B" if changes.ahead_b > changes.ahead_a else "A"
        meaning = f"The difference is significant at 5 %: {better} is better on these tasks."
    else:
        meaning = (
            f"The difference is not significant: if both were equally good, one like it or larger would come up in"
            f" {100 * changes.p:.0f} of 100 comparisons."
        )
    return f"{told}\n{test.replace('= <', '< ')}\n{meaning}"


def _changed(changes: Changes, top: int, *, simulated: bool) -> Table:
    epochs = any(one.epoch for one in changes.changed)
    labels = any(one.target for one in changes.changed)
    conditions = len({one.condition for one in changes.changed}) > 1
    told = {"epoch": epochs, "condition": conditions, "label": labels}
    fields = [name for name in ("change", "task", "epoch", "condition", "label", "A", "B") if told.get(name, True)]
    rows = [
        {
            "change": one.kind,
            "task": one.task_id,
            "epoch": one.epoch,
            "condition": one.condition,
            "label": _cut(one.target),
            "A": _cut(one.a),
            "B": _cut(one.b),
        }
        for one in changes.changed[:top]
    ]
    more = len(changes.changed) - len(rows)
    return Table(
        title="What changed",
        columns=tuple(Field(key=name, title=name, rank=1 if name == "condition" else 0) for name in fields),
        rows=tuple(tuple(str(row[name]) for name in fields) for row in rows),
        notes=(f"and {more} more; --export writes all",) if more else (),
        simulated=simulated,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _settings(a: RunSpec | None, b: RunSpec | None) -> list[str]:
    if a is None or b is None:
        return ["settings are not compared: a results store does not say what each run asked, a run's name does"]
    lines = [f"   {name}: {_told(one)} → {_told(other)}" for name, one, other in differing(a, b)]
    return ["what was asked differently:", *lines] if lines else ["both were asked the same"]


def differing(a: RunSpec, b: RunSpec) -> list[tuple[str, Any, Any]]:
    """Return (dotted name, value of a, value of b) of every setting that differs; None where a side has none.

    If both have one model, what is said of it is compared under one name, whatever the models are called.
    """
    flat_a, flat_b = _flat(_settings_of(a, b)), _flat(_settings_of(b, a))
    names = dict.fromkeys([*flat_a, *flat_b])
    return [(name, flat_a.get(name), flat_b.get(name)) for name in names if flat_a.get(name) != flat_b.get(name)]


def _settings_of(spec: RunSpec, other: RunSpec) -> dict[str, Any]:
    value = spec.to_json()
    if len(spec.models) == len(other.models) == 1:
        for name, by_model in list(value.items()):
            if isinstance(by_model, Mapping) and set(by_model) == set(spec.models):
                value[name] = by_model[spec.models[0]]
    return value


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, one in value.items():
        if isinstance(one, Mapping) and one:
            flat.update(_flat(one, f"{before}{name}."))
        else:
            flat[f"{before}{name}"] = one
    return flat


def _told(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ", ".join(map(str, value))
    return "-" if value in (None, "", {}) else clean(str(value), 80)


def _export(changes: Changes, target: Path, *, simulated: bool) -> None:
    columns = {"change": str, "task_id": str, "epoch": int, "condition": str, "label": str, "answer_a": str}
    columns |= {"answer_b": str, "simulated": bool}
    rows = (
        {
            "change": one.kind.replace("→", "to"),
            "task_id": one.task_id,
            "epoch": one.epoch,
            "condition": one.condition,
            "label": one.target,
            "answer_a": one.a,
            "answer_b": one.b,
            "simulated": simulated,
        }
        for one in changes.changed
    )
    click.echo(f"{write_table(target, columns, rows)} changes written to {target}")
