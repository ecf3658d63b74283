"""Which trial kills its process: what is concluded from deaths, and which trials must then run by themselves.

Most deaths are no trial's fault, so whoever was running at one goes back to work. Who was running at a second death is
a suspect, wherever the first was. Suspects run in a process that does nothing else, in groups that are halved at every
further death (after Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 28, 2002), so
that one among hundreds is found in some ten restarts while those of a group run side by side.

Only who was alone in a process from its start, twice, and both times died of what the process itself did, is set
aside. Who was alone twice and was killed from outside is put off to a later start: that proves nothing, and the run
must end. Decides only: no processes, no clock, nothing is sent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Set
from dataclasses import dataclass, field

from processes.deaths import Death

SUSPECT_AFTER, PROVED_AFTER = 2, 2
"""Deaths that make a suspect, and deaths alone that prove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a death has brought out. ``learned``: a further one would bring out more, so it is no standstill."""

    suspects: tuple[int, ...] = ()
    set_aside: tuple[int, ...] = ()
    put_off: tuple[int, ...] = ()
    learned: bool = False


@dataclass(slots=True)
class _Trying:
    """What a shard has to try: groups that wait, the group its process is at, and its ended trials when this began."""

    ended_before: int
    waiting: deque[list[int]] = field(default_factory=deque)
    group: list[int] = field(default_factory=list)


class Suspects:
    """Deaths by trial, over all shards and processes of a run. Not thread-safe: one supervisor loop calls it."""

    def __init__(self) -> None:
        self._deaths = Counter[int]()
        self._died_alone = Counter[int]()
        self._killed_alone = Counter[int]()
        self._reasons: dict[int, str] = {}
        self._trying: dict[int, _Trying] = {}

    def died(
        self,
        shard: int,
        running: Set[int],
        death: Death,
        *,
        alone: bool,
        ended: int,
        elsewhere: Set[int] = frozenset(),
    ) -> Finding:
        """Conclude from the death of a shard's process, in which these trials were ``running``.

        ``alone``: the process was never given more than one trial. ``ended`` trials have ended in this shard so far.
        What runs ``elsewhere``, too, shows there whether it kills.
        """
        self._deaths.update(running)
        found = sorted(number for number in running if self._deaths[number] >= SUSPECT_AFTER)
        set_aside, put_off = [], []
        if alone and running:
            (number,) = running
            counts = self._died_alone if death.own_doing else self._killed_alone
            counts[number] += 1
            if self._died_alone[number] >= PROVED_AFTER:
                self._reasons[number] = self._reason(number, death)
                set_aside.append(number)
            elif self._killed_alone[number] >= PROVED_AFTER:
                put_off.append(number)
        fresh = [number for number in found if not self._is_settled(number) and number not in elsewhere]
        self._put(shard, fresh, ended)
        return Finding(
            suspects=tuple(fresh),
            set_aside=tuple(set_aside),
            put_off=tuple(put_off),
            learned=bool(running) and (death.own_doing or bool(fresh) or bool(put_off)),
        )

    def saw_death(self, number: int) -> bool:
        """Whether a trial was running when a process died, so that no second process should have it as well."""
        return number in self._deaths

    def why_set_aside(self, number: int) -> str | None:
        """Return why a trial is not to be run any more; None for one that may."""
        return self._reasons.get(number)

    def are_tried(self, shard: int) -> bool:
        """Whether a shard has suspects, so that nothing of what it holds may move."""
        return shard in self._trying

    def waiting(self, shard: int) -> set[int]:
        """Return the suspects of a shard that its process has not been given."""
        trying = self._trying.get(shard)
        return set() if trying is None else {number for group in trying.waiting for number in group}

    def at_work(self, shard: int, held: Set[int]) -> bool:
        """Whether a shard's process is at a group of suspects, and must get nothing else. ``held`` have not ended."""
        trying = self._trying.get(shard)
        if trying is None:
            return False
        trying.group = [number for number in trying.group if number in held]
        if not trying.group and not trying.waiting:
            del self._trying[shard]
            return False
        return bool(trying.group)

    def may_begin(self, shard: int, ended: int) -> bool:
        """Whether a shard has ended other trials since it has suspects: if it cannot, they are not to blame."""
        return shard in self._trying and ended > self._trying[shard].ended_before

    def next_group(self, shard: int, held: Set[int]) -> list[int]:
        """Return the suspects that a shard's process is to run now, with nothing beside them; ``held`` as above."""
        trying = self._trying[shard]
        trying.group = []
        while trying.waiting and not trying.group:
            trying.group = [number for number in trying.waiting.popleft() if number in held]
        return list(trying.group)

    def acquit(self, shard: int) -> None:
        """Forget what a shard has to try: it gets no more work."""
        self._trying.pop(shard, None)

    def _put(self, shard: int, fresh: list[int], ended: int) -> None:
        """Let suspects wait, those found last first and by halves; the rest of the group that was running is last."""
        if fresh and shard not in self._trying:
            self._trying[shard] = _Trying(ended)
        trying = self._trying.get(shard)
        if trying is None:
            return
        rest = [number for number in trying.group if not self._is_settled(number) and number not in fresh]
        trying.group = []
        half = -(-len(fresh) // 2)
        trying.waiting.extendleft(group for group in (fresh[half:], fresh[:half]) if group)
        if rest:
            trying.waiting.append(rest)
        if not trying.waiting:
            del self._trying[shard]

    def _is_settled(self, number: int) -> bool:
        return number in self._reasons or self._killed_alone[number] >= PROVED_AFTER

    def _reason(self, number: int, death: Death) -> str:
        times = self._deaths[number]
        return (
            f"its process {death.words} when it ran nothing but this trial, {PROVED_AFTER} times; it was running at "
            f"{times} deaths in all. --retry-errors asks it again"
        )
