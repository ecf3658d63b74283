"""What is known of one model on a question bank, or on one subject of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from trials.epochs import EpochSummary
from trials.statistics import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionFigures:
    """Counts are of trials: a question asked in three epochs counts three times.

    ``subject`` is empty for all subjects together. ``scored`` is what every share is of; provider errors are never the
    model's. ``right`` counts full scores, ``score`` is the sum of all scores, ``no_answer`` the replies from which no
    answer could be taken, ``unmarked`` those that count as wrong because the comparison came to no end. ``interval`` is
    that of the accuracy at 95 %, epochs of one question counting as belonging together. Latencies are those of calls
    that no cache answered, None without any; tokens are those of all scored trials, cached ones included. ``left_out``
    counts rows asked with other settings, which are in no other figure.
    """

    model: str
    subject: str = ""
    planned: int = 0
    scored: int = 0
    provider_errors: int = 0
    harness_errors: int = 0
    left_out: int = 0
    right: int = 0
    score: float = 0.0
    no_answer: int = 0
    unmarked: int = 0
    cache_hits: int = 0
    calls: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    epochs: EpochSummary | None = None
    interval: Interval = field(default_factory=lambda: Interval(0.0, 1.0))

    @property
    def pending(self) -> int:
        """Planned trials that have not ended."""
        return self.planned - self.scored - self.provider_errors - self.harness_errors

    @property
    def coverage(self) -> float | None:
        """Share of the planned trials that have a score; None when nothing was planned."""
        return self.scored / self.planned if self.planned else None

    @property
    def accuracy(self) -> float | None:
        """Share of right answers among the scored trials; None without any."""
        return self._share(self.right)

    @property
    def mean_score(self) -> float | None:
        """Mean score of the scored trials, which exceeds the accuracy where a scorer gives part of it."""
        return self._share(self.score)

    @property
    def no_answer_share(self) -> float | None:
        """Share of the scored trials without an answer; None without any."""
        return self._share(self.no_answer)

    def _share(self, amount: float) -> float | None:
        return amount / self.scored if self.scored else None
