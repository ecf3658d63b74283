"""Which trial goes to which shard, and when. Pure: no processes, no clock.

The even split is the plan: the k-th trial of a model that is to do goes to that model's shard k mod n. Shards
fetch small batches, so what is not yet handed out can move: with ``pull`` a shard that has nothing left takes from the
sibling with most left. Phases run one after another. Every trial number is in exactly one place at a time: waiting,
held by a shard, or ended; but for those that a second shard tries as well (``hedge``), which the first answer ends.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from heapq import heapify, heappop, heappush, heapreplace

from processes.waiting import Waiting
from trials.plan import TrialPlan


class Dispatcher:
    """Hands out the trials of a plan that are to do. Not thread-safe: one supervisor loop calls it.

    ``shard_models`` maps a shard's number to its model, ``done`` holds the numbers that need no asking.
    """

    def __init__(
        self,
        plan: TrialPlan,
        shard_models: Mapping[int, str],
        *,
        done: Container[int] = frozenset(),
        balance: str = "pull",
    ) -> None:
        self._siblings = _siblings(shard_models)
        self._shard_models = dict(shard_models)
        self._pull = balance == "pull"
        self._closed: set[int] = set()
        self._held: dict[int, set[int]] = {shard: set() for shard in shard_models}
        self._twice: dict[int, tuple[int, int]] = {}
        self._moved = dict.fromkeys(shard_models, 0)
        self.share, self.earlier = even_split(plan, shard_models), dict.fromkeys(shard_models, 0)
        self._phases: deque[dict[int, Waiting]] = deque()
        self._left: deque[Counter[str]] = deque()
        for phase in sorted({group.phase for group in plan.groups}):
            queues = self._queues(plan, phase, done)
            self._phases.append(queues)
            self._left.append(Counter())
            for shard, model in shard_models.items():
                self._left[-1][model] += len(queues[shard])
        self._rich = self._ranked()
        self._next_phase()

    def take(self, shard: int, count: int) -> list[int]:
        """Hand up to ``count`` trials to a shard, its own share first."""
        if not self._phases or shard in self._closed:
            return []
        queues = self._phases[0]
        taken = queues[shard].take(count)
        if not taken and self._pull:
            richest = self._richest(self._shard_models[shard])
            if richest is not None:
                # Half of what is left, so that the two shards end together rather than pass crumbs around.
                taken = queues[richest].take(min(count, -(-len(queues[richest]) // 2)))
                self._count_moved(len(taken), richest, shard)
        self._held[shard].update(taken)
        return taken

    def donors(self, shard: int) -> list[int]:
        """Return the siblings that hold trials which could move to a shard."""
        if not self._pull or shard in self._closed:
            return []
        return [one for one in self._siblings[self._shard_models[shard]] if one != shard and self._held[one]]

    def hand_over(self, donor: int, taker: int, numbers: Iterable[int]) -> None:
        """Move trials that a shard held and has let go into another's queue, first; ended ones are passed over."""
        moving = self._let_go(donor, numbers)
        if moving:
            self._put_back(taker, moving)
            self._count_moved(len(moving), donor, taker)

    def hedge(self, taker: int, numbers: Iterable[int]) -> None:
        """Let a second shard try trials that another one holds; each trial at most once."""
        for number in numbers:
            holder = next(shard for shard, held in self._held.items() if number in held)
            self._twice[number] = (holder, taker)
            self._held[taker].add(number)

    def is_hedged(self, number: int) -> bool:
        """Whether two shards try this trial."""
        return number in self._twice

    def ended(self, shard: int, numbers: Iterable[int], *, answered: bool = True) -> tuple[list[int], dict[int, int]]:
        """Note that a shard has ended these trials, whatever their status; return those that have ended by that.

        Not among them are trials that are not this shard's any more, and those that another shard is still at and that
        were not ``answered`` here. The second value maps trials that ended to who else tries them, and need not.
        """
        fresh, others = [], {}
        for number in self._held[shard].intersection(numbers):
            self._held[shard].remove(number)
            if (pair := self._twice.pop(number, None)) is not None:
                holder, taker = pair
                other = holder if shard == taker else taker
                if not answered:
                    continue
                self._held[other].discard(number)
                others[number] = other
                if shard == taker:
                    self._count_moved(1, holder, taker)
            fresh.append(number)
        self._give_up(shard, len(fresh))
        return fresh, others

    def returned(self, shard: int, *, but: Set[int] = frozenset()) -> list[int]:
        """Take back what a shard holds (it died), ``but`` for some; return the numbers. They wait again, first."""
        numbers = self._let_go(shard, self._held[shard] - but)
        if numbers:
            self._put_back(shard, numbers)
        return numbers

    def put_off(self, shard: int, numbers: Iterable[int]) -> None:
        """Take trials from a shard that nobody is to be given any more; they have not ended."""
        self._give_up(shard, len(self._let_go(shard, numbers)))

    def close(self, shard: int) -> None:
        """Give a shard no more work. With ``pull`` its share stays for its siblings to take, if it has any left."""
        self.returned(shard)
        self._closed.add(shard)
        open_siblings = set(self._siblings[self._shard_models[shard]]) - self._closed
        if not (self._pull and open_siblings):
            stranded = [self._shard_models[shard]] if self._pull else []
            for queues, left in zip(self._phases, self._left, strict=True):
                for one in {shard, *(s for model in stranded for s in self._siblings[model])}:
                    left[self._shard_models[one]] -= len(queues[one])
                    queues[one].clear()
        self._next_phase()

    def share_now(self, shard: int) -> int:
        """Return how many trials are a shard's: its share of the plan, less what moved away, plus what came to it."""
        return self.share[shard] + self._moved[shard]

    def held(self, shard: int) -> Set[int]:
        """Return the trials a shard holds."""
        return self._held[shard]

    def exhausted(self, shard: int) -> bool:
        """Whether a shard will never be given anything more."""
        if shard in self._closed:
            return True
        if self._pull:  # what a sibling holds comes back if it dies, so those who pull wait for it
            model = self._shard_models[shard]
            return not any(left[model] for left in self._left)
        return not self._held[shard] and not any(queues[shard] for queues in self._phases)

    def model(self, shard: int) -> str:
        """Return the model that a shard works for; trials move between those of one model."""
        return self._shard_models[shard]

    def _let_go(self, shard: int, numbers: Iterable[int]) -> list[int]:
        """Take trials from a shard, and return those that nobody else holds, in order."""
        gone = sorted(self._held[shard].intersection(numbers))
        self._held[shard].difference_update(gone)
        return [number for number in gone if self._twice.pop(number, None) is None]

    def _count_moved(self, count: int, donor: int, taker: int) -> None:
        self._moved[donor] -= count
        self._moved[taker] += count

    def _queues(self, plan: TrialPlan, phase: int, done: Container[int]) -> dict[int, Waiting]:
        queues = {shard: Waiting(done) for shard in self._held}
        for group in plan.groups:
            shards = self._siblings.get(group.model, [])
            if group.phase == phase:
                for place, shard in enumerate(shards):
                    numbers = group.numbers[place :: len(shards)]
                    self.earlier[shard] += len(numbers) - queues[shard].add(numbers)
        return queues

    def _put_back(self, shard: int, numbers: Sequence[int]) -> None:
        queues = self._phases[0]
        queues[shard].put_back(numbers)
        heappush(self._rich[self._shard_models[shard]], (-len(queues[shard]), shard))

    def _give_up(self, shard: int, count: int) -> None:
        """So many trials of a shard's model have ended, or are nobody's any more."""
        if count:
            self._left[0][self._shard_models[shard]] -= count
        self._next_phase()

    def _next_phase(self) -> None:
        while self._phases and not any(self._left[0].values()):
            self._phases.popleft()
            self._left.popleft()
            self._rich = self._ranked()

    def _ranked(self) -> dict[str, list[tuple[int, int]]]:
        """Return, by model, a heap of its shards by how much waits for them in this phase."""
        queues = self._phases[0] if self._phases else {}
        ranked = {model: [(-len(queues[one]), one) for one in some if queues] for model, some in self._siblings.items()}
        for heap in ranked.values():
            heapify(heap)
        return ranked

    def _richest(self, model: str) -> int | None:
        """Return the shard of a model for which most waits, the first of several; None if there is none."""
        heap, queues = self._rich[model], self._phases[0]
        while heap:
            length, shard = heap[0]
            if (now := len(queues[shard])) == -length and now:
                return shard
            # It has been taken from since; who came back to much was put in once more.
            if now:
                heapreplace(heap, (-now, shard))
            else:
                heappop(heap)
        return None


def even_split(plan: TrialPlan, shard_models: Mapping[int, str]) -> dict[int, int]:
    """Return how many trials each shard gets: the same for all, a remainder to the first ones of each phase."""
    return {shard: sum(map(len, numbers)) for shard, numbers in shares(plan, shard_models).items()}


def shares(plan: TrialPlan, shard_models: Mapping[int, str]) -> dict[int, list[range]]:
    """Return the numbers of the trials that the even split gives to each shard, a range per phase."""
    found: dict[int, list[range]] = {shard: [] for shard in shard_models}
    siblings = _siblings(shard_models)
    for group in plan.groups:
        shards = siblings.get(group.model, [])
        for place, shard in enumerate(shards):
            found[shard].append(group.numbers[place :: len(shards)])
    return found


def _siblings(shard_models: Mapping[int, str]) -> dict[str, Sequence[int]]:
    siblings: dict[str, list[int]] = {}
    for shard, model in sorted(shard_models.items()):
        siblings.setdefault(model, []).append(shard)
    return dict(siblings)
