"""Which plots a report has: what each compares, what it holds fixed, and the words that go with it.

A plot that has nothing to show is left out. Every plot has a table of the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from telemetry.exports import COUNT, SHARE, Field, Table
from telemetry.report.bars import bars, ranges
from telemetry.report.dots import Groups, dot_plot, rate_lines
from telemetry.report.facts import PHASES, Facts, Rate, rate_of
from telemetry.report.svg import Drawing
from trials.accounting import CellKey
from trials.words import QUESTION

FLAWED = "flawed_"
CONTROL = "optimal, same tasks"
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot. ``name`` makes file names and ids, ``caption`` says how to read it, ``draw`` fills a drawing."""

    name: str
    title: str
    caption: str
    draw: Callable[[Drawing], None]
    table: Table | None = None

    def at(self, width: float) -> Drawing:
        """Return the drawing at a width in pixels."""
        drawing = Drawing(width, self.title, self.caption)
        self.draw(drawing)
        return drawing


def rate_figures(facts: Facts) -> Iterator[Figure]:
    """Yield success by prompt type, by tool reliability, by flaw and by difficulty, as far as the rows vary them."""
    for one in (_by_prompt(facts), _by_rate(facts), _by_flaw(facts), _by_difficulty(facts)):
        if one is not None:
            yield one


def _by_prompt(facts: Facts) -> Figure | None:
    keys, fixed = _mode(_workflows(facts), "rate", "difficulty")
    groups = _groups(facts, keys, lambda key: key.prompt_type)
    if len(groups) < 2 and len(_models(groups)) < 2:
        return None
    groups = dict(sorted(groups.items(), key=lambda item: (item[0].startswith(FLAWED), item[0])))
    return _dots("success-by-prompt-type", "Full success by prompt type", groups, "prompt type", fixed)


def _by_difficulty(facts: Facts) -> Figure | None:
    keys, fixed = _mode(_workflows(facts), "difficulty", "prompt_type", "rate", spread=True)
    groups = _groups(facts, keys, lambda key: key.difficulty)
    if len(groups) < 2:
        return None
    return _dots("success-by-difficulty", "Full success by difficulty", groups, "difficulty", fixed)


def _by_rate(facts: Facts) -> Figure | None:
    keys, fixed = _mode(_workflows(facts), "rate", "prompt_type", "difficulty", spread=True)
    groups = _groups(facts, keys, lambda key: key.rate)
    if len(groups) < 2:
        return None
    series = _models(groups)
    return Figure(
        name="success-by-tool-reliability",
        title="Full success by tool reliability",
        caption=f"How often a tool call succeeds falls from left to right. {fixed} {_INTERVALS}",
        draw=lambda drawing: rate_lines(drawing, groups, series, "tool success rate"),
        table=_rate_table("Full success by tool reliability", "tool rate", groups),
    )


def _by_flaw(facts: Facts) -> Figure | None:
    flawed = [key for key in facts.cells if key.prompt_type.startswith(FLAWED)]
    keys, fixed = _mode(flawed, "rate", "difficulty")
    if not keys:
        return None
    groups = _groups(facts, keys, lambda key: key.prompt_type.removeprefix(FLAWED))
    levels = {(key.rate, key.difficulty) for key in keys}
    control: dict[str, Rate] = {}
    for model in _models(groups):
        tasks = facts.counts(key for key in keys if key.model == model)
        optimal = facts.counts(
            key
            for key in facts.cells
            if (key.model, key.prompt_type) == (model, "optimal") and (key.rate, key.difficulty) in levels
        )
        rate = rate_of({task: count for task, count in optimal.items() if task in tasks})
        if rate is not None:
            control[model] = rate
    against = " Dashed: the optimal plan on the same tasks." if control else ""
    every = {CONTROL: control, **groups} if control else groups
    return _dots("success-by-flaw", "Full success by flaw", every, "flaw", f"{fixed}{against}", CONTROL)


def subject_figure(facts: Facts) -> Figure | None:
    """Return the accuracy per subject of question banks, the best known first; None without any question."""
    groups: dict[str, dict[str, Rate]] = {}
    for (model, subject), answers in facts.answers.items():
        rate = answers.rate()
        if rate is not None:
            groups.setdefault(subject, {})[model] = rate
    if not groups:
        return None

    def best(item: tuple[str, dict[str, Rate]]) -> tuple[float, str]:
        return -max(rate.share for rate in item[1].values()), item[0]

    ranked = dict(sorted(groups.items(), key=best))
    told = "Mean score of the answers to the questions of each subject."
    return _dots("accuracy-by-subject", "Accuracy by subject", ranked, "subject", told)


