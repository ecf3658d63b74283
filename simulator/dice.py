"""Where a simulated model's luck comes from: drawn from a seed for a server, or played through for exact odds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from trials.digest import uniform

T = TypeVar("T")


class Dice(Protocol):
    """What a decision may ask of chance. Each question has a name; asked again, it has the same answer."""

    def flip(self, name: str, probability: float) -> bool:
        """Return True with this probability."""
        ...

    def pick(self, name: str, options: Sequence[T]) -> T:
        """Return one of the options, all equally likely."""
        ...


class SeededDice:
    """Luck as a function of what it belongs to alone, so that a question always has the same answer."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def flip(self, name: str, probability: float) -> bool:
        """See Dice. The better skill of two says yes wherever the worse does."""
        return uniform(*self._parts, name) < probability

    def pick(self, name: str, options: Sequence[T]) -> T:
        """See Dice."""
        return options[int(uniform(*self._parts, name) * len(options))]


class _Played:
    """Answers from a script as far as it goes, then takes the first way open; notes the ways not taken."""

    def __init__(self, script: tuple[int, ...]) -> None:
        self._script = script
        self._answers: dict[str, int] = {}
        self.probability = 1.0
        self.others: list[tuple[int, ...]] = []

    def flip(self, name: str, probability: float) -> bool:
        """See Dice."""
        return self._way(name, (probability, 1 - probability)) == 0

    def pick(self, name: str, options: Sequence[T]) -> T:
        """See Dice."""
        return options[self._way(name, [1 / len(options)] * len(options))]

    def _way(self, name: str, odds: Sequence[float]) -> int:
        if name not in self._answers:
            before = tuple(self._answers.values())
            if len(before) < len(self._script):
                way = self._script[len(before)]
            else:
                way, *others = [way for way, share in enumerate(odds) if share > 0]
                self.others += [(*before, other) for other in others]
            self._answers[name] = way
            self.probability *= odds[way]
        return self._answers[name]


def all_outcomes(decide: Callable[[Dice], T]) -> list[tuple[float, T]]:
    """Return every outcome that ``decide`` can have, with its probability; they add up to 1.

    Plays the decision once for each way that chance can go. Equal outcomes may occur more than once.
    """
    outcomes: list[tuple[float, T]] = []
    scripts: list[tuple[int, ...]] = [()]
    while scripts:
        dice = _Played(scripts.pop())
        outcome = decide(dice)
        outcomes.append((dice.probability, outcome))
        scripts += dice.others
    return outcomes
