"""A shard's end of the pipes: messages from the supervisor, messages to it, and whether it is still there."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from processes.messages import Message, pack, unpack


class Parent:
    """The supervisor, seen from a shard. Reads ``source`` and writes ``target``, both file descriptors.

    ``gone()`` turns true at end of file, at a broken pipe, or after ``silence_s`` without a message. Thread-safe.
    """

    def __init__(
        self, source: int, target: int, *, silence_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._target = target
        self._silence_s = silence_s
        self._clock = clock
        self._heard_at = clock()
        self._lost = threading.Event()
        self._sending = threading.Lock()
        threading.Thread(target=self._read, args=(source,), name="parent-reader", daemon=True).start()

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message. Blocks while the supervisor does not read; drops the message once it is gone."""
        line = pack(kind, **fields)
        try:
            with self._sending:
                while line and not self._lost.is_set():
                    line = line[os.write(self._target, line) :]
        except OSError:
            self._lost.set()

    def gone(self) -> bool:
        """Whether the supervisor has closed its end, or has been silent for too long."""
        return self._lost.is_set() or self._clock() - self._heard_at > self._silence_s

    def _read(self, source: int) -> None:
        with os.fdopen(source, "rb", closefd=False) as lines:
            for line in lines:
                self._heard_at = self._clock()
                message = unpack(line)
                if message is not None:
                    self.inbox.put(message)
        self._lost.set()
