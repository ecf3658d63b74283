"""The figures of suites 5.1 to 5.5: groups of rows with their rates, and the paired comparisons that a suite is about.

Spells nothing. Rows must be those of the suite's own trials, at most one per trial key; of each cell only those of its
newest variant count, as in ``trials.accounting``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum

from trials.accounting import CellFigures, CellKey, Tally, key_of, pool
from trials.comparisons import PAIRED_ON, PairedComparison, adjusted, compare, compare_all, is_full
from trials.rows import Row
from trials.statistics import Interval, clustered_rate_interval
from trials.words import SCORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a suite varies within a model: ``level`` is a field of the cell's name, or empty if only models vary.

    Each level is compared with the ``reference``, by default the first level; without levels, each two models are.
    """

    title: str
    level: str = ""
    level_title: str = ""
    reference: str = ""
    scores: tuple[str, ...] = ()

    @property
    def varies(self) -> str:
        """The level as a field of result rows."""
        return "tool_success_rate" if self.level == "rate" else self.level

    @property
    def paired_on(self) -> tuple[str, ...]:
        """The fields that make a pair: all but the one that varies."""
        return tuple(name for name in PAIRED_ON if name != self.varies)


SHAPES: Mapping[str, Shape] = {
    "5.1": Shape(title="Suite 5.1: models under the optimal prompt"),
    "5.2": Shape(title="Suite 5.2: models by difficulty", level="difficulty", level_title="difficulty"),
    "5.3": Shape(
        title="Suite 5.3: flawed plans against the optimal plan on the same tasks",
        level="prompt_type",
        level_title="prompt",
        reference="optimal",
        scores=("efficiency",),
    ),
    "5.4": Shape(title="Suite 5.4: reliability of the tools", level="rate", level_title="tool rate"),
    "5.5": Shape(title="Suite 5.5: prompt types", level="prompt_type", level_title="prompt", reference="baseline"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A model at one level: its rows, scored or not, and their figures. ``versus`` compares it with the reference."""

    model: str
    level: str
    rows: tuple[Row, ...]
    figures: CellFigures
    interval: Interval
    versus: PairedComparison | None = None

    @property
    def name(self) -> str:
        """The group's name among all of the suite's."""
        return f"{self.model} / {self.level}" if self.level else self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All figures of a suite. ``comparisons`` are adjusted as one family."""

    shape: Shape
    reference: str
    groups: tuple[Group, ...]
    comparisons: tuple[PairedComparison, ...]
    simulated: bool

    @property
    def every(self) -> CellFigures:
        """The figures of all groups together."""
        return pool(group.figures for group in self.groups)

    @property
    def by_model(self) -> dict[str, list[Group]]:
        """The groups of each model."""
        models: dict[str, list[Group]] = {}
        for group in self.groups:
            models.setdefault(group.model, []).append(group)
        return models


def study(suite: str, rows: Iterable[Row], planned: Mapping[CellKey, int], *, simulated: bool) -> Study:
    """Return the figures of a suite. One simulated row makes all of it simulated. Raises KeyError for other suites."""
    shape, kept = SHAPES[suite], list(rows)
    tally = Tally(planned)
    for row in kept:
        tally.add(row)
    cells = tally.cells()
    groups = _groups(shape, cells, [row for row in kept if (row.get("variant") or "") == cells[key_of(row)].variant])
    reference = shape.reference or (groups[0].level if groups else "")
    if shape.level:
        groups = _against(reference, groups, shape)
        comparisons = [group.versus for group in groups if group.versus]
    else:
        comparisons = compare_all({group.model: group.rows for group in groups}, on=shape.paired_on)
    return Study(
        shape=shape,
        reference=reference,
        groups=tuple(groups),
        comparisons=tuple(comparisons),
        simulated=simulated or any(row.get("simulated") for row in kept),
    )


def _groups(shape: Shape, cells: Mapping[CellKey, CellFigures], rows: Iterable[Row]) -> list[Group]:
    """Return a group per model and level, in the order of the cells; tool success rates from the highest down."""

    def place(key: CellKey) -> tuple[str, str]:
        return key.model, getattr(key, shape.level) if shape.level else ""

    names = list(dict.fromkeys(place(key) for key in cells))
    models, levels = (list(dict.fromkeys(column)) for column in zip(*names, strict=True)) if names else ([], [])
    if shape.level == "rate":
        levels.sort(key=float, reverse=True)
    if shape.reference in levels:
        levels.sort(key=shape.reference.__ne__)
    names.sort(key=lambda name: (models.index(name[0]), levels.index(name[1])))
    parts: dict[tuple[str, str], list[CellFigures]] = {name: [] for name in names}
    for key, figures in cells.items():
        parts[place(key)].append(figures)
    own: dict[tuple[str, str], list[Row]] = {name: [] for name in names}
    for row in rows:
        own[place(key_of(row))].append(row)
    return [
        Group(
            model=name[0],
            level=name[1],
            rows=tuple(own[name]),
            figures=pool(parts[name]),
            interval=clustered_rate_interval(_counts(own[name])),
        )
        for name in names
    ]


def _counts(rows: Iterable[Row]) -> Iterable[tuple[int, int]]:
    """Return (full successes, scored trials) per task."""
    tasks: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row["status"] == SCORED:
            full, n = tasks.get(row["task_id"], (0, 0))
            tasks[row["task_id"]] = full + int(is_full(row)), n + 1
    return tasks.values()


def _against(reference: str, groups: Sequence[Group], shape: Shape) -> list[Group]:
    """Return the groups with their comparison to the reference of the same model, all corrected as one family."""
    references = {group.model: group for group in groups if group.level == reference}
    compared = [place for place, one in enumerate(groups) if one.level != reference and one.model in references]
    comparisons = adjusted(
        compare(
            groups[place].rows,
            references[groups[place].model].rows,
            names=(groups[place].name, references[groups[place].model].name),
            on=shape.paired_on,
            scores=shape.scores,
        )
        for place in compared
    )
    versus = dict(zip(compared, comparisons, strict=True))
    return [replace(group, versus=versus.get(place)) for place, group in enumerate(groups)]


def slope(groups: Iterable[Group]) -> float | None:
    """Return the change of the full rate per unit of tool success rate, by least squares over the scored trials.

    None if they are not of two rates at least.
    """
    points = [(float(group.level), group.figures.full, group.figures.scored) for group in groups]
    n = sum(scored for _, _, scored in points)
    if not n:
        return None
    mean = fsum(rate * scored for rate, _, scored in points) / n
    spread = fsum((rate - mean) ** 2 * scored for rate, _, scored in points)
    return fsum((rate - mean) * full for rate, full, _ in points) / spread if spread > 1e-12 else None