def phase_figure(facts: Facts) -> Figure | None:
    """Return where the time of a trial went; None if nobody was asked."""
    if not len(facts.phases["whole"]):
        return None
    points = {PHASES[name]: percentiles_of(facts, name) for name in PHASES}
    return Figure(
        name="latency-by-phase",
        title="Where a trial's time went",
        caption="From the median (dot) over the 90th, 95th and 99th to the 99.9th percentile, per trial; the scale is"
        " logarithmic. The whole counts from the moment the trial was due, so waiting in line is in it.",
        draw=lambda drawing: ranges(drawing, points),
    )


def percentiles_of(facts: Facts, phase: str) -> list[float]:
    """Return the ``PERCENTILES`` of a phase in milliseconds."""
    return [facts.phases[phase].percentile(q) for q in PERCENTILES]


def error_figures(facts: Facts) -> Iterator[Figure]:
    """Yield why scored trials fell short, and why others have no score."""
    for name, title, field in (
        ("why-trials-fell-short", "Why scored trials fell short", "error_categories"),
        ("why-trials-have-no-score", "Why trials have no score", "missing_reasons"),
    ):
        counts: dict[str, Counter[str]] = {}
        for key, figures in facts.cells.items():
            for category, n in getattr(figures, field).items():
                counts.setdefault(category, Counter())[key.model] += n
        if counts:
            ranked = dict(sorted(counts.items(), key=lambda item: (-item[1].total(), item[0])))
            yield _bars(name, title, ranked)


def _bars(name: str, title: str, counts: Mapping[str, Mapping[str, int]]) -> Figure:
    series = list(dict.fromkeys(model for parts in counts.values() for model in parts))
    rows = [(category, model, n) for category, parts in counts.items() for model, n in parts.items()]
    columns = (
        Field(key="category", title="category"),
        Field(key="model", title="model"),
        Field(key="trials", title="trials", kind=COUNT),
    )
    return Figure(
        name=name,
        title=title,
        caption="Trials by error category" + (", a part per model." if len(series) > 1 else "."),
        draw=lambda drawing: bars(drawing, counts, series),
        table=Table(title=title, columns=columns, rows=tuple(rows)),
    )


_INTERVALS = "Whiskers: 95 % intervals (Wilson's, widened for tasks that were asked several times)."


def _dots(name: str, title: str, groups: Groups, level: str, told: str, reference: str = "") -> Figure:
    series = _models(groups)
    return Figure(
        name=name,
        title=title,
        caption=f"{told} {_INTERVALS}",
        draw=lambda drawing: dot_plot(drawing, groups, series, reference),
        table=_rate_table(title, level, groups),
    )


def _rate_table(title: str, level: str, groups: Groups) -> Table:
    columns = (
        Field(key="level", title=level),
        Field(key="model", title="model"),
        Field(key="n", title="n", kind=COUNT),
        Field(key="rate", title="%", kind=SHARE),
        Field(key="interval", title="95 % interval", kind=SHARE, pair=True),
    )
    rows = tuple(
        (name, model, rate.n, rate.share, (rate.interval.low, rate.interval.high))
        for name, rates in groups.items()
        for model, rate in rates.items()
    )
    return Table(title=title, columns=columns, rows=rows)


def _groups(facts: Facts, keys: Sequence[CellKey], level: Callable[[CellKey], str]) -> dict[str, dict[str, Rate]]:
    """Return level → model → rate over cells, in their order."""
    members: dict[str, dict[str, list[CellKey]]] = {}
    for key in keys:
        members.setdefault(level(key), {}).setdefault(key.model, []).append(key)
    rates = {
        name: {model: rate for model, own in models.items() if (rate := rate_of(facts.counts(own))) is not None}
        for name, models in members.items()
    }
    return {name: models for name, models in rates.items() if models}


def _models(groups: Groups) -> list[str]:
    return sorted({model for rates in groups.values() for model in rates})


def _workflows(facts: Facts) -> list[CellKey]:
    return [key for key in facts.cells if key.prompt_type != QUESTION]


def _mode(keys: Iterable[CellKey], *names: str, spread: bool = False) -> tuple[list[CellKey], str]:
    """Return the cells of one condition and the words for it: what a plot does not compare must not vary in it.

    Chosen are the levels of the fields named that most cells have. With ``spread`` the first field is the one compared:
    chosen are the levels of the others at which it varies most, ties broken in favour of more cells.
    """
    by: dict[tuple[str, ...], list[CellKey]] = {}
    fixed = names[1:] if spread else names
    for key in keys:
        by.setdefault(tuple(getattr(key, name) for name in fixed), []).append(key)
    if not by:
        return [], ""

    def merit(levels: tuple[str, ...]) -> tuple[int, int]:
        cells = by[levels]
        return (len({getattr(key, names[0]) for key in cells}) if spread else 0), len(cells)

    chosen = max(by, key=merit)
    told = ", ".join(f"{_TITLES[name]} {level}" for name, level in zip(fixed, chosen, strict=True))
    return by[chosen], f"Trials with {told}." if len(by) > 1 else f"All trials: {told}."


_TITLES = {"rate": "tool rate", "difficulty": "difficulty", "prompt_type": "prompt type"}
