"""Takes the rows of a store one at a time and keeps what the report's figures are made of.

Memory grows with tasks and conditions, not with replies. Rates, intervals and what counts follow ``trials.accounting``:
of each cell only the rows of its newest variant. What a row does not tell, such as when each 429 came, is not made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import fsum

from telemetry.latency import LatencyHistogram
from telemetry.question_tally import QuestionTally
from telemetry.report.timeline import Timeline
from trials.accounting import CellFigures, CellKey, Tally, key_of
from trials.rows import Row
from trials.statistics import Interval, clustered_rate_interval, score_interval
from trials.words import FULL, QUESTION, SCORED

"""The prompt type of rows that come from a question bank."""

Counts = dict[str, tuple[int, int]]
"""Task → (full successes, scored trials)."""

PHASES = {
    "queue": "queue in the shard",
    "limiter": "rate limiter",
    "retry": "pause before retries",
    "provider": "provider",
    "rest": "failed attempts, tools, scoring",
    "whole": "whole, from when it was due",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share with its 95 % interval, and the number of values behind it."""

    share: float
    interval: Interval
    n: int


@dataclass(slots=True, kw_only=True)
class Spent:
    """What a model has used. ``cost_usd`` is None as long as no row says what it cost."""

    trials: int = 0
    requests: int = 0
    attempts: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    def add(self, row: Row) -> None:
        """Count one row."""
        self.trials += 1
        for name in ("requests", "attempts", "cache_hits", "prompt_tokens", "completion_tokens"):
            setattr(self, name, getattr(self, name) + (row.get(name) or 0))
        if row.get("cost_usd") is not None:
            self.cost_usd = (self.cost_usd or 0.0) + row["cost_usd"]


@dataclass(slots=True, kw_only=True)
class Answers:
    """The scores of one subject of a question bank, by question."""

    scores: dict[str, list[float]] = field(default_factory=dict)

    def rate(self) -> Rate | None:
        """Return the mean score; None without any.

        Scores of 0 and 1 have the interval of any rate. Others have Wilson's on as many trials as there are questions,
        which is on the wide side: no score in [0, 1] spreads more than a yes or no of the same mean.
        """
        values = [score for scores in self.scores.values() for score in scores]
        if not values:
            return None
        mean = fsum(values) / len(values)
        if all(value in (0.0, 1.0) for value in values):
            interval = clustered_rate_interval((int(sum(scores)), len(scores)) for scores in self.scores.values())
        else:
            interval = score_interval(min(max(mean, 0.0), 1.0), len(self.scores))
        return Rate(share=mean, interval=interval, n=len(values))


class Facts:
    """All sums of a report. Feed it with ``add``; not safe to share between threads."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.phases = {name: LatencyHistogram() for name in PHASES}
        self.spent: dict[str, Spent] = {}
        self.answers: dict[tuple[str, str], Answers] = {}
        self.questions = QuestionTally(epochs=2)  # how many there are, only the rows tell
        self.rows = 0
        self.cached = 0
        self.simulated = False
        self.runs: set[str] = set()
        self._tally = Tally()
        self._tasks: dict[tuple[CellKey, str], Counts] = {}
        self._names: dict[str, str] = {}
        self._cells: dict[CellKey, CellFigures] | None = None

    def add(self, row: Row) -> None:
        """Count one row. Raises StoreError for a status or outcome that is none of ours."""
        self._cells = None
        self._tally.add(row)
        self.rows += 1
        self.simulated = self.simulated or bool(row.get("simulated"))
        self.runs.add(row.get("run_id") or "")
        self.spent.setdefault(row["model"], Spent()).add(row)
        self.timeline.add(row)
        self._time(row)
        if row["prompt_type"] == QUESTION:
            self.questions.add(row)
        if row["status"] == SCORED:
            self._score(row)

    @property
    def cells(self) -> Mapping[CellKey, CellFigures]:
        """The figures of every cell."""
        if self._cells is None:
            self._cells = self._tally.cells()
        return self._cells

    def counts(self, keys: Iterable[CellKey]) -> Counts:
        """Return the tasks of some cells together, of the variant of each that counts."""
        total: Counts = {}
        for key in keys:
            for task, (full, n) in self._tasks.get((key, self.cells[key].variant), {}).items():
                before = total.get(task, (0, 0))
                total[task] = before[0] + full, before[1] + n
        return total

    def _score(self, row: Row) -> None:
        task = self._names.setdefault(row["task_id"] or "", row["task_id"] or "")
        counts = self._tasks.setdefault((key_of(row), row.get("variant") or ""), {})
        full, n = counts.get(task, (0, 0))
        counts[task] = full + (row.get("outcome") == FULL), n + 1
        if row["prompt_type"] == QUESTION and row.get("score") is not None:
            answers = self.answers.setdefault((row["model"], row["task_type"]), Answers())
            answers.scores.setdefault(task, []).append(row["score"])

    def _time(self, row: Row) -> None:
        """Count where a trial's time went. One answered by the cache alone asked nobody, and is no latency."""
        if row.get("requests") and (row.get("cache_hits") or 0) >= row["requests"]:
            self.cached += 1
            return
        for name, ms in _phases_of(row):
            self.phases[name].record(ms)


def _phases_of(row: Row) -> Iterator[tuple[str, float]]:
    queue, duration = row.get("queue_ms") or 0.0, row.get("duration_ms") or 0.0
    spent = {"limiter": "rate_wait_ms", "retry": "retry_wait_ms", "provider": "provider_ms"}
    parts = {name: row.get(column) or 0.0 for name, column in spent.items()}
    yield "queue", queue
    yield from parts.items()
    yield "rest", max(0.0, duration - sum(parts.values()))
    yield "whole", queue + duration


def rate_of(counts: Counts) -> Rate | None:
    """Return the rate of full success over tasks; None if nothing has a score."""
    full, n = sum(one for one, _ in counts.values()), sum(n for _, n in counts.values())
    return Rate(share=full / n, interval=clustered_rate_interval(counts.values()), n=n) if n else None
