"""What several epochs of one question tell: pass@k, the majority's vote, and how consistent a model is.

pass@k is the unbiased estimator of M. Chen et al., "Evaluating Large Language Models Trained on Code"
(arXiv:2107.03374, 2021), equation 1. Epochs without a score (a provider's error) are no epochs here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import comb, fsum


def pass_at_k(n: int, right: int, k: int) -> float:
    """Return the chance that of ``k`` answers drawn from ``n``, of which some are right, at least one is.

    Raises ValueError unless 0 <= right <= n and 1 <= k <= n.
    """
    if not 0 <= right <= n or not 1 <= k <= n:
        raise ValueError(f"no pass@{k} of {right} right answers among {n}")
    return 1 - comb(n - right, k) / comb(n, k)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSummary:
    """Means over questions, each counting once. ``epochs`` is the most that any question has.

    ``pass_at`` and ``behind`` are by k, from 1 to ``epochs``: the estimate, and how many questions have k epochs and
    so stand behind it. ``majority`` is the share of questions whose most frequent answer is right; ``consistency`` the
    chance that two epochs of a question answer the same, of the questions that have two, None if none has.
    """

    questions: int
    epochs: int
    pass_at: Mapping[int, float]
    behind: Mapping[int, int]
    majority: float | None
    consistency: float | None


class EpochFigures:
    """Counts answers by question: at most one small number pair per question and distinct answer."""

    def __init__(self) -> None:
        self._questions: dict[str, dict[str | None, tuple[int, int]]] = {}

    def add(self, question_id: str, answer: str | None, right: bool) -> None:
        """Count one epoch's answer. Equal texts are equal answers; None is a reply without one."""
        answers = self._questions.setdefault(question_id, {})
        n, good = answers.get(answer, (0, 0))
        answers[answer] = (n + 1, good + right)

    def counts(self) -> Iterator[tuple[int, int]]:
        """Yield (right, epochs) of each question, for an interval that knows which trials belong together."""
        for answers in self._questions.values():
            yield sum(good for _, good in answers.values()), sum(n for n, _ in answers.values())

    def figures(self) -> EpochSummary:
        """Return the figures of what was counted so far."""
        return summary((self,))

    def _answers(self) -> Iterable[Mapping[str | None, tuple[int, int]]]:
        return self._questions.values()


def summary(parts: Iterable[EpochFigures]) -> EpochSummary:
    """Return the figures of several counts together, which have no question in common."""
    parts = tuple(parts)
    sizes = [size for part in parts for size in part.counts()]
    epochs = max((n for _, n in sizes), default=0)
    passed = {k: [pass_at_k(n, right, k) for right, n in sizes if n >= k] for k in range(1, epochs + 1)}
    voted = [majority(answers) for part in parts for answers in part._answers()]
    alike = [share for part in parts for answers in part._answers() if (share := _agreement(answers)) is not None]
    return EpochSummary(
        questions=len(sizes),
        epochs=epochs,
        pass_at={k: fsum(values) / len(values) for k, values in passed.items()},
        behind={k: len(values) for k, values in passed.items()},
        majority=fsum(voted) / len(voted) if voted else None,
        consistency=fsum(alike) / len(alike) if alike else None,
    )


def majority(answers: Mapping[str | None, tuple[int, int]]) -> float:
    """Return how right the most frequent answer is, from (times given, times right) of each.

    Answers that are equally frequent count as the mean of theirs, which is what drawing one of them would give on
    average. Replies without an answer do not vote; a question that has no others is wrong.
    """
    votes = {answer: counts for answer, counts in answers.items() if answer is not None}
    if not votes:
        return 0.0
    most = max(n for n, _ in votes.values())
    first = [good / n for n, good in votes.values() if n == most]
    return fsum(first) / len(first)


def _agreement(answers: Mapping[str | None, tuple[int, int]]) -> float | None:
    n = sum(times for times, _ in answers.values())
    return sum(comb(times, 2) for times, _ in answers.values()) / comb(n, 2) if n > 1 else None
