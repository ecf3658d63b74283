"""From result rows to figures: counts, rates with intervals, means, and what is missing.

Pure and streaming: a tally holds a few numbers per cell, however many rows it is fed. It expects at most one row per
trial key; choosing that row is the store's business. It compares nothing: tests between cells live elsewhere.

Intervals of rates are the score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical
inference", J. Am. Stat. Assoc. 22 (1927) 209, which stays inside [0, 1] and works at 0 and at n successes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trials.errors import StoreError
from trials.rows import Row
from trials.statistics import score_interval
from trials.words import FAILURE, FULL, HARNESS_ERROR, OUTCOMES, PARTIAL, PENDING, PROVIDER_ERROR, SCORED

COSTS = ("turns", "tool_calls", "tool_failures", "requests", "prompt_tokens", "completion_tokens", "cost_usd")
SCORES = ("coverage", "order", "execution", "recovery", "efficiency", "followed_flaw", "recovered")
MIXED = "mixed"
_AVERAGED = ("duration_ms", *COSTS, *SCORES)
_DIFFICULTIES = ("very_easy", "easy", "medium", "hard", "very_hard")


class CellKey(NamedTuple):
    """Name of a cell: the levels of the summary, outermost first. ``rate`` is spelt by ``rate_name``."""

    model: str
    prompt_type: str
    rate: str
    difficulty: str
    task_type: str


def rate_name(tool_success_rate: float) -> str:
    """Spell a tool success rate as a key: rounded to 4 decimals."""
    return str(round(float(tool_success_rate), 4))


def key_of(row: Row) -> CellKey:
    """Return the cell that a result row belongs to."""
    return CellKey(
        row["model"],
        row["prompt_type"],
        rate_name(row["tool_success_rate"]),
        row["difficulty"],
        row["task_type"],
    )


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion; (0, 1) when nothing was tried."""
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise ValueError(f"no interval for {successes} of {n} at confidence {confidence}")
    if n == 0:
        return 0.0, 1.0
    return score_interval(successes / n, n, confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean that can still be pooled: how many values there were, and their sum."""

    n: int = 0
    total: float = 0.0

    @property
    def value(self) -> float | None:
        """The mean, or None when no row had a value."""
        return self.total / self.n if self.n else None

    def __add__(self, other: Mean) -> Mean:
        return Mean(n=self.n + other.n, total=self.total + other.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFigures:
    """What is known of one cell, or of several pooled ones.

    ``planned`` is never less than the rows there are, so ``scored + provider_errors + harness_errors + pending =
    planned`` holds by construction. ``left_out`` counts rows of other variants, which are in no other figure. Means
    are over scored rows that have the value; ``error_categories`` says why scored trials fell short,
    ``missing_reasons`` why ended ones have no score.
    """

    planned: int = 0
    full: int = 0
    partial: int = 0
    failed: int = 0
    provider_errors: int = 0
    harness_errors: int = 0
    left_out: int = 0
    variant: str = ""
    means: Mapping[str, Mean] = field(default_factory=dict)
    error_categories: Mapping[str, int] = field(default_factory=dict)
    missing_reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def scored(self) -> int:
        """Trials with a score: the denominator of every rate."""
        return self.full + self.partial + self.failed

    @property
    def pending(self) -> int:
        """Planned trials that have not ended."""
        return self.planned - self.scored - self.provider_errors - self.harness_errors

    @property
    def coverage(self) -> float | None:
        """Share of the planned trials that have a score; None when nothing was planned."""
        return self.scored / self.planned if self.planned else None

    @property
    def full_rate(self) -> float | None:
        """Share of full successes among the scored trials; None without any."""
        return self._share(self.full)

    @property
    def partial_rate(self) -> float | None:
        """Share of partial successes among the scored trials; None without any."""
        return self._share(self.partial)

    @property
    def failure_rate(self) -> float | None:
        """Share of failures among the scored trials; None without any."""
        return self._share(self.failed)

    @property
    def weighted_success(self) -> float | None:
        """(full + 0.5 partial) / scored; None without a scored trial."""
        return self._share(self.full + 0.5 * self.partial)

    @property
    def full_interval(self) -> tuple[float, float]:
        """95 % interval of the full rate."""
        return wilson(self.full, self.scored)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The full rate if all missing trials had failed, and if all had succeeded; None if none was planned."""
        if not self.planned:
            return None
        return self.full / self.planned, (self.full + self.planned - self.scored) / self.planned

    def _share(self, amount: float) -> float | None:
        return amount / self.scored if self.scored else None

    def to_json(self) -> dict[str, Any]:
        """Return the leaf of a summary: JSON-like, every figure beside what it needs to be believed."""
        return {
            "planned": self.planned,
            SCORED: self.scored,
            PROVIDER_ERROR: self.provider_errors,
            HARNESS_ERROR: self.harness_errors,
            PENDING: self.pending,
            FULL: self.full,
            PARTIAL: self.partial,
            FAILURE: self.failed,
            "left_out": self.left_out,
            "variant": self.variant,
            "coverage": self.coverage,
            "rates": {
                FULL: _rate(self.full, self.scored),
                PARTIAL: _rate(self.partial, self.scored),
                FAILURE: _rate(self.failed, self.scored),
            },
            "bounds": list(self.bounds) if self.bounds else None,
            "weighted_success": self.weighted_success,
            "means": {name: self._mean(name) for name in ("duration_s", *COSTS)},
            "scores": {name: self._mean(name) for name in SCORES},
            "error_categories": dict(self.error_categories),
            "missing_reasons": dict(self.missing_reasons),
        }

    def _mean(self, name: str) -> float | None:
        return self.means[name].value if name in self.means else None


def _rate(successes: int, n: int) -> dict[str, Any]:
    return {"rate": successes / n if n else None, "interval": list(wilson(successes, n))}


def pool(figures: Iterable[CellFigures]) -> CellFigures:
    """Add up the figures of several cells. ``variant`` is ``mixed`` if theirs differ; whoever shows it must say so."""
    parts = list(figures)
    means: dict[str, Mean] = {}
    for part in parts:
        for name, mean in part.means.items():
            means[name] = means.get(name, Mean()) + mean
    variants = {part.variant for part in parts if part.variant}
    return CellFigures(
        planned=sum(part.planned for part in parts),
        full=sum(part.full for part in parts),
        partial=sum(part.partial for part in parts),
        failed=sum(part.failed for part in parts),
        provider_errors=sum(part.provider_errors for part in parts),
        harness_errors=sum(part.harness_errors for part in parts),
        left_out=sum(part.left_out for part in parts),
        variant=MIXED if len(variants) > 1 else "".join(variants),
        means=means,
        error_categories=_ranked(_added(part.error_categories for part in parts)),
        missing_reasons=_ranked(_added(part.missing_reasons for part in parts)),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _ranked(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, equal ones by name, so that equal rows make equal files whatever their order."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class _Variant:
    """Running sums over the rows of one variant of one cell."""

    __slots__ = ("categories", "counts", "newest", "reasons", "rows", "sizes", "sums")

    def __init__(self) -> None:
        self.rows = 0
        self.newest = float("-inf")
        self.counts: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.sizes = dict.fromkeys(_AVERAGED, 0)
        self.sums = dict.fromkeys(_AVERAGED, 0.0)

    def add(self, row: Row) -> None:
        self._count(row, 1)
        if row["status"] == SCORED:
            for name in _AVERAGED:
                value = row.get(name)
                if value is not None and value == value:  # data frames hand back NaN for None
                    self.sizes[name] += 1
                    self.sums[name] += value

    def add_alike(self, row: Row, rows: int, means: Mapping[str, Mean]) -> None:
        self._count(row, rows)
        if row["status"] == SCORED:
            for name, mean in means.items():
                self.sizes[name] += mean.n
                self.sums[name] += mean.total

    def _count(self, row: Row, rows: int) -> None:
        status, outcome, category = row["status"], row.get("outcome"), row.get("error_category")
        if status == SCORED:
            if outcome not in OUTCOMES:
                raise StoreError(f"result row of trial {row.get('trial_key')}: unknown outcome {outcome!r}")
            self.counts[outcome] += rows
            if category:
                self.categories[category] += rows
        elif status in (PROVIDER_ERROR, HARNESS_ERROR):
            self.counts[status] += rows
            self.reasons[category or status] += rows
        else:
            raise StoreError(f"result row of trial {row.get('trial_key')}: unknown status {status!r}")
        self.rows += rows
        self.newest = max(self.newest, row.get("ended_at") or 0.0)

    def figures(self, planned: int, left_out: int, variant: str) -> CellFigures:
        means = {name: Mean(n=self.sizes[name], total=self.sums[name]) for name in _AVERAGED}
        duration = means.pop("duration_ms")
        means["duration_s"] = Mean(n=duration.n, total=duration.total / 1000)
        return CellFigures(
            planned=max(planned, self.rows),
            full=self.counts[FULL],
            partial=self.counts[PARTIAL],
            failed=self.counts[FAILURE],
            provider_errors=self.counts[PROVIDER_ERROR],
            harness_errors=self.counts[HARNESS_ERROR],
            left_out=left_out,
            variant=variant,
            means=means,
            error_categories=_ranked(self.categories),
            missing_reasons=_ranked(self.reasons),
        )


class Tally:
    """Takes rows one at a time and tells the figures per cell; memory grows with cells, not with rows.

    ``planned`` maps cells to their numbers of trials; a cell without a row is then all pending, a cell it does not
    name is taken as planned as far as it has rows. ``variants`` fixes which variant of a cell counts; otherwise it is
    that of the cell's newest row. Not safe to share between threads.
    """

    def __init__(
        self,
        planned: Mapping[CellKey, int] | None = None,
        variants: Mapping[CellKey, str] | None = None,
    ) -> None:
        self._planned = dict(planned or {})
        self._chosen = dict(variants or {})
        self._seen: dict[CellKey, dict[str, _Variant]] = {}

    def add(self, row: Row) -> None:
        """Count one row. Raises StoreError for a status or outcome that is none of ours."""
        self._variant(row).add(row)

    def add_alike(self, row: Row, rows: int, means: Mapping[str, Mean]) -> None:
        """Count several rows at once that differ only in ``ended_at``, whose latest ``row`` has, and averaged values.

        ``means`` are these values' (those of unscored rows count for nothing). Raises StoreError as ``add`` does.
        """
        self._variant(row).add_alike(row, rows, means)

    def _variant(self, row: Row) -> _Variant:
        variants = self._seen.setdefault(key_of(row), {})
        name = row.get("variant") or ""
        if name not in variants:
            variants[name] = _Variant()
        return variants[name]

    def cells(self) -> dict[CellKey, CellFigures]:
        """Return the figures of every planned or seen cell: in the plan's order, the others sorted behind."""
        unplanned = sorted(self._seen.keys() - self._planned.keys(), key=_natural)
        return {key: self._figures(key) for key in (*self._planned, *unplanned)}

    def summary(self) -> dict[str, Any]:
        """Return the figures nested: model → prompt type → tool success rate → difficulty → task type → leaf."""
        tree: dict[str, Any] = {}
        for key, figures in sorted(self.cells().items(), key=lambda item: _natural(item[0])):
            branch = tree
            for level in key[:-1]:
                branch = branch.setdefault(level, {})
            branch[key.task_type] = figures.to_json()
        return tree

    def _figures(self, key: CellKey) -> CellFigures:
        variants = self._seen.get(key, {})
        chosen = self._chosen.get(key)
        if chosen is None:
            # Rows that ended at the same moment are told apart by name, so that order never matters.
            chosen = max(variants, key=lambda name: (variants[name].newest, name), default="")
        left_out = sum(one.rows for name, one in variants.items() if name != chosen)
        return variants.get(chosen, _Variant()).figures(self._planned.get(key, 0), left_out, chosen)


def _natural(key: CellKey) -> tuple[Any, ...]:
    known = key.difficulty in _DIFFICULTIES
    rank = _DIFFICULTIES.index(key.difficulty) if known else len(_DIFFICULTIES)
    return (key.model, key.prompt_type, float(key.rate), rank, key.difficulty, key.task_type)


def summarise(
    rows: Iterable[Row],
    planned: Mapping[CellKey, int] | None = None,
    variants: Mapping[CellKey, str] | None = None,
) -> dict[str, Any]:
    """Return the nested summary of some rows; see ``Tally`` for the arguments."""
    tally = Tally(planned, variants)
    for row in rows:
        tally.add(row)
    return tally.summary()
