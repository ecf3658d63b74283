"""Counts every request a server received, for the audit of crash tests. Holds no key and no text.

``sum(by_answer) + in_flight = requests``, always. ``served`` are the requests answered 200 with a complete
body; ``repeated`` are those served beyond the first for the same trial and turn. Memory grows with the number of
trials, not of requests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from simulator.asked import Asked
from trials.digest import digest

SERVED = "200"
ABANDONED = "abandoned"


@dataclass(slots=True)
class TrialCount:
    """What one trial asked. ``turns`` is a bit set of the turns that were served."""

    requests: int = 0
    served: int = 0
    turns: int = 0

    @property
    def repeated(self) -> int:
        """Requests served beyond the first of each turn."""
        return self.served - self.turns.bit_count()


@dataclass(slots=True, kw_only=True)
class Entry:
    """A request in flight, filled in as more becomes known; ``answer`` is a status, or ``fault-KIND``."""

    answer: str = ABANDONED
    key: str = ""
    asked: Asked | None = None


@dataclass(slots=True, kw_only=True)
class Ledger:
    """All counts of a server since its start, or since the last reset."""

    requests: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    by_answer: Counter[str] = field(default_factory=Counter)
    by_key: Counter[str] = field(default_factory=Counter)
    by_deployment: Counter[str] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)
    trials: dict[str, TrialCount] = field(default_factory=dict)

    def open(self) -> Entry:
        """Count a request that arrived."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return Entry()

    def close(self, entry: Entry) -> None:
        """Count what became of a request; must follow each ``open`` exactly once."""
        self.in_flight -= 1
        self.by_answer[entry.answer] += 1
        self.by_key[key_name(entry.key)] += 1
        if entry.asked is None:
            return
        identity = entry.asked.identity
        self.by_deployment[entry.asked.deployment] += 1
        self.by_model[identity.model] += 1
        if not identity.trial_key:
            return
        trial = self.trials.setdefault(identity.trial_key, TrialCount())
        trial.requests += 1
        if entry.answer == SERVED:
            trial.served += 1
            trial.turns |= 1 << entry.asked.turn

    def reset(self) -> None:
        """Forget all but the requests in flight."""
        self.requests = self.max_in_flight = self.in_flight
        for counts in (self.by_answer, self.by_key, self.by_deployment, self.by_model, self.trials):
            counts.clear()

    def to_json(self, with_trials: bool) -> dict[str, Any]:
        """Return the counts as a JSON-like dict; ``with_trials`` adds one entry per trial."""
        value: dict[str, Any] = {
            "requests": self.requests,
            "served": self.by_answer[SERVED],
            "repeated": sum(trial.repeated for trial in self.trials.values()),
            "trials": len(self.trials),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_answer": dict(self.by_answer),
            "by_key": dict(self.by_key),
            "by_deployment": dict(self.by_deployment),
            "by_model": dict(self.by_model),
        }
        if with_trials:
            value["by_trial"] = {
                name: {"requests": trial.requests, "served": trial.served, "repeated": trial.repeated}
                for name, trial in self.trials.items()
            }
        return value


def key_name(key: str) -> str:
    """Name a key without giving it away."""
    return f"key-{digest(key, 4)}" if key else "none"
