"""Counts a shard's HTTP attempts as they are made, and writes them to its log when debugging."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from telemetry.latency import LatencyHistogram, RateMeter


class Attempt(Protocol):
    """What is seen of one attempt; the texts are made only when asked for, and hold no key."""

    @property
    def kind(self) -> str:
        """``ok`` or the error's kind."""
        ...

    @property
    def status(self) -> int | None:
        """The HTTP status, if there was one."""
        ...

    @property
    def latency_ms(self) -> float:
        """How long the exchange took."""
        ...

    def request_text(self) -> str:
        """Return the request."""
        ...

    def reply_text(self) -> str:
        """Return the reply, or the error in its place."""
        ...


class Meter:
    """Counts and latencies of a shard's HTTP attempts; writes them to a log if one is given. Thread-safe."""

    def __init__(self, log: logging.Logger | None) -> None:
        self.latencies = LatencyHistogram()
        self.rate = RateMeter()
        self.requests = 0
        self.rejected_429 = 0
        self._log = log
        self._lock = threading.Lock()

    def seen(self, attempt: Attempt) -> None:
        """Take note of one attempt."""
        self.latencies.record(attempt.latency_ms)
        self.rate.record()
        with self._lock:
            self.requests += 1
            self.rejected_429 += attempt.status == 429
        if self._log is not None:
            self._log.debug("%s\n%s\n\n%s", attempt.kind, attempt.request_text(), attempt.reply_text())
