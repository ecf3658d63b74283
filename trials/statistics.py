"""Intervals and tests for rates, means and differences whose trials repeat tasks.

Arithmetic on numbers only; ``trials.comparisons`` says which rows they come from. Trials of one task are no independent
witnesses, so values come by cluster (task), and resampling draws tasks. Nothing here depends on the order or the names
of the clusters. The source of each method stands at its function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, floor, fsum, lgamma, log, sqrt
from random import Random
from typing import NamedTuple

Clusters = Mapping[str, Sequence[float]]
"""Task → its values, one per trial or pair of trials. A task without values does not count."""


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether a value lies in the interval, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A mean of paired differences. ``interval`` and ``p`` are None if fewer than two tasks stand behind it."""

    mean: float
    interval: Interval | None
    p: float | None


def bootstrap_mean(
    values_by_cluster: Clusters, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval | None:
    """Return the percentile bootstrap interval of a mean; None with fewer than two tasks, which show no spread.

    Tasks are drawn with replacement, each with all its trials: B. Efron, "Bootstrap methods: another look at the
    jackknife", Ann. Stat. 7 (1979) 1; A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application"
    (1997), sections 3.8 and 5.3. Equal seeds give equal intervals. Values that are all equal give an interval of no
    width: a bootstrap cannot know what it has not seen, which is why rates have intervals of their own.
    """
    means = _resampled_means(values_by_cluster, resamples, seed)
    return _percentiles(means, confidence) if means else None


def paired_bootstrap(
    differences_by_cluster: Clusters, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Difference:
    """Return the mean of paired differences, its bootstrap interval and a two-sided p. Raises ValueError without any.

    P. Koehn, "Statistical significance tests for machine translation evaluation", EMNLP 2004: p is the share of
    resampled means on the far side of zero, here doubled for two sides and with the observed sample counted as one
    of the resamples (Davison and Hinkley, section 4.2), so that it is never 0.
    """
    values = [value for cluster in differences_by_cluster.values() for value in cluster]
    if not values:
        raise ValueError("no differences to take the mean of")
    mean = fsum(values) / len(values)
    means = _resampled_means(differences_by_cluster, resamples, seed)
    if not means:
        return Difference(mean=mean, interval=None, p=None)
    rarer_side = min(sum(one <= 0 for one in means), sum(one >= 0 for one in means))
    p = min(1.0, 2 * (rarer_side + 1) / (len(means) + 1))
    return Difference(mean=mean, interval=_percentiles(means, confidence), p=p)


def _resampled_means(values_by_cluster: Clusters, resamples: int, seed: int) -> list[float]:
    """Return the sorted means of resampled tasks, or none if there are fewer than two tasks."""
    clusters = sorted((fsum(values), len(values)) for values in values_by_cluster.values() if values)
    if len(clusters) < 2:
        return []
    sums, sizes = zip(*clusters, strict=True)
    draw, places = Random(seed).choices, range(len(clusters))
    means = []
    for _ in range(resamples):
        drawn = draw(places, k=len(clusters))
        means.append(sum(map(sums.__getitem__, drawn)) / sum(map(sizes.__getitem__, drawn)))
    return sorted(means)


def _percentiles(ordered: Sequence[float], confidence: float) -> Interval:
    tail = _tail(confidence)
    return Interval(_quantile(ordered, tail), _quantile(ordered, 1 - tail))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the (n + 1) share-th of n ordered values, between neighbours in proportion (Davison and Hinkley, 5.2)."""
    place = min(max((len(ordered) + 1) * share - 1, 0.0), len(ordered) - 1.0)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return (1 - confidence) / 2


@lru_cache(maxsize=8)
def _normal_quantile(confidence: float) -> float:
    from statistics import NormalDist  # its module is slow to import, and most commands need no interval

    return NormalDist().inv_cdf(1 - _tail(confidence))


def score_interval(share: float, n: float, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval (1927) of a proportion seen in ``n`` trials, where ``n`` need not be whole."""
    z = _normal_quantile(confidence)
    if n <= 0:
        return Interval(0.0, 1.0)
    centre = share + z * z / (2 * n)
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)
    return Interval(min(share, max(0.0, low)), max(share, min(1.0, high)))


def clustered_rate_interval(counts: Iterable[tuple[int, int]], confidence: float = 0.95) -> Interval:
    """Return the interval of a rate from (successes, trials) per task; (0, 1) when nothing was tried.

    Wilson's interval on the effective sample size, trials over design effect (L. Kish, "Survey Sampling", 1965,
    section 8.2; J. N. K. Rao and A. J. Scott, Biometrics 48 (1992) 577). A bootstrap would have no width at 0 and 100 %
    and stray outside [0, 1]; this does neither. The design effect is estimated with two made-up tasks among the
    others, one all success and one all failure, after the manner of A. Agresti and B. A. Coull, Am. Stat. 52 (1998)
    119: thus it exists for rates of 0 and 1, is 1 if each task has one trial (then this is Wilson's interval), and errs
    on the wide side with few tasks. It is never taken below 1.
    """
    tasks = trials = successes = 0
    successes_squared = products = trials_squared = 0
    for good, n in counts:
        if not 0 <= good <= n:
            raise ValueError(f"{good} successes of {n} trials")
        tasks += n > 0
        trials += n
        successes += good
        successes_squared += good * good
        products += good * n
        trials_squared += n * n
    if not trials:
        return score_interval(0.0, 0, confidence)
    mean_size = trials / tasks
    all_trials = trials + 2 * mean_size
    rate = (successes + mean_size) / all_trials
    between = (
        (successes_squared + mean_size**2)
        - 2 * rate * (products + mean_size**2)
        + rate * rate * (trials_squared + 2 * mean_size**2)
    )
    design_effect = max(1.0, between / (all_trials * rate * (1 - rate)))
    return score_interval(successes / trials, trials / design_effect, confidence)


def difference_interval(differences_by_cluster: Clusters, confidence: float = 0.95) -> Interval:
    """Return the interval of a difference of two paired rates; the differences are -1, 0 or 1 per pair.

    D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data", J. Educ. Behav. Stat. 37 (2012) 479: one discordant pair of each kind is added, so that pairs that all
    agree do not pass for certainty. With several pairs per task, two made-up tasks of mean size take their place and
    the variance is that of a ratio of task sums (W. G. Cochran, "Sampling Techniques", 1977, section 6.3); with one
    pair per task both are the same formula. (-1, 1) when there is no pair.
    """
    z = _normal_quantile(confidence)
    clusters = [(fsum(values), len(values)) for values in differences_by_cluster.values() if values]
    if not clusters:
        return Interval(-1.0, 1.0)
    pairs, total = sum(size for _, size in clusters), fsum(one for one, _ in clusters)
    mean_size = pairs / len(clusters)
    all_pairs = pairs + 2 * mean_size
    centre = total / all_pairs
    made_up = [(mean_size, mean_size), (-mean_size, mean_size)]
    spread = sqrt(fsum((one - centre * size) ** 2 for one, size in (*clusters, *made_up))) / all_pairs
    mean = total / pairs
    return Interval(max(-1.0, min(mean, centre - z * spread)), min(1.0, max(mean, centre + z * spread)))


def mcnemar(b: int, c: int) -> float:
    """Return the exact two-sided p of ``b`` against ``c`` discordant pairs; 1 without any.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947) 153, in its exact binomial form. The tail is summed from its largest term down, in
    logarithms, so that it neither overflows nor takes long for millions of pairs.
    """
    if b < 0 or c < 0:
        raise ValueError(f"no test for {b} and {c} pairs")
    n, k = b + c, min(b, c)
    ratio = tail = 1.0
    for i in range(k, 0, -1):
        ratio *= i / (n - i + 1)
        tail += ratio
        if ratio < 1e-18 * tail:
            break
    largest = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2)
    return min(1.0, 2 * exp(largest + log(tail)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for being many, in the order given.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6 (1979) 65.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
