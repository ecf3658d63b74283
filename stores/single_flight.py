"""Identical calls in flight are made once: the first caller of a key asks, the others wait for its reply.

Within one process; ``stores.cache_keeper`` does the same between processes. A caller that comes to nothing lets one of
those who wait take its place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trials.errors import Drained
from trials.words import Completion

STOP_S = 0.05


class Flight:
    """One call. Whoever asks sets ``reply`` if others may have it, or ``unfit`` if nobody's would be."""

    __slots__ = ("_over", "reply", "unfit")

    def __init__(self) -> None:
        self.reply: Completion | None = None
        self.unfit = False
        self._over = threading.Event()

    def wait(self, stop: threading.Event) -> None:
        """Wait until the call is over. Raises Drained when told to stop."""
        while not self._over.wait(STOP_S):
            if stop.is_set():
                raise Drained("stopped while another call for the same reply was waited for")

    def land(self) -> None:
        """Wake all who wait."""
        self._over.set()


class Flights:
    """The calls in flight, by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: dict[str, Flight] = {}

    def board(self, key: str) -> tuple[Flight, bool]:
        """Return the flight of a key, and whether it is new: then the caller must ask, within ``asking``."""
        with self._lock:
            flight = self._by_key.get(key)
            if flight is not None:
                return flight, False
            flight = self._by_key[key] = Flight()
            return flight, True

    @contextmanager
    def asking(self, key: str, flight: Flight) -> Iterator[None]:
        """End the flight when the block ends, well or badly."""
        try:
            yield
        finally:
            with self._lock:
                del self._by_key[key]
            flight.land()
