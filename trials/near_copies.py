"""Finds models whose answers are no independent votes: one model under two names, two keys, or served twice.

Good models agree because they are right; what gives a copy away is that it makes the same mistakes. Only mistakes are
looked at, therefore: answers other than the label, on items on which a third model confirms the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from trials.dawid_skene import NONE, Pattern

SAME_MISTAKES = 0.8
"""Two models are near copies if this share of the mistakes that either makes are the same answer of both."""
SAME_DEPARTURES = 0.98
"""The same without a third model to confirm the label, where a departure from the label may be right."""
FEWEST = 8
"""So many mistakes it takes to judge."""


def near_copies(patterns: Mapping[Pattern, int]) -> list[tuple[int, ...]]:
    """Return groups of near copies by their place among the sources (the label is 0), each two or more, in order."""
    sources = len(next(iter(patterns)))
    group = list(range(sources))
    for a, b in combinations(range(1, sources), 2):
        if _copied(patterns, a, b):
            joined, left = sorted((group[a], group[b]))
            group = [joined if one == left else one for one in group]
    members = (tuple(place for place in range(1, sources) if group[place] == one) for one in sorted(set(group)))
    return [one for one in members if len(one) > 1]


def _copied(patterns: Mapping[Pattern, int], a: int, b: int) -> bool:
    confirmed = [(pattern, n) for pattern, n in patterns.items() if _confirmed(pattern, a, b)]
    return _alike(confirmed, a, b, SAME_MISTAKES) or _alike(patterns.items(), a, b, SAME_DEPARTURES)


def _confirmed(pattern: Pattern, a: int, b: int) -> bool:
    return any(answer == 0 and source not in (0, a, b) for source, answer in enumerate(pattern))


def _alike(counted: Iterable[tuple[Pattern, int]], a: int, b: int, least: float) -> bool:
    same = either = 0
    for pattern, items in counted:
        if NONE not in (pattern[a], pattern[b]) and (pattern[a] or pattern[b]):
            either += items
            same += items * (pattern[a] == pattern[b])
    return either >= FEWEST and same >= least * either
