"""The rate limit of one scope under worker threads: who may send next, and when.

Threads stand in one line. The one that leads it asks the source for as many as wait, hands leave to the first ones in
the order they came, and sleeps until there may be more; the others sleep until they are handed theirs. So a request
costs one wake-up, however many threads wait, and a change of the limit moves everyone. The source is a control in this
process, or one shared with others (rate_sharing.py); see docs/rate-control.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from threading import Event, Lock
from typing import Any, Protocol

from providers.clock import Clock, MonotonicClock
from providers.rate_control import NO_HINTS, Change, Permit, RateControl
from providers.rate_desk import UNUSED, Desk
from providers.rate_hints import Hints
from trials.errors import Drained, ProviderError

GRACE_S = 30.0
"""So long is tried for a request that comes when all has been refused for longer than anyone is patient."""

MOST_AT_ONCE = 32
_SHORTEST_NAP_S = 0.01
"""Waking costs more than all that is decided; at high rates a few requests go at each."""


class Source(Protocol):
    """Gives leave to send. One thread at a time calls ``permits``, any thread the others; none waits for long."""

    def permits(self, costs: Sequence[float]) -> tuple[list[Permit], float]:
        """Return leave for the first few of these requests, and in how many seconds to ask for the rest.

        ``costs`` are the tokens that each may use at most.
        """
        ...

    def settle(self, permit: Permit, outcome: str, hints: Hints, tokens: float | None) -> None:
        """Tell how a request ended; see ``RateControl.settle``."""
        ...

    def granted(self, grant: Mapping[str, Any]) -> None:
        """Take what the keeper of a limit on many nodes grants (rate_leases.py)."""
        ...

    @property
    def refusing_since(self) -> float | None:
        """When the provider began to answer nothing but 429, if it does."""
        ...

    @property
    def limit_qps(self) -> float:
        """The rate now allowed, in requests per second."""
        ...

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in words."""
        ...

    @property
    def parties(self) -> int:
        """How many processes share the limit."""
        ...

    def close(self) -> None:
        """Let go of what is shared with others."""
        ...


class _Place:
    """One thread's place in line. ``woken`` is held until the thread is handed its permit, the lead, or its leave."""

    __slots__ = ("leads", "permit", "stop", "tokens", "woken")

    def __init__(self, tokens: float, stop: Event) -> None:
        self.tokens = tokens
        self.stop = stop
        self.permit: Permit | None = None
        self.leads = False
        self.woken = Lock()
        self.woken.acquire()


