"""Asks one deployment: waits for its turn, sends, reads, and tries again until there is a completion or no hope.

Keeps no counts and writes no logs: every HTTP attempt is shown to ``observe``, who does with it as they like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from providers.clock import Clock, MonotonicClock
from providers.keys import HIDDEN, Key, redact
from providers.rates import RateLimiter
from providers.retry import Backoff
from providers.transport import HttpReply, HttpRequest, Transport
from providers.wire import build_request, describe, read_reply, tidy
from trials.errors import Drained, ProviderError
from trials.words import Completion, Deployment, Message, Sampling

OK = "ok"
_KEY_HEADERS = ("authorization", "api-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSeen:
    """One HTTP attempt, for counters and debug logs. ``sent_at`` is on the client's clock, in seconds.

    ``kind`` is ``ok`` or that of the error. ``number`` counts the attempts of one request from 1. The texts are made
    only when asked for, and hold no key.
    """

    number: int
    kind: str
    status: int | None
    sent_at: float
    latency_ms: float
    rate_wait_ms: float
    trial_header: str
    error: ProviderError | None
    request: HttpRequest
    reply: HttpReply | None
    key: Key

    def request_text(self) -> str:
        """Return the request as it was sent, the key hidden."""
        headers = {
            name: HIDDEN if name.lower() in _KEY_HEADERS else value for name, value in self.request.headers.items()
        }
        return self._text(f"POST {self.request.url}", headers, self.request.body)

    def reply_text(self) -> str:
        """Return the reply as it came, or the error in its place, the key hidden."""
        if self.reply is None:
            return str(self.error)
        return self._text(f"HTTP {self.reply.status}", self.reply.headers, self.reply.body)

    def _text(self, first: str, headers: Mapping[str, str], body: bytes) -> str:
        lines = [first, *(f"{name}: {value}" for name, value in headers.items()), "", body.decode("utf-8", "replace")]
        return redact("\n".join(lines), (self.key.secret,))


class ChatClient:
    """Asks one deployment for completions, from any number of threads."""

    def __init__(
        self,
        *,
        deployment: Deployment,
        key: Key,
        limiter: RateLimiter,
        transport: Transport,
        stop: Event,
        observe: Callable[[AttemptSeen], None],
        clock: Clock | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.deployment = deployment
        self._key = key
        self._limiter = limiter
        self._transport = transport
        self._stop = stop
        self._observe = observe
        self._clock = clock or MonotonicClock()
        self._backoff = backoff or Backoff()

    def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        sampling: Sampling,
        trial_header: str = "",
    ) -> Completion:
        """Return a completion, with what it cost.

        Raises ProviderError when the attempts are used up or another would not help, Drained when ``stop`` is set
        while waiting; an attempt that is under way is still finished.
        """
        request = build_request(self.deployment, self._key, messages, tools, sampling, trial_header)
        rate_wait_s = retry_wait_s = 0.0
        number = 0
        while True:
            number += 1
            wait_s = self._limiter.acquire(self._stop)
            rate_wait_s += wait_s
            seen, outcome = self._attempt(request, number, wait_s, trial_header)
            if isinstance(outcome, Completion):
                return replace(
                    outcome,
                    attempts=number,
                    rate_wait_ms=rate_wait_s * 1000,
                    retry_wait_ms=retry_wait_s * 1000,
                    provider_ms=seen.latency_ms,
                )
            retry_wait_s += self._back_off(outcome, number)

    def _attempt(
        self, request: HttpRequest, number: int, wait_s: float, trial_header: str
    ) -> tuple[AttemptSeen, Completion | ProviderError]:
        sent_at = self._clock.now()
        reply, outcome = self._exchange(request)
        latency_s = self._clock.now() - sent_at
        error = outcome if isinstance(outcome, ProviderError) else None
        self._tell_limiter(error, sent_at)
        seen = AttemptSeen(
            number=number,
            kind=error.kind if error else OK,
            status=reply.status if reply else error.status if error else None,
            sent_at=sent_at,
            latency_ms=latency_s * 1000,
            rate_wait_ms=wait_s * 1000,
            trial_header=trial_header,
            error=error,
            request=request,
            reply=reply,
            key=self._key,
        )
        self._observe(seen)
        return seen, outcome

    def _exchange(self, request: HttpRequest) -> tuple[HttpReply | None, Completion | ProviderError]:
        try:
            reply = self._transport.send(request, self.deployment.timeout_s)
        except ProviderError as error:
            return None, _reworded(error, describe(self.deployment, tidy(str(error), self._key)))
        try:
            return reply, read_reply(reply, self.deployment, self._key)
        except ProviderError as error:
            return reply, error

    def _tell_limiter(self, error: ProviderError | None, sent_at: float) -> None:
        if error is None:
            self._limiter.on_success(sent_at)
        elif error.kind == "rate_limited":
            self._limiter.on_rejected(sent_at, error.retry_after_s)
        else:
            self._limiter.on_failure(sent_at)

    def _back_off(self, error: ProviderError, attempts: int) -> float:
        """Wait before the next attempt and return the seconds waited, or raise ``error`` if there is none."""
        if not error.retryable or attempts >= self.deployment.max_attempts:
            times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            raise _reworded(error, f"{error} (after {times})", attempts) from error
        began = self._clock.now()
        if self._clock.wait(self._stop, self._backoff.delay_s(attempts, error.retry_after_s)):
            raise Drained("the run is stopping")
        return self._clock.now() - began


def _reworded(error: ProviderError, words: str, attempts: int = 1) -> ProviderError:
    return ProviderError(
        words,
        kind=error.kind,
        status=error.status,
        retryable=error.retryable,
        fatal=error.fatal,
        retry_after_s=error.retry_after_s,
        attempts=attempts,
    )
