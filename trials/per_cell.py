"""What all trials of a cell have in common, made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from trials.words import Cell

T = TypeVar("T")


class PerCell(Generic[T]):
    """Remembers ``make(cell)`` for each cell; safe between threads, which may at worst make the same thing twice.

    By identity: a plan hands out the same cells again and again, and comparing them would cost more than it saves.
    The cell is kept with what was made of it, so its id stays its own.
    """

    def __init__(self, make: Callable[[Cell], T]) -> None:
        self._make = make
        self._made: dict[int, tuple[Cell, T]] = {}

    def __call__(self, cell: Cell) -> T:
        """Return what was made of a cell, or make it."""
        known = self._made.get(id(cell))
        if known is None:
            known = self._made[id(cell)] = (cell, self._make(cell))
        return known[1]
