"""Compares conditions on the same tasks: which rows pair, what is lost in pairing, and what the pairs say.

Only scored rows enter a comparison; how many do not is told. The test of two full rates counts tasks, not trials: on
each task the side with more full successes is ahead, and the tasks on which either is ahead take the exact sign test
(W. J. Dixon and A. M. Mood, J. Am. Stat. Assoc. 41 (1946) 557). With one pair per task, as without epochs, that is
McNemar's exact test; with several it stays valid, which McNemar's on trials would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from operator import itemgetter
from typing import Any

from trials.accounting import rate_name
from trials.rows import Row
from trials.statistics import (
    Difference,
    Interval,
    difference_interval,
    holm,
    mcnemar,
    paired_bootstrap,
)
from trials.words import FULL, PARTIAL, SCORED

PAIRED_ON = (
    "task_id",
    "epoch",
    "tool_success_rate",
    "difficulty",
    "seed",
    "max_turns",
    "tool_protocol",
    "definition",
)
"""Two rows form a pair if these are equal, so a benchmark that was changed in between gives no pairs."""

SIGNIFICANT = 0.05
"""The level at which an adjusted p is said to survive."""

_WEIGHTS = {FULL: 1.0, PARTIAL: 0.5}


def is_full(row: Row) -> float:
    """Return 1 for a full success, else 0."""
    return float(row["outcome"] == FULL)


def weight(row: Row) -> float:
    """Return what a row adds to weighted success: 1 for a full success, half for a partial one."""
    return _WEIGHTS.get(row["outcome"], 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Rows of two sides, put together.

    ``pairs`` are scored on both sides. ``lost`` counts pairs of which at least one row has no score, ``unpaired_a`` and
    ``unpaired_b`` scored rows whose task the other side was not asked, or not yet.
    """

    pairs: tuple[tuple[Row, Row], ...]
    lost: int
    unpaired_a: int
    unpaired_b: int

    def differences(self, measure: Callable[[Row], float | None]) -> dict[str, list[float]]:
        """Return a - b per task, of the pairs in which both rows have the measure."""
        by_task: dict[str, list[float]] = {}
        for a, b in self.pairs:
            of_a, of_b = measure(a), measure(b)
            if of_a is None or of_b is None or of_a != of_a or of_b != of_b:  # data frames hand back NaN for None
                continue
            by_task.setdefault(a["task_id"], []).append(of_a - of_b)
        return by_task


def pair(rows_a: Iterable[Row], rows_b: Iterable[Row], on: Sequence[str] = PAIRED_ON) -> Pairing:
    """Put rows together that agree in the fields ``on``. Raises ValueError if two rows of one side agree in them."""
    a, b = _by_place(rows_a, on), _by_place(rows_b, on)
    shared = [(a[place], b[place]) for place in a if place in b]
    pairs = tuple(both for both in shared if all(row["status"] == SCORED for row in both))
    return Pairing(
        pairs=pairs,
        lost=len(shared) - len(pairs),
        unpaired_a=sum(row["status"] == SCORED for place, row in a.items() if place not in b),
        unpaired_b=sum(row["status"] == SCORED for place, row in b.items() if place not in a),
    )


def _by_place(rows: Iterable[Row], on: Sequence[str]) -> dict[tuple[Any, ...], Row]:
    places: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        place = tuple(rate_name(row[name]) if name == "tool_success_rate" else row.get(name) for name in on)
        if place in places:
            told = ", ".join(f"{name} {value}" for name, value in zip(on, place, strict=True))
            raise ValueError(f"two rows of one side cannot both be paired: {told}")
        places[place] = row
    return places


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Side a against side b on the same tasks; every difference is a - b.

    Rates are those of the pairs, hence may differ from the rates of all rows. ``b`` counts pairs in which only side a
    was a full success, ``c`` those in which only side b was; ``ahead_a`` and ``ahead_b`` count tasks, and ``p`` tests
    them. ``adjusted_p`` is filled in by ``adjusted``. ``scores`` holds differences of further columns of the rows.
    Figures are None if there is no pair.
    """

    name_a: str
    name_b: str
    pairs: int
    tasks: int
    lost: int
    unpaired_a: int
    unpaired_b: int
    b: int
    c: int
    ahead_a: int
    ahead_b: int
    rate_a: float | None = None
    rate_b: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    p: float | None = None
    adjusted_p: float | None = None
    weighted: Difference | None = None
    scores: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def survives(self) -> bool:
        """Tell whether the difference of the full rates survives the correction for being one of many."""
        return self.adjusted_p is not None and self.adjusted_p <= SIGNIFICANT


def compare(
    rows_a: Iterable[Row],
    rows_b: Iterable[Row],
    *,
    names: tuple[str, str] = ("a", "b"),
    on: Sequence[str] = PAIRED_ON,
    scores: Sequence[str] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> PairedComparison:
    """Compare two sides on the tasks they share.

    ``scores`` names columns (``efficiency``) whose means are compared as well. Both sides should hold at most one row
    per trial key and one variant each. Raises ValueError if two rows of one side agree in ``on``.
    """
    pairing = pair(rows_a, rows_b, on)
    full = pairing.differences(is_full)
    counted = _counted(pairing, full, names)
    n = len(pairing.pairs)
    if not n:
        return counted
    measured = {name: pairing.differences(itemgetter(name)) for name in scores}
    return replace(
        counted,
        rate_a=sum(is_full(a) for a, _ in pairing.pairs) / n,
        rate_b=sum(is_full(b) for _, b in pairing.pairs) / n,
        difference=(counted.b - counted.c) / n,
        interval=difference_interval(full),
        p=mcnemar(counted.ahead_a, counted.ahead_b),
        weighted=paired_bootstrap(pairing.differences(weight), resamples=resamples, seed=seed),
        scores={name: paired_bootstrap(one, resamples=resamples, seed=seed) for name, one in measured.items() if one},
    )


def _counted(pairing: Pairing, full: Mapping[str, Sequence[float]], names: tuple[str, str]) -> PairedComparison:
    b, c = (sum(one.count(sign) for one in full.values()) for sign in (1, -1))
    ahead_a, ahead_b = (sum(sign * sum(one) > 0 for one in full.values()) for sign in (1, -1))
    return PairedComparison(
        name_a=names[0],
        name_b=names[1],
        pairs=len(pairing.pairs),
        tasks=len(full),
        lost=pairing.lost,
        unpaired_a=pairing.unpaired_a,
        unpaired_b=pairing.unpaired_b,
        b=b,
        c=c,
        ahead_a=ahead_a,
        ahead_b=ahead_b,
    )


def compare_all(
    groups: Mapping[str, Iterable[Row]],
    baseline: str | None = None,
    *,
    on: Sequence[str] = PAIRED_ON,
    scores: Sequence[str] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> list[PairedComparison]:
    """Compare every group with the baseline, or each two groups if none is named, adjusted as one family."""
    rows = {name: list(group) for name, group in groups.items()}
    if baseline is None:
        chosen = list(combinations(rows, 2))
    else:
        chosen = [(name, baseline) for name in rows if name != baseline]
    return adjusted(
        [
            compare(rows[a], rows[b], names=(a, b), on=on, scores=scores, resamples=resamples, seed=seed)
            for a, b in chosen
        ]
    )


def adjusted(comparisons: Iterable[PairedComparison]) -> list[PairedComparison]:
    """Return the comparisons with p adjusted by Holm's method over all of them that have a pair."""
    family = list(comparisons)
    corrected = iter(holm([one.p for one in family if one.p is not None]))
    return [one if one.p is None else replace(one, adjusted_p=next(corrected)) for one in family]
