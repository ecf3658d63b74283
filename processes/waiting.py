"""Trial numbers that wait, in the order they will be handed out: ranges of the plan, not lists of its trials."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable


class Waiting:
    """A queue of numbers: those that came back first, then ranges less what is ``done``. Not thread-safe."""

    def __init__(self, done: Container[int]) -> None:
        self._done = done
        self._back: deque[int] = deque()
        self._ranges: deque[range] = deque()
        self._left = 0

    def __len__(self) -> int:
        return self._left

    def add(self, numbers: range) -> int:
        """Let a range wait, and return how many of it do: not those that are done."""
        left = sum(number not in self._done for number in numbers) if self._done else len(numbers)
        if left:
            self._ranges.append(numbers)
        self._left += left
        return left

    def put_back(self, numbers: Iterable[int]) -> None:
        """Let these wait again, before all others."""
        before = len(self._back)
        self._back.extendleft(reversed(list(numbers)))
        self._left += len(self._back) - before

    def take(self, count: int) -> list[int]:
        """Return the next ones, ``count`` at most; they wait no more."""
        count = min(count, self._left)
        taken = [self._back.popleft() for _ in range(min(count, len(self._back)))]
        while len(taken) < count:
            numbers = self._ranges[0]
            place = 0
            while place < len(numbers) and len(taken) < count:
                if numbers[place] not in self._done:
                    taken.append(numbers[place])
                place += 1
            self._ranges[0] = numbers[place:]
            if not self._ranges[0]:
                self._ranges.popleft()
        self._left -= len(taken)
        return taken

    def clear(self) -> None:
        """Let nothing wait any more."""
        self._back.clear()
        self._ranges.clear()
        self._left = 0
