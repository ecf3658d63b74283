"""Which labels of a question bank are probably wrong, judged by the answers of several models.

Each item's label and the models' answers are weighed by ``trials.dawid_skene`` (its docstring says how A. P. Dawid and
A. M. Skene's method is adapted to open answers); items of different kinds (choice, number, text) are fitted apart,
because wrong answers meet far more often among four letters than among all numbers. Near copies of one model have one
vote together. It asks nobody and changes no label.

The probability is that of the model described there. It is too high where models share a mistake that is not in the
label: a popular error, or a text that all of them were trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trials.dawid_skene import NONE, Fit, Pattern, fit
from trials.near_copies import near_copies
from trials.statistics import Interval, score_interval

NO_ANSWER = ""
"""The answer of a model that was asked and gave none: no vote, and never right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An item: its label, and what each model answers in the order of the models.

    Texts are canonical: equal ones mean the same answer. None stands where a model has no scored answer.
    """

    item_id: str
    label: str
    answers: tuple[str | None, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is thought of an item's label. ``wrong`` is the probability that it is wrong.

    ``answer`` is the most probable one of the other answers, with its ``probability``, the label itself if there is no
    other; ``agree`` are the models that gave it, ``with_label`` those that gave the label. Probabilities of all answers
    may add up to less than 1: the true one may be one that nobody gave.
    """

    item: Labelled
    wrong: float
    answer: str
    probability: float
    agree: tuple[str, ...]
    with_label: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccuracy:
    """A model's share of right answers among ``items``: by the labels, and expected by what the answers probably are.

    Both intervals are Wilson's at 95 %. For ``after`` this holds too: the variance of the probabilities between items
    and that of being right given them add up to p (1 - p).
    """

    model: str
    items: int
    before: float | None
    before_interval: Interval
    after: float | None
    after_interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAudit:
    """The verdict on all items. ``fits`` are by kind; ``copies`` are groups of models that have one vote together."""

    models: tuple[str, ...]
    items: Sequence[Labelled]
    fits: Mapping[str, Fit]
    copies: tuple[tuple[str, ...], ...]
    _patterns: Sequence[Pattern]
    _beliefs: Mapping[tuple[str, Pattern], tuple[float, ...]]

    def verdicts(self, least: float = 0.0) -> Iterator[Verdict]:
        """Yield the verdict of each item whose label is wrong with a probability of at least ``least``, in order."""
        for item, pattern in zip(self.items, self._patterns, strict=True):
            belief = self._beliefs[item.kind, pattern]
            if 1 - belief[0] >= least:
                yield self._verdict(item, pattern, belief)

    def suspects(self, least: float = 0.5) -> list[Verdict]:
        """Return the verdicts of at least this probability, the surest first."""
        return sorted(self.verdicts(least), key=lambda one: (-one.wrong, -one.probability, one.item.item_id))

    @property
    def wrong_labels(self) -> float:
        """How many wrong labels are expected among all."""
        return sum(n * (1 - self._beliefs[key][0]) for key, n in self._counts().items())

    def accuracies(self) -> list[ModelAccuracy]:
        """Return the accuracy of each model before and after, in the order of the models."""
        asked: Counter[int] = Counter()
        for item in self.items:
            asked.update(place for place, answer in enumerate(item.answers) if answer is not None)
        before, after = [0] * len(self.models), [0.0] * len(self.models)
        for key, n in self._counts().items():
            for place, answer in enumerate(key[1][1:]):
                if answer != NONE:
                    before[place] += n * (answer == 0)
                    after[place] += n * self._beliefs[key][answer]
        return [_accuracy(model, asked[place], before[place], after[place]) for place, model in enumerate(self.models)]

    def _counts(self) -> Counter[tuple[str, Pattern]]:
        return Counter((item.kind, pattern) for item, pattern in zip(self.items, self._patterns, strict=True))

    def _verdict(self, item: Labelled, pattern: Pattern, belief: tuple[float, ...]) -> Verdict:
        others = range(1, len(belief) - 1)
        best = max(others, key=lambda one: (belief[one], pattern.count(one), -one)) if others else 0
        agree = tuple(model for model, answer in zip(self.models, pattern[1:], strict=True) if answer == best)
        texts = dict(zip(pattern[1:], item.answers, strict=True))
        return Verdict(
            item=item,
            wrong=1 - belief[0],
            answer=(texts[best] or item.label) if best else item.label,
            probability=belief[best],
            agree=agree,
            with_label=tuple(m for m, answer in zip(self.models, pattern[1:], strict=True) if answer == 0),
        )


