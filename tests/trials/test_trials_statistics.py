from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from math import comb, sqrt
from statistics import NormalDist, mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.accounting import wilson
from trials.statistics import (
    bootstrap_mean,
    clustered_rate_interval,
    difference_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    score_interval,
)

Z = NormalDist().inv_cdf(0.975)
COUNTS = st.lists(
    st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=30
)
SIGNS = st.dictionaries(st.text(max_size=3), st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=4), max_size=12)
CLUSTERS = st.dictionaries(st.text(max_size=3), st.lists(st.floats(-5, 5), max_size=4), max_size=8)


def apart(values: list[float]) -> dict[str, list[float]]:
    return {str(place): [value] for place, value in enumerate(values)}


def enumerated_means(clusters: list[list[float]]) -> list[float]:
    drawn = product(clusters, repeat=len(clusters))
    return [mean([value for cluster in one for value in cluster]) for one in drawn]


def test_bootstrap_of_two_values_finds_the_three_means_there_are() -> None:
    # 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4
    assert bootstrap_mean(apart([0, 1]), 0.95) == (0, 1)
    assert bootstrap_mean(apart([0, 1]), 0.4) == (0.5, 0.5)


def test_bootstrap_draws_tasks_with_all_their_trials() -> None:
    interval = bootstrap_mean({"a": [0, 0, 0], "b": [1]}, 0.4)
    assert enumerated_means([[0, 0, 0], [1]]) == [0, 0.25, 0.25, 1]
    assert interval == (0.25, 0.25)


def test_bootstrap_agrees_with_the_enumeration_of_all_resamples() -> None:
    clusters = {"a": [0.1, 0.4], "b": [0.9], "c": [0.35, 0.2, 0.8], "d": [0.6], "e": [0.05]}
    every = sorted(enumerated_means(list(clusters.values())))
    interval = bootstrap_mean(clusters, 0.9, resamples=20_000)
    assert interval == pytest.approx((every[round(0.05 * 3125)], every[round(0.95 * 3125)]), abs=0.01)


def test_bootstrap_of_many_tasks_comes_near_the_normal_interval() -> None:
    chance = random.Random(5)
    values = [chance.gauss(3, 1) for _ in range(400)]
    reach = Z * stdev(values) / 20
    assert bootstrap_mean(apart(values)) == pytest.approx((mean(values) - reach, mean(values) + reach), abs=0.02)


def test_repeating_each_task_does_not_narrow_the_bootstrap() -> None:
    once = {str(n): [float(n % 3)] for n in range(30)}
    often = {name: values * 5 for name, values in once.items()}
    assert bootstrap_mean(often) == bootstrap_mean(once)


@given(CLUSTERS, st.randoms())
def test_bootstrap_depends_on_neither_names_nor_order(clusters: dict[str, list[float]], chance: random.Random) -> None:
    shuffled = [chance.sample(values, len(values)) for values in clusters.values()]
    chance.shuffle(shuffled)
    renamed = {f"task {place}": values for place, values in enumerate(shuffled)}
    assert bootstrap_mean(renamed, resamples=50) == bootstrap_mean(clusters, resamples=50)


def test_bootstrap_follows_its_seed() -> None:
    values = apart([0.1, 0.5, 0.7, 0.35, 0.9, 0.2])
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, resamples=50, seed=3) != bootstrap_mean(values, resamples=50, seed=4)


@pytest.mark.parametrize("clusters", [{}, {"a": [1.0, 0.0]}, {"a": [1.0], "b": []}])
def test_fewer_than_two_tasks_have_no_bootstrap_interval(clusters: dict[str, list[float]]) -> None:
    assert bootstrap_mean(clusters) is None


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_must_be_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_mean(apart([0, 1]), confidence)
    with pytest.raises(ValueError, match="confidence"):
        clustered_rate_interval([(1, 2)], confidence)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.5, 0.999))
