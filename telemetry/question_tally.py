"""Adds up the result rows of a question bank by model and subject, in one pass.

Memory is flat with one epoch; with more, a small counter per question is kept as well. It expects at most one row per
trial key; choosing that row is the store's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from telemetry.latency import LatencyHistogram
from trials.answer_votes import answer_of
from trials.epochs import EpochFigures, summary
from trials.question_figures import QuestionFigures
from trials.rows import Row
from trials.statistics import Interval, clustered_rate_interval, score_interval
from trials.words import FULL, HARNESS_ERROR, PROVIDER_ERROR, SCORED

NO_ANSWER = "no_answer"
UNMARKED = frozenset({"uncheckable"})

ALIKE = ("model", "variant", "task_type", "status", "outcome", "error_category")
SUMMED = ("cache_hits", "prompt_tokens", "completion_tokens")
TALLIED = (*ALIKE, *SUMMED, "task_id", "epoch", "ended_at", "answer", "target", "score", "requests", "provider_ms")
"""The fields of a row that the tally reads."""


class _Part:
    """What is counted of one model, variant and subject."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.score = 0.0
        self.latency = LatencyHistogram()
        self.epochs = EpochFigures()

    def add(self, row: Row, sums: Mapping[str, float], latencies_ms: Iterable[float]) -> None:
        rows = int(sums["rows"])
        self.counts[row["status"]] += rows
        if row["status"] != SCORED:
            return
        right = rows if row["outcome"] == FULL else 0
        self.score += sums["score"] if sums["with_score"] else right
        self.counts.update(
            right=right,
            no_answer=rows * (row["error_category"] == NO_ANSWER),
            unmarked=rows * (row["error_category"] in UNMARKED),
            **{name: int(sums[name]) for name in SUMMED},
        )
        for latency_ms in latencies_ms:
            self.latency.record(latency_ms)


class QuestionTally:
    """Takes rows one by one, and gives figures at any time. Not safe between threads.

    ``planned`` counts trials by (model, subject); what it leaves out has as many as there are rows. ``epochs`` is the
    most that a question was asked. Of a model that was asked with several settings, the newest rows' count.
    """

    def __init__(self, planned: Mapping[tuple[str, str], int] | None = None, *, epochs: int = 1) -> None:
        self._planned = dict(planned or {})
        self._several_epochs = epochs > 1
        self._parts: dict[tuple[str, str, str], _Part] = {}
        self._newest: dict[str, tuple[float, str]] = {}

    def add(self, row: Row) -> None:
        """Count one result row. Raises ValueError for a second epoch in a tally of one."""
        if row["epoch"] and not self._several_epochs:
            raise ValueError(f"question {row['task_id']} has epoch {row['epoch']}, and the tally is of one epoch")
        called = row["status"] == SCORED and not row["cache_hits"] and row["provider_ms"]
        latencies = [row["provider_ms"] / max(1, row["requests"] or 1)] if called else []
        sums = {name: row[name] or 0 for name in SUMMED}
        part = self.add_alike(
            row, {"rows": 1, "with_score": row["score"] is not None, "score": row["score"] or 0.0, **sums}, latencies
        )
        if self._several_epochs and row["status"] == SCORED:
            part.epochs.add(row["task_id"], answer_of(row) or None, row["outcome"] == FULL)

    def add_alike(self, row: Row, sums: Mapping[str, float], latencies_ms: Iterable[float]) -> _Part:
        """Count several rows that are equal in ``ALIKE``; of ``ended_at``, ``row`` has the latest.

        ``sums`` are of ``rows``, ``with_score`` (how many have one), ``score`` and of each of ``SUMMED``;
        ``latencies_ms`` those of the scored rows that no cache answered, per request.
        """
        model, variant = row["model"], row["variant"] or ""
        place = (model, variant, row["task_type"] or "")
        part = self._parts.get(place)
        if part is None:
            part = self._parts[place] = _Part()
        part.add(row, sums, latencies_ms)
        self._newest[model] = max(self._newest.get(model, (0.0, "")), (row["ended_at"] or 0.0, variant))
        return part

    def figures(self) -> list[QuestionFigures]:
        """Return of each model, by name, its subjects and then all of them together, whose subject is empty."""
        found: list[QuestionFigures] = []
        for model in sorted({model for model, _ in self._planned} | set(self._newest)):
            parts = self._counting(model)
            found += [self._of(model, subject, [part]) for subject, part in sorted(parts.items())]
            found.append(self._of(model, "", list(parts.values())))
        return found

    def _counting(self, model: str) -> dict[str, _Part]:
        variant = self._newest.get(model, (0.0, ""))[1]
        subjects = {subject for of_model, subject in self._planned if of_model == model}
        parts = {subject: _Part() for subject in subjects}
        parts |= {name: part for (m, v, name), part in self._parts.items() if (m, v) == (model, variant)}
        return parts

    def _of(self, model: str, subject: str, parts: Sequence[_Part]) -> QuestionFigures:
        counts: Counter[str] = sum((part.counts for part in parts), Counter())
        rows = counts[SCORED] + counts[PROVIDER_ERROR] + counts[HARNESS_ERROR]
        latency = LatencyHistogram()
        for part in parts:
            latency.merge(part.latency)
        calls = len(latency)
        return QuestionFigures(
            model=model,
            subject=subject,
            planned=max(rows, self._planned_of(model, subject)),
            scored=counts[SCORED],
            provider_errors=counts[PROVIDER_ERROR],
            harness_errors=counts[HARNESS_ERROR],
            left_out=self._left_out(model, subject),
            right=counts["right"],
            score=sum(part.score for part in parts),
            interval=self._interval(counts, parts),
            no_answer=counts["no_answer"],
            unmarked=counts["unmarked"],
            cache_hits=counts["cache_hits"],
            calls=calls,
            p50_ms=latency.percentile(50) if calls else None,
            p99_ms=latency.percentile(99) if calls else None,
            prompt_tokens=counts["prompt_tokens"],
            completion_tokens=counts["completion_tokens"],
            epochs=summary(part.epochs for part in parts) if self._several_epochs else None,
        )

    def _planned_of(self, model: str, subject: str) -> int:
        return sum(n for (m, s), n in self._planned.items() if m == model and subject in ("", s))

    def _left_out(self, model: str, subject: str) -> int:
        newest = self._newest.get(model, (0.0, ""))[1]
        return sum(
            part.counts[SCORED] + part.counts[PROVIDER_ERROR] + part.counts[HARNESS_ERROR]
            for (m, variant, s), part in self._parts.items()
            if m == model and variant != newest and subject in ("", s)
        )

    def _interval(self, counts: Counter[str], parts: Iterable[_Part]) -> Interval:
        if self._several_epochs:
            return clustered_rate_interval(one for part in parts for one in part.epochs.counts())
        scored = counts[SCORED]
        return score_interval(counts["right"] / scored if scored else 0.0, scored)
