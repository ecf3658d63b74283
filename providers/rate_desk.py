"""One rate control for several parties: the processes that send on one scope, each served as often as the others.

A party that wants to send and was served least goes first; one that wants nothing costs the others nothing (start-time
fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996, with requests as the unit). Knows nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from providers.clock import Clock
from providers.rate_control import Permit, RateControl
from providers.rate_hints import Hints

UNUSED = "unused"
"""How a permit ended that nobody sent a request for."""

TURN_S = 0.02
"""A party may be served ahead of the others by so many seconds' worth, for the sake of fewer changes of hands."""

_STILL_WANTS_S = 0.05
_HELD_BACK_S = 0.005


class Party:
    """What the desk knows of one party. ``out`` holds its permits that are not settled, by their number."""

    __slots__ = ("out", "served", "wants_until")

    def __init__(self, served: float) -> None:
        self.served = served
        self.wants_until = 0.0
        self.out: dict[int, Permit] = {}


class Desk:
    """Hands out the permits of one control. Thread-safe."""

    def __init__(self, control: RateControl, clock: Clock) -> None:
        self.control = control
        self._clock = clock
        self._lock = Lock()
        self._parties: list[Party] = []

    @property
    def parties(self) -> int:
        """How many share the limit."""
        return len(self._parties)

    def join(self) -> Party:
        """Return a place at the desk."""
        with self._lock:
            party = Party(min((one.served for one in self._parties), default=0.0))
            self._parties.append(party)
        return party

    def leave(self, party: Party) -> None:
        """Take a party's permits back: it has gone, and what became of its requests will not be known."""
        with self._lock:
            self._parties.remove(party)
            self.control.forget(len(party.out))
            party.out.clear()

    def permits(self, party: Party, costs: Sequence[float]) -> tuple[list[Permit], float]:
        """Return leave for the first few of these requests, and in how many seconds to ask for the rest."""
        granted: list[Permit] = []
        wait_s = 0.0
        with self._lock:
            now = self._clock.now()
            self._come(party, now)
            for cost in costs:
                answer = _HELD_BACK_S if self._is_ahead(party, now) else self.control.try_acquire(now, cost)
                if not isinstance(answer, Permit):
                    wait_s = answer
                    break
                granted.append(answer)
                party.served += 1.0
                party.out[answer.number] = answer
            party.wants_until = now + wait_s + _STILL_WANTS_S if wait_s else 0.0
        return granted, wait_s

    def settle(self, party: Party, permit: Permit, outcome: str, hints: Hints, tokens: float | None) -> None:
        """Tell how the request of a permit ended; one of another desk is passed over."""
        with self._lock:
            if party.out.get(permit.number) is not permit:
                return
            del party.out[permit.number]
            if outcome == UNUSED:
                self.control.forget(1)
            else:
                self.control.settle(self._clock.now(), permit, outcome, hints, tokens)

    def granted(self, grant: Mapping[str, Any]) -> None:
        """Take note of a grant; a desk with a law of its own goes by none."""

    def close(self) -> None:
        """Let go of what is shared with others."""

    def _come(self, party: Party, now: float) -> None:
        """Who wanted nothing for a while has no claim from that time."""
        if party.wants_until < now and len(self._parties) > 1:
            wanting = [one.served for one in self._parties if one.wants_until >= now]
            party.served = max(party.served, min(wanting, default=party.served))

    def _is_ahead(self, party: Party, now: float) -> bool:
        """Whether somebody else who waits was served less, by more than a turn."""
        if len(self._parties) == 1:
            return False
        turn = max(1.0, TURN_S * self.control.limit_qps)
        return any(
            one.wants_until >= now and one.served + turn <= party.served for one in self._parties if one is not party
        )
