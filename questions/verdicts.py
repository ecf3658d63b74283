"""What a scorer says of a reply, and what every scorer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from trials.record import record

WRONG, NO_ANSWER, UNCHECKABLE, BAD_TARGET = "wrong_answer", "no_answer", "uncheckable", "bad_target"

_SHOWN = 200
"""Characters of an answer that a verdict keeps."""


@record
class Verdict:
    """The mark of one reply. ``score`` is in [0, 1]; ``answer`` is what was taken from it, cut to 200 characters.

    ``category`` is empty when the reply is right. ``wrong_answer``, ``no_answer`` (nothing could be taken from it),
    ``bad_json``, ``schema_mismatch``, ``judge_inconsistent`` and ``judge_unreadable`` are about the reply or the judge;
    ``uncheckable`` says that the comparison came to no end, ``bad_target`` that the label itself cannot be read as this
    scorer needs it, which says nothing about the model.
    """

    score: float
    answer: str
    category: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class Scorer(Protocol):
    """Marks replies against targets. ``mark`` may be called by many threads at once, ``close`` by one, at the end."""

    @property
    def name(self) -> str:
        """The scorer's name, as the user gives it."""
        ...

    @property
    def definition(self) -> Mapping[str, Any]:
        """Everything that decides how a reply is marked, as JSON-like values."""
        ...

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        """Return the verdict on a reply. Never raises for anything that a model or a label can hold."""
        ...

    def close(self) -> None:
        """End what the scorer has started; a second call does nothing."""
        ...


def verdict(right: bool, answer: str, **detail: Any) -> Verdict:
    """Return the verdict of a comparison that came to an end."""
    return Verdict(score=float(right), answer=answer[:_SHOWN], category="" if right else WRONG, detail=detail)


def failed(category: str, answer: str = "", **detail: Any) -> Verdict:
    """Return the verdict of a reply that could not be compared."""
    return Verdict(score=0.0, answer=answer[:_SHOWN], category=category, detail=detail)
