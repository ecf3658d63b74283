"""Who is right when sources disagree: how good each source is and which answer is true, estimated from each other.

A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied
Statistics 28 (1979) 20-28. Their observers have a whole matrix of error rates over a fixed set of classes. Open answers
have no fixed set, hence three changes:

- A source has one number, its accuracy: it gives the true answer with this probability, and else any of the
  ``alternatives`` wrong ones alike. The label is a source as the models are.
- An item's candidates are the answers that it was given; the true one may also be one that nobody gave, for which as
  many places are left as ``alternatives`` + 1 exceeds the answers seen.
- ``alternatives`` is an effective number: one over the chance that two wrong models agree (E. H. Simpson, "Measurement
  of diversity", Nature 163 (1949) 688). It is re-estimated in each round, so that a bank on which wrong models agree
  often (four choices, popular mistakes) makes agreement count for less.

Accuracies are posterior modes under weak Beta priors, so that a few items cannot make a source infallible. Sources are
taken to err independently of each other given the item; where models share a mistake, they are believed too much.
An item's likelihood depends on nothing but who agrees with whom. Items are therefore counted by that pattern, and the
rounds go over patterns: a few hundred for five models, however large the bank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, log

Pattern = tuple[int, ...]
"""By source, the number of its answer among the item's distinct, or ``NONE``. Source 0 is the label, its answer 0."""
NONE = -1

LABEL_PRIOR = (18.0, 2.0)
MODEL_PRIOR = (3.0, 1.0)
"""Right and wrong answers that a source is credited with beforehand."""
ALTERNATIVES_PRIOR = (2.0, 3.0)
"""Pairs of wrong answers seen beforehand, and the effective number of alternatives that they show."""

MOST_ROUNDS = 1000
_CLOSE = 1e-7
_LEAST, _MOST = 1e-3, 1 - 1e-4
_MOST_ALTERNATIVES = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was estimated. ``accuracies`` are by source, the label's first; a source without answers has its prior's."""

    accuracies: tuple[float, ...]
    alternatives: float
    rounds: int = 0
    converged: bool = False

    def posterior(self, pattern: Pattern, answers: int = 0) -> tuple[float, ...]:
        """Return the probability of each distinct answer to be the true one, and last that none of them is.

        ``answers`` counts the distinct ones, if there are more than the pattern shows.
        """
        return _posterior(_supporters(pattern, answers), self._log_odds(), self.alternatives)

    def _log_odds(self) -> list[float]:
        """How much an answer speaks for itself: log of accuracy over the chance of just this wrong answer."""
        return [log(one * self.alternatives / (1 - one)) for one in self.accuracies]


Supporters = tuple[tuple[int, ...], ...]
"""Per distinct answer, the sources that gave it."""


def fit(patterns: Mapping[Pattern, int]) -> Fit:
    """Estimate accuracies and alternatives from how many items have each pattern. The same input gives the same output.

    Raises ValueError without a pattern, or if patterns differ in length.
    """
    lengths = {len(pattern) for pattern in patterns}
    if len(lengths) != 1:
        raise ValueError(f"patterns of {sorted(lengths)} sources cannot be fitted together")
    counted = [(_supporters(pattern), patterns[pattern]) for pattern in sorted(patterns)]
    sources = lengths.pop()
    now = Fit(accuracies=(0.9, *[0.75] * (sources - 1)), alternatives=ALTERNATIVES_PRIOR[1])
    for rounds in range(1, MOST_ROUNDS + 1):
        then, now = now, _improved(now, counted)
        if _distance(then, now) < _CLOSE:
            return Fit(accuracies=now.accuracies, alternatives=now.alternatives, rounds=rounds, converged=True)
    return Fit(accuracies=now.accuracies, alternatives=now.alternatives, rounds=MOST_ROUNDS)


def _distance(a: Fit, b: Fit) -> float:
    changes = [abs(x - y) for x, y in zip(a.accuracies, b.accuracies, strict=True)]
    return max(*changes, abs(log(a.alternatives / b.alternatives)))


def _supporters(pattern: Pattern, answers: int = 0) -> Supporters:
    groups: list[list[int]] = [[] for _ in range(max(answers, max(pattern) + 1))]
    for source, answer in enumerate(pattern):
        if answer != NONE:
            groups[answer].append(source)
    return tuple(map(tuple, groups))


def _posterior(supporters: Supporters, log_odds: list[float], alternatives: float) -> tuple[float, ...]:
    support = [sum(log_odds[source] for source in group) for group in supporters]
    highest = max(*support, 0.0)
    weights = [exp(one - highest) for one in support]
    weights.append(max(0.0, alternatives + 1 - len(support)) * exp(-highest))
    total = sum(weights)
    return tuple(one / total for one in weights)


def _improved(now: Fit, counted: Iterable[tuple[Supporters, int]]) -> Fit:
    """Go one round: weigh each item's candidates (E), then estimate the sources by them (M)."""
    log_odds = now._log_odds()
    sources = len(now.accuracies)
    right, given = [0.0] * sources, [0.0] * sources
    wrong_pairs = agreeing_pairs = 0.0
    for supporters, items in counted:
        posterior = _posterior(supporters, log_odds, now.alternatives)
        for group, share in zip(supporters, posterior, strict=False):
            for source in group:
                given[source] += items
                right[source] += items * share
        models = [len(group) - (0 in group) for group in supporters]
        answered, agreeing = sum(models), sum(map(_pairs, models))
        for share, believed in zip(posterior, (*models, 0), strict=True):
            wrong_pairs += items * share * _pairs(answered - believed)
            agreeing_pairs += items * share * (agreeing - _pairs(believed))
    priors = [LABEL_PRIOR, *[MODEL_PRIOR] * (sources - 1)]
    accuracies = [
        min(max((good + one) / (good + bad + all_), _LEAST), _MOST)
        for one, all_, (good, bad) in zip(right, given, priors, strict=True)
    ]
    seen, number = ALTERNATIVES_PRIOR
    alternatives = (wrong_pairs + seen) / (agreeing_pairs + seen / number)
    return Fit(accuracies=tuple(accuracies), alternatives=min(max(alternatives, 1.0), _MOST_ALTERNATIVES))


def _pairs(n: int) -> float:
    return n * (n - 1) / 2
