"""Which runs asked the same question bank, found in what their rows say.

A question's id is unique within its bank only: ids of different banks are often the same numbers. A run asks one bank,
and two runs whose shared ids mostly have the same subject and label asked the same one. Templates, scorers and a few
corrected labels may differ between them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

SAME_LABELS = 0.8
"""Runs asked the same bank if they agree on the labels of this share of the ids they share."""


class Banks:
    """Collects ids and labels by run; holds all ids of all runs until ``assigned`` is done with."""

    def __init__(self) -> None:
        self._by_run: dict[str, dict[str, Hashable]] = {}

    def add(self, run_id: str, task_id: str, label: Hashable) -> None:
        """Note that a run asked a question that has this label (and subject, or whatever tells questions apart)."""
        self._by_run.setdefault(run_id, {})[task_id] = label

    def assigned(self) -> dict[str, int]:
        """Return the number of each run's bank; runs are taken in the order in which they were first seen."""
        banks: list[dict[str, Hashable]] = []
        assigned: dict[str, int] = {}
        for run_id, labels in self._by_run.items():
            place = next((place for place, bank in enumerate(banks) if same_bank(bank, labels)), len(banks))
            if place == len(banks):
                banks.append({})
            banks[place].update(labels)
            assigned[run_id] = place
        return assigned


def same_bank(a: Mapping[str, Hashable], b: Mapping[str, Hashable]) -> bool:
    """Tell whether two mappings from ids to labels are of one bank. Without a shared id they are not."""
    fewer, more = sorted((a, b), key=len)
    shared = [task_id for task_id in fewer if task_id in more]
    return bool(shared) and sum(a[one] == b[one] for one in shared) >= SAME_LABELS * len(shared)
