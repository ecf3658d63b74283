"""What happened when, in at most a few hundred slots of time that grow as the time worked on does.

Idle time takes no slots, so a store that was filled on two nights shows two nights and not the week between them. A
trial's requests are taken as spread evenly over its duration, for rows do not tell when each was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from telemetry.latency import LatencyHistogram
from trials.rows import Row

MOST_SLOTS = 400
_IDLE_SLOTS = 10


@dataclass(slots=True, kw_only=True)
class Slot:
    """Sums over one slot: counts, and the latency per request (waits and provider) of the trials that ended in it."""

    ended: int = 0
    requests: float = 0.0
    repeats: float = 0.0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    def merge(self, other: Slot) -> None:
        """Add another slot's sums to this one's."""
        self.ended += other.ended
        self.requests += other.requests
        self.repeats += other.repeats
        self.latency.merge(other.latency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """A stretch of time without long idleness: its slots from ``start`` (Unix seconds) on, each ``slot_s`` long."""

    start: float
    slot_s: float
    slots: tuple[Slot, ...]

    @property
    def end(self) -> float:
        """Where its last slot ends."""
        return self.start + self.slot_s * len(self.slots)


class Timeline:
    """Slots of time by number; the first are a second long and double whenever they become too many."""

    def __init__(self) -> None:
        self.slot_s = 1.0
        self._slots: dict[int, Slot] = {}

    def add(self, row: Row) -> None:
        """Count one row that has its times; others cannot be placed and are left out."""
        start, end = row.get("started_at"), row.get("ended_at")
        if not start or not end or not 0 < start <= end:
            return
        requests = row.get("requests") or 0
        repeats = max(0, (row.get("attempts") or 0) - requests)
        shown = max(1, min(requests, 50))
        for place in range(shown):
            slot = self._at(start + (place + 0.5) / shown * (end - start))
            slot.requests += requests / shown
            slot.repeats += repeats / shown
        last = self._at(end)
        last.ended += 1
        asked = requests - (row.get("cache_hits") or 0)
        if asked > 0:
            waits = sum(row.get(name) or 0.0 for name in ("rate_wait_ms", "retry_wait_ms", "provider_ms"))
            last.latency.record(waits / asked)

    def sittings(self) -> list[Sitting]:
        """Return the stretches that were worked on, oldest first."""
        stretches: list[list[int]] = []
        for number in sorted(self._slots):
            if stretches and number - stretches[-1][-1] <= _IDLE_SLOTS:
                stretches[-1].append(number)
            else:
                stretches.append([number])
        return [self._sitting(stretch) for stretch in stretches]

    def _sitting(self, numbers: list[int]) -> Sitting:
        every = range(numbers[0], numbers[-1] + 1)
        slots = tuple(self._slots.get(number) or Slot() for number in every)
        return Sitting(start=numbers[0] * self.slot_s, slot_s=self.slot_s, slots=slots)

    def _at(self, moment: float) -> Slot:
        number = int(moment / self.slot_s)
        if number not in self._slots:
            self._slots[number] = Slot()
            while len(self._slots) > MOST_SLOTS:
                self._double()
        return self._slots[int(moment / self.slot_s)]

    def _double(self) -> None:
        self.slot_s *= 2
        halved: dict[int, Slot] = {}
        for number, slot in self._slots.items():
            if number // 2 in halved:
                halved[number // 2].merge(slot)
            else:
                halved[number // 2] = slot
        self._slots = halved