class RateLimiter:
    """Paces the requests of one scope. Safe to use from many threads; times are on its clock, in seconds."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._lock = Lock()
        self._line: deque[_Place] = deque()

    def acquire(
        self, stop: Event, *, tokens: float = 0.0, patience_s: float = float("inf"), began: float | None = None
    ) -> Permit:
        """Wait for leave to send one request, which ``settle`` must be told the end of.

        ``tokens`` is what it may use at most. Raises Drained once ``stop`` is set (and ``recheck`` called), and
        ProviderError when the provider has answered nothing but 429 for ``patience_s``; but not before the request,
        which was first sent or queued at ``began`` (None: now), has had its chance.
        """
        if stop.is_set():
            raise Drained("the run is stopping")
        came = self._clock.now()
        first = came if began is None else began
        wait_s: float | None = None
        with self._lock:
            if not self._line:
                permits, wait_s = self._source.permits((tokens,))
                if permits:
                    return permits[0]
            place = _Place(tokens, stop)
            self._line.append(place)
            place.leads = len(self._line) == 1
        if not place.leads:
            place.woken.acquire()
        if place.permit is None:
            self._lead(place, first, patience_s, wait_s)
        permit = place.permit
        assert permit is not None
        permit.waited_s = self._clock.now() - came
        return permit

    def recheck(self) -> None:
        """Let everyone in line look at their ``stop`` now."""
        with self._lock:
            for place in [place for place in self._line if place.stop.is_set() and not place.leads]:
                self._line.remove(place)
                place.woken.release()

    def settle(self, permit: Permit, outcome: str, hints: Hints = NO_HINTS, tokens: float | None = None) -> None:
        """Tell how a request ended; see ``RateControl.settle``."""
        self._source.settle(permit, outcome, hints, tokens)

    def granted(self, grant: Mapping[str, Any]) -> None:
        """Take what the keeper of a limit on many nodes grants; what is not for this limiter is passed over."""
        self._source.granted(grant)

    def close(self) -> None:
        """Let go of what is shared with others."""
        self._source.close()

    @property
    def limit_qps(self) -> float:
        """The rate now allowed, in requests per second."""
        return self._source.limit_qps

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in words."""
        return self._source.reason

    @property
    def parties(self) -> int:
        """How many processes share the limit, this one included."""
        return self._source.parties

    @property
    def waiting(self) -> int:
        """How many threads wait for leave now."""
        return len(self._line)

    def _lead(self, place: _Place, first: float, patience_s: float, wait_s: float | None) -> None:
        """Hand out permits until this place has its own. A place that is not in line any more has been let go.

        ``wait_s`` is how long there will be none, if that has just been asked.
        """
        try:
            while True:
                if place.stop.is_set():
                    raise Drained("the run is stopping")
                if wait_s is None:
                    wait_s = self._hand_out()
                if place.permit is not None:
                    return
                since, now = self._source.refusing_since, self._clock.now()
                if since is not None and now >= max(since + patience_s, first + min(GRACE_S, patience_s)):
                    raise ProviderError(f"nothing but 429s for {now - since:.0f} s", kind="rate_limited", attempts=0)
                self._clock.wait(place.stop, max(wait_s, _SHORTEST_NAP_S))
                wait_s = None
        finally:
            self._pass_on(place)

    def _hand_out(self) -> float:
        """Ask for the first ones in line, and wake those who may go; return the seconds until there may be more."""
        with self._lock:
            costs = [place.tokens for place in islice(self._line, MOST_AT_ONCE)]
        permits, wait_s = self._source.permits(costs)
        with self._lock:
            for permit in permits:
                if not self._line:
                    # Who it was meant for has left the line meanwhile; it says nothing of the provider.
                    self._source.settle(permit, UNUSED, NO_HINTS, 0.0)
                    continue
                place = self._line.popleft()
                place.permit = permit
                if not place.leads:
                    place.woken.release()
        return wait_s

    def _pass_on(self, place: _Place) -> None:
        """Leave the line, if still in it, and let the first who is left lead it."""
        if not place.leads:
            return
        with self._lock:
            if place.permit is None:
                self._line.remove(place)
            if self._line:
                self._line[0].leads = True
                self._line[0].woken.release()


class OwnSource:
    """The control is in this process. Other parties may be served at the same desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._party = desk.join()

    def permits(self, costs: Sequence[float]) -> tuple[list[Permit], float]:
        """See ``Source``."""
        return self._desk.permits(self._party, costs)

    def settle(self, permit: Permit, outcome: str, hints: Hints, tokens: float | None) -> None:
        """See ``Source``."""
        self._desk.settle(self._party, permit, outcome, hints, tokens)

    def granted(self, grant: Mapping[str, Any]) -> None:
        """See ``Source``."""
        self._desk.granted(grant)

    @property
    def refusing_since(self) -> float | None:
        """See ``Source``."""
        return self._desk.control.refusing_since

    @property
    def limit_qps(self) -> float:
        """See ``Source``."""
        return self._desk.control.limit_qps

    @property
    def reason(self) -> str:
        """See ``Source``."""
        return self._desk.control.reason

    @property
    def parties(self) -> int:
        """See ``Source``."""
        return self._desk.parties

    def close(self) -> None:
        """See ``Source``."""
        self._desk.close()


def limiter_for(
    qps: float, rate_mode: str, clock: Clock | None = None, on_change: Callable[[Change], None] | None = None
) -> RateLimiter:
    """Return the limiter of one scope: ``adaptive`` starts at ``qps``, any other mode keeps it.

    ``on_change`` is told of each change of the limit, from the thread that met its cause; it must not wait.
    """
    clock = clock or MonotonicClock()
    control = RateControl(qps, clock.now(), adaptive=rate_mode == "adaptive", on_change=on_change)
    return RateLimiter(OwnSource(Desk(control, clock)), clock)