def _accuracy(model: str, items: int, before: int, after: float) -> ModelAccuracy:
    share_before, share_after = (before / items, min(1.0, after / items)) if items else (0.0, 0.0)
    return ModelAccuracy(
        model=model,
        items=items,
        before=share_before if items else None,
        before_interval=score_interval(share_before, items),
        after=share_after if items else None,
        after_interval=score_interval(share_after, items),
    )


def audit_labels(models: Sequence[str], items: Iterable[Labelled]) -> LabelAudit:
    """Judge the label of every item by the models' answers.

    The same items give the same verdicts in any order. Raises ValueError with fewer than two models that are no copies
    of each other and have answers, or without items.
    """
    kept = list(items)
    patterns = _patterns(kept)
    counts = Counter((item.kind, pattern) for item, pattern in zip(kept, patterns, strict=True))
    over_kinds: Counter[Pattern] = Counter()
    for (_, pattern), n in counts.items():
        over_kinds[pattern] += n
    voting = [place for place in range(1, len(models) + 1) if any(pattern[place] != NONE for pattern in over_kinds)]
    if len(voting) < 2:
        raise ValueError(f"a label is judged by the answers of two models at least, and there are {len(voting)}")
    copies = near_copies(over_kinds)
    if len(voting) - sum(len(group) - 1 for group in copies) < 2:
        names = ", ".join(models[place - 1] for place in voting)
        raise ValueError(f"the answers of {names} are near copies of each other, hence one vote; two are needed")
    fits = {kind: fit(_as_votes(counts, kind, copies)) for kind in sorted({kind for kind, _ in counts})}
    return LabelAudit(
        models=tuple(models),
        items=kept,
        fits=fits,
        copies=tuple(tuple(models[place - 1] for place in group) for group in copies),
        _patterns=patterns,
        _beliefs={(kind, pattern): _belief(fits[kind], pattern, copies) for kind, pattern in counts},
    )


def _patterns(items: Iterable[Labelled]) -> list[Pattern]:
    """Return the pattern of each item; equal ones are one object."""
    known: dict[Pattern, Pattern] = {}
    found = []
    for item in items:
        numbers = {item.label: 0}
        pattern = (
            0,
            *[
                NONE if answer is None or answer == NO_ANSWER else numbers.setdefault(answer, len(numbers))
                for answer in item.answers
            ],
        )
        found.append(known.setdefault(pattern, pattern))
    return found


def _as_votes(
    counts: Mapping[tuple[str, Pattern], int], kind: str, copies: Sequence[tuple[int, ...]]
) -> Counter[Pattern]:
    votes: Counter[Pattern] = Counter()
    for (of_kind, pattern), n in counts.items():
        if of_kind == kind:
            votes[_one_vote(pattern, copies)] += n
    return votes


def _one_vote(pattern: Pattern, copies: Sequence[tuple[int, ...]]) -> Pattern:
    """Leave of each group of copies the first that has an answer, in the first one's place."""
    votes = list(pattern)
    for group in copies:
        answers = [votes[place] for place in group]
        for place in group:
            votes[place] = NONE
        votes[group[0]] = next((answer for answer in answers if answer != NONE), NONE)
    return tuple(votes)


def _belief(fitted: Fit, pattern: Pattern, copies: Sequence[tuple[int, ...]]) -> tuple[float, ...]:
    return fitted.posterior(_one_vote(pattern, copies), max(pattern) + 1)
