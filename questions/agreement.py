"""How far two raters agree: a judge and the labels, say. Arithmetic on pairs; no files, clock or third parties."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """``n`` pairs, the ``share`` of them that agree, and Cohen's ``kappa``; None where they are not defined.

    Kappa is 1 for full agreement, 0 for what chance gives, negative below it, and undefined without pairs or
    when both raters say one and the same thing throughout, which shows nothing about how well they tell things apart.
    """

    n: int
    share: float | None
    kappa: float | None


def agreement(pairs: Iterable[tuple[bool, bool]]) -> Agreement:
    """Return how far two raters agree on the same items.

    Kappa is (observed - chance) / (1 - chance), where chance follows from how often each rater says yes: J. Cohen, "A
    coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960) 37.
    """
    counts = {(False, False): 0, (False, True): 0, (True, False): 0, (True, True): 0}
    for left, right in pairs:
        counts[bool(left), bool(right)] += 1
    n = sum(counts.values())
    if n == 0:
        return Agreement(n=0, share=None, kappa=None)
    agreed = counts[True, True] + counts[False, False]
    left_yes = counts[True, True] + counts[True, False]
    right_yes = counts[True, True] + counts[False, True]
    # In whole numbers, so that a chance of exactly 1 is seen: n² times the chance agreement.
    chance = left_yes * right_yes + (n - left_yes) * (n - right_yes)
    kappa = (n * agreed - chance) / (n * n - chance) if chance != n * n else None
    return Agreement(n=n, share=agreed / n, kappa=kappa)
