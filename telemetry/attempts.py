"""Counts a shard's HTTP attempts as they are made, and writes them to its log when debugging."""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol

from telemetry.latency import LatencyHistogram, RateMeter
from telemetry.traffic import Traffic
from trials.words import Completion


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

    @property
    def rate_wait_ms(self) -> float:
        """How long the rate limiter held it back before."""
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
        self._traffic = Traffic()
        self._log = log
        self._lock = threading.Lock()

    def seen(self, attempt: Attempt) -> None:
        """Take note of one attempt."""
        self.latencies.record(attempt.latency_ms)
        self.rate.record()
        with self._lock:
            self.requests += 1
            self.rejected_429 += attempt.status == 429
            self._traffic.called(attempt.kind, attempt.latency_ms, attempt.rate_wait_ms)
        if self._log is not None:
            self._log.debug("%s\n%s\n\n%s", attempt.kind, attempt.request_text(), attempt.reply_text())

    def answered(self, completion: Completion) -> None:
        """Take note of a reply that was asked for; a cached one costs nothing and is none."""
        if not completion.cached:
            with self._lock:
                self._traffic.answered(completion.prompt_tokens, completion.completion_tokens, completion.cost_usd)

    def queued(self, wait_ms: float) -> None:
        """Take note of how long a trial waited in this process before it began."""
        with self._lock:
            self._traffic.queued(wait_ms)

    def hit(self, wait_s: float) -> None:
        """Take note of a reply that came without a call."""
        with self._lock:
            self._traffic.hit(wait_s)

    def limit_changed(self, unit: str, reason: str) -> None:
        """Take note of a change of the rate limit, of requests or tokens, and why."""
        with self._lock:
            self._traffic.limit_changed(unit, reason)

    def traffic(self) -> dict[str, Any]:
        """Return all counts so far as nested dicts of numbers; see ``telemetry.traffic``."""
        with self._lock:
            return self._traffic.to_json()
