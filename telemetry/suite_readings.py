"""The reading of a suite: one paragraph of plain English, each claim of which is computed from the figures.

A difference is told as a finding only if it survives Holm's correction; what does not is undecided, never called equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from telemetry.exports import POINTS, SIGNED, SIMULATED, P, spell
from telemetry.suite_figures import Group, Study, slope
from telemetry.wording import clean, percent
from trials.accounting import Mean
from trials.comparisons import SIGNIFICANT, PairedComparison

_MOST = 6


def reading(figures: Study) -> str:
    """Return the reading of a suite's figures as one paragraph."""
    marked = [f"{SIMULATED}."] if figures.simulated else []
    if not figures.every.scored:
        return " ".join([*marked, "No trial has a score yet, so there is nothing to read."])
    sentences = [*marked, *_rates(figures), *_differences(figures)]
    if figures.shape.scores:
        sentences += [*_followed(figures), *_efficiency(figures.groups)]
    sentences += [*_missing(figures), *_unpaired(figures.comparisons)]
    return clean(" ".join(sentences), 20_000)


def slope_in_words(value: float | None) -> str:
    """Say how the full rate moves with the tool success rate, from its change per unit."""
    if value is None:
        return "no slope over the tool success rates can be told"
    points = round(10 * value, 1)
    if not points:
        return "full success stays level over the tool success rates (least squares)"
    way = "falls" if points > 0 else "rises"
    return f"full success {way} by {abs(points):.1f} points with each 0.1 less of tool success rate (least squares)"


def _rates(figures: Study) -> Iterator[str]:
    shape = figures.shape
    if not shape.level:
        ranked = sorted(figures.groups, key=lambda group: -(group.figures.full_rate or 0.0))
        told = [f"{group.model} {_rate(group)}" for group in ranked]
        yield f"Full success, with 95 % intervals: {'; '.join(told)}."
        return
    for model, groups in figures.by_model.items():
        # A flaw is told by its difference from the control; its rate alone would mislead.
        shown = [group for group in groups if not shape.scores or group.level == figures.reference]
        told = [f"{_rate(group)} {'at' if shape.level == 'rate' else 'with'} {group.level}" for group in shown]
        if told:
            yield f"{model}: full success {', '.join(told)}."
        if shape.level == "rate":
            which = "all rates" if all(group.figures.scored for group in groups) else "the rates that have scores"
            yield f"Over {which} its {slope_in_words(slope(groups))}."


def _rate(group: Group) -> str:
    if not group.figures.scored:
        return "unknown"
    low, high = group.interval
    return f"{percent(group.figures.full_rate)} % [{percent(low)}, {percent(high)}]"


def _differences(figures: Study) -> Iterator[str]:
    comparisons = figures.comparisons
    tested = sorted(
        (one for one in comparisons if one.adjusted_p is not None), key=lambda one: -abs(one.difference or 0.0)
    )
    if len(tested) < len(comparisons):
        yield f"{_count(len(comparisons) - len(tested), 'comparison')} could not be made for want of scored pairs."
    if not tested:
        return
    found = [one for one in tested if one.survives]
    told = [f"{_contrast(figures, one)}, p {spell(one.adjusted_p, P)}" for one in found]
    yield (
        f"{len(found) or 'None'} of {_count(len(tested), 'paired difference')} of full success"
        f" {'survive' if len(found) > 1 else 'survives'} Holm's correction at the {100 * SIGNIFICANT:.0f} % level"
        f"{': ' if told else ''}{_listed(told)}."
    )
    undecided = [_contrast(figures, one) for one in tested if not one.survives]
    if undecided:
        yield f"Undecided: {_listed(undecided)}."


def _contrast(figures: Study, one: PairedComparison) -> str:
    other = figures.reference if figures.shape.level else one.name_b
    return f"{one.name_a} against {other} {spell(one.difference, POINTS)} points {spell(one.interval, POINTS)}"


def _followed(figures: Study) -> Iterator[str]:
    every = figures.every.means
    followed, recovered = every.get("followed_flaw", Mean()), every.get("recovered", Mean())
    if followed.value is None:
        return
    shares = {group.name: group.figures.means["followed_flaw"].value for group in figures.groups if group.rows}
    ranked = sorted((share, name) for name, share in shares.items() if share is not None)
    (least, where_least), (most, where_most) = ranked[0], ranked[-1]
    yield (
        f"The flaw was followed in {percent(followed.value)} % of {_count(followed.n, 'flawed trial')}, least in "
        f"{where_least} ({percent(least)} %), most in {where_most} ({percent(most)} %)."
    )
    if recovered.value is not None:
        yield (
            f"Of {_count(recovered.n, 'trial')} that followed it, {percent(recovered.value)} % still ended in full"
            " success."
        )


def _efficiency(groups: Iterable[Group]) -> Iterator[str]:
    measured = [(one.versus.scores["efficiency"], one.name) for one in groups if one.versus and one.versus.scores]
    if not measured:
        return
    widest, name = max(measured, key=lambda item: abs(item[0].mean))
    yield (
        f"Efficiency moves most in {name}: {spell(widest.mean, SIGNED)} {spell(widest.interval, SIGNED)}, picked from "
        f"{_count(len(measured), 'difference')} and not corrected for it."
    )


def _missing(figures: Study) -> Iterator[str]:
    short = sorted(
        (group for group in figures.groups if group.figures.scored < group.figures.planned),
        key=lambda group: group.figures.coverage or 0.0,
    )
    if not short:
        yield "Every planned trial has a score."
        return
    told = []
    for group in short:
        low, high = group.figures.bounds or (0.0, 1.0)
        told.append(f"{group.name} {percent(group.figures.coverage)} % (bounds {percent(low)} to {percent(high)} %)")
    yield (
        f"Coverage is below 100 % in {len(short)} of {_count(len(figures.groups), 'row')}; the bounds say what full"
        f" success would be if all missing trials had failed or succeeded: {_listed(told)}."
    )
    every = figures.every
    yield (
        f"Without a score are {every.provider_errors} provider_error, {every.harness_errors} harness_error and "
        f"{every.pending} pending, which are in no rate."
    )


def _unpaired(comparisons: Sequence[PairedComparison]) -> Iterator[str]:
    lost = sum(one.lost for one in comparisons)
    alone = sum(one.unpaired_a + one.unpaired_b for one in comparisons)
    if lost:
        yield f"Over all comparisons {_count(lost, 'pair')} had no score on a side and entered none."
    if alone:
        yield f"Over all comparisons {_count(alone, 'scored trial')} had no partner and entered none."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _listed(told: Sequence[str]) -> str:
    more = len(told) - _MOST
    return "; ".join(told[:_MOST]) + (f"; and {more} more" if more > 0 else "")