def test_score_interval_is_wilsons_for_whole_numbers(a: int, b: int, confidence: float) -> None:
    share = a / (a + b) if a + b else 0.0
    assert score_interval(share, a + b, confidence) == pytest.approx(wilson(a, a + b, confidence), abs=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_rate_of_single_trials_has_wilsons_interval(outcomes: list[bool]) -> None:
    interval = clustered_rate_interval([(int(one), 1) for one in outcomes])
    assert interval == pytest.approx(wilson(sum(outcomes), len(outcomes)), abs=1e-9)


@given(COUNTS)
def test_clustered_rate_interval_equals_its_definition(counts: list[tuple[int, int]]) -> None:
    size = sum(n for _, n in counts) / len(counts)
    smoothed = [*counts, (size, size), (0, size)]
    n = sum(m for _, m in smoothed)
    p = sum(s for s, _ in smoothed) / n
    clustered = sum((s - p * m) ** 2 for s, m in smoothed) / n**2
    effect = max(1, clustered / (p * (1 - p) / n))
    share, trials = sum(s for s, _ in counts) / sum(m for _, m in counts), sum(m for _, m in counts)
    assert clustered_rate_interval(counts) == pytest.approx(score_interval(share, trials / effect), abs=1e-9)


@given(COUNTS)
def test_clustered_rate_interval_holds_its_rate_and_is_never_narrower_than_wilsons(
    counts: list[tuple[int, int]],
) -> None:
    successes, trials = (sum(column) for column in zip(*counts, strict=True))
    low, high = clustered_rate_interval(counts)
    plain = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    assert high - low >= plain[1] - plain[0] - 1e-9
    mirrored = clustered_rate_interval([(n - good, n) for good, n in counts])
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


def test_epochs_that_only_repeat_their_task_count_for_little() -> None:
    interval = clustered_rate_interval([(10, 10)] * 20 + [(0, 10)] * 20)
    by_task, by_trial = wilson(20, 40), wilson(200, 400)
    assert interval == pytest.approx(by_task, abs=0.01)
    assert interval.high - interval.low > 2.5 * (by_trial[1] - by_trial[0])


def test_rate_of_nothing_may_be_anything() -> None:
    assert clustered_rate_interval([]) == clustered_rate_interval([(0, 0)]) == (0, 1)


@pytest.mark.parametrize("counts", [(2, 1), (-1, 3)])
def test_more_successes_than_trials_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="successes"):
        clustered_rate_interval([counts])


@pytest.mark.parametrize(("rate", "likeness"), [(0.3, 0.0), (0.3, 0.7), (0.9, 0.4)])
def test_intervals_hold_the_truth_as_often_as_they_say(rate: float, likeness: float) -> None:
    chance = random.Random(11)

    def task() -> float:  # tasks differ as a beta distribution does; likeness is the correlation within a task
        spread = (1 - likeness) / likeness if likeness else None
        return chance.betavariate(rate * spread, (1 - rate) * spread) if spread else rate

    def trials(p: float) -> list[int]:
        return [int(chance.random() < p) for _ in range(5)]

    held = held_difference = 0
    for _ in range(400):
        pairs = [(trials(task()), trials(task())) for _ in range(30)]
        held += clustered_rate_interval((sum(a), 5) for a, _ in pairs).holds(rate)
        differences = {str(n): [float(x - y) for x, y in zip(a, b, strict=True)] for n, (a, b) in enumerate(pairs)}
        held_difference += difference_interval(differences).holds(0)
    assert 0.92 <= held / 400 <= 1
    assert 0.92 <= held_difference / 400 <= 1


def test_difference_interval_is_bonetts_and_prices_for_single_pairs() -> None:
    values = [1.0] * 9 + [-1.0] * 2 + [0.0] * 29
    plus, minus = 10 / 42, 3 / 42
    reach = Z * sqrt((plus + minus - (plus - minus) ** 2) / 42)
    assert difference_interval(apart(values)) == pytest.approx((plus - minus - reach, plus - minus + reach))


def test_pairs_that_all_agree_are_no_certainty() -> None:
    low, high = difference_interval(apart([0.0] * 18))
    assert (low, high) == pytest.approx((-Z * sqrt(2) / 20, Z * sqrt(2) / 20))
    assert difference_interval({}) == (-1, 1)


