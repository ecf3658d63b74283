"""A desk whose control goes by a lease: sends what is due to who keeps the scope's limit, and takes what it grants.

The way there is a function that is handed in and may take its time, so a thread of its own calls it. Grants come later,
by ``granted``. What is said between the two stands in rate_leases.py.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import Any

from providers.clock import Clock
from providers.rate_control import Change, Permit, RateControl
from providers.rate_desk import Desk, Party
from providers.rate_hints import Hints
from providers.rate_leased import Leased

TICK_S = 0.25
"""So often is looked whether a report is due where nobody asks for leave."""


class LeasedDesk(Desk):
    """See ``Desk``. ``send`` takes a report on its way, in order, from one thread."""

    def __init__(
        self,
        law: Leased,
        qps: float,
        clock: Clock,
        send: Callable[[dict[str, Any]], None],
        on_change: Callable[[Change], None] | None = None,
    ) -> None:
        super().__init__(
            RateControl(qps, clock.now(), adaptive=law.adapts, on_change=on_change, law=law),
            clock,
        )
        self._law = law
        self._send = send
        self._reports: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = Thread(target=self._carry, name="rate-lease", daemon=True)
        self._thread.start()

    def permits(self, party: Party, costs: Sequence[float]) -> tuple[list[Permit], float]:
        """See ``Desk``."""
        answer = super().permits(party, costs)
        self._look()
        return answer

    def settle(self, party: Party, permit: Permit, outcome: str, hints: Hints, tokens: float | None) -> None:
        """See ``Desk``."""
        super().settle(party, permit, outcome, hints, tokens)
        self._look()

    def granted(self, grant: Mapping[str, Any]) -> None:
        """Go by what the keeper of the limit grants; one that is not for this desk is passed over."""
        with self._lock:
            now = self._clock.now()
            if self._law.take(grant, now):
                self.control.moved(now)

    def close(self) -> None:
        """Give the lease back; returns once that has been sent."""
        self._reports.put(None)
        self._thread.join(TICK_S)

    def _look(self) -> None:
        with self._lock:
            report = self._law.due(self._clock.now())
            if report is not None:
                self._reports.put(report)

    def _carry(self) -> None:
        while True:
            try:
                report = self._reports.get(timeout=TICK_S)
            except queue.Empty:
                self._look()
                continue
            if report is None:
                with self._lock:
                    leaving = self._law.leave(self._clock.now())
                    self.control.moved(self._clock.now())
                self._send(leaving)
                return
            self._send(report)
