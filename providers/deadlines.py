"""Ends HTTP exchanges that outlive their deadline, whatever they are doing.

Socket timeouts bound one read, not the whole reply: a server that sends a byte a second never trips them. One thread
looks at all exchanges in flight a few times a second and shuts the sockets of the late ones down, which ends the
read their own thread is in. Knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import socket
import time
from threading import Event, Lock, Thread, get_ident

TICK_S = 0.2


class _Exchange:
    __slots__ = ("cut_short", "due", "sock")

    def __init__(self, due: float) -> None:
        self.due = due
        self.cut_short = False
        self.sock: socket.socket | None = None


class Deadlines:
    """Watches at most one exchange of each thread. Safe to use from many threads at once."""

    def __init__(self) -> None:
        self._exchanges: dict[int, _Exchange] = {}
        self._closed = Event()
        self._starting = Lock()
        self._watcher: Thread | None = None

    def begin(self, due: float) -> None:
        """Watch the calling thread's exchange until ``end``; ``due`` is on the monotonic clock."""
        self._exchanges[get_ident()] = _Exchange(due)
        if self._watcher is None:
            self._start()

    def attach(self, sock: socket.socket | None) -> None:
        """Name the socket that the calling thread's exchange now uses."""
        exchange = self._exchanges.get(get_ident())
        if exchange is not None:
            exchange.sock = sock

    def end(self) -> bool:
        """Stop watching the calling thread's exchange and return whether it was cut short.

        To the reader of a reply that ends with its connection, a cut looks like the end.
        """
        return self._exchanges.pop(get_ident()).cut_short

    def close(self) -> None:
        """Stop the watching thread."""
        self._closed.set()

    def _start(self) -> None:
        with self._starting:
            if self._watcher is None:
                self._watcher = Thread(target=self._watch, name="deadlines", daemon=True)
                self._watcher.start()

    def _watch(self) -> None:
        while not self._closed.wait(TICK_S):
            now = time.monotonic()
            for exchange in list(self._exchanges.values()):
                if now >= exchange.due and exchange.sock is not None:
                    exchange.cut_short = True
                    _shut_down(exchange.sock)


def _shut_down(sock: socket.socket) -> None:
    # The plain socket's method: that of a TLS socket would also take the TLS state away under the reading thread.
    with contextlib.suppress(OSError, TypeError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