@given(SIGNS)
def test_difference_interval_holds_the_difference_and_mirrors(clusters: dict[str, list[float]]) -> None:
    low, high = difference_interval(clusters)
    values = [value for cluster in clusters.values() for value in cluster]
    assert -1 <= low <= (mean(values) if values else 0) <= high <= 1
    mirrored = difference_interval({name: [-value for value in cluster] for name, cluster in clusters.items()})
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


def test_repeated_pairs_of_a_task_do_not_narrow_a_difference() -> None:
    once = apart([1.0] * 8 + [-1.0] * 3 + [0.0] * 9)
    often = {name: values * 10 for name, values in once.items()}
    assert difference_interval(often) == pytest.approx(difference_interval(once))


def test_mcnemar_equals_the_binomial_sum() -> None:
    for b, c in product(range(13), repeat=2):
        tail = sum(Fraction(comb(b + c, i), 2 ** (b + c)) for i in range(min(b, c) + 1))
        assert mcnemar(b, c) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(1450, 1550), (1200, 1800), (5, 2995), (1499, 1501)])
def test_mcnemar_stays_exact_for_thousands_of_pairs(b: int, c: int) -> None:
    tail = Fraction(sum(comb(b + c, i) for i in range(b + 1)), 2 ** (b + c))
    assert mcnemar(b, c) == pytest.approx(min(1.0, float(2 * tail)), rel=1e-9)


def test_mcnemar_stays_stable_for_millions_of_pairs() -> None:
    assert mcnemar(10**6, 10**6) == 1
    assert mcnemar(0, 10**6) == 0
    normal = 2 * NormalDist().cdf(-(2000 - 1) / sqrt(10**6))  # corrected for continuity
    assert mcnemar(499_000, 501_000) == pytest.approx(normal, rel=1e-4)


def test_mcnemar_without_discordant_pairs_finds_nothing() -> None:
    assert mcnemar(0, 0) == 1
    with pytest.raises(ValueError, match="no test"):
        mcnemar(-1, 3)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_a_symmetric_probability(b: int, c: int) -> None:
    assert 0 <= mcnemar(b, c) <= 1
    assert mcnemar(b, c) == mcnemar(c, b)


def test_paired_bootstrap_counts_the_resamples_beyond_zero() -> None:
    clusters = {"a": [0.4, 0.5], "b": [-0.3], "c": [0.2], "d": [-0.1, 0.6], "e": [0.05]}
    every = enumerated_means(list(clusters.values()))
    beyond = sum(one <= 0 for one in every) / len(every)
    found = paired_bootstrap(clusters, resamples=20_000)
    assert found.mean == pytest.approx(mean([0.4, 0.5, -0.3, 0.2, -0.1, 0.6, 0.05]))
    assert found.p == pytest.approx(2 * beyond, abs=0.01)


def test_paired_bootstrap_is_never_surer_than_its_resamples() -> None:
    assert paired_bootstrap(apart([0.2, 0.4, 0.3]), resamples=999).p == 2 / 1000
    assert paired_bootstrap(apart([0.0, 0.0, 0.0])).p == 1


def test_paired_bootstrap_of_one_task_tells_its_mean_only() -> None:
    found = paired_bootstrap({"a": [0.5, 0.0]})
    assert (found.mean, found.interval, found.p) == (0.25, None, None)
    with pytest.raises(ValueError, match="no differences"):
        paired_bootstrap({"a": []})


def test_holm_equals_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_his_steps_reject(p_values: list[float], level: float) -> None:
    steps = 0
    for rank, p in enumerate(sorted(p_values)):
        if p * (len(p_values) - rank) > level:
            break
        steps += 1
    adjusted = holm(p_values)
    assert sum(one <= level for one in adjusted) == steps
    assert all(p <= one <= 1 for p, one in zip(p_values, adjusted, strict=True))
    by_p = [one for _, one in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)
