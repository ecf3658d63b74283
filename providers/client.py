"""Asks one deployment: waits for its turn, sends, reads, and tries again until there is a completion or no hope.

Keeps no counts and writes no logs: every HTTP attempt is shown to ``observe``, who does with it as they like. A 429
uses up no attempt of its request: it says that the request came too soon, not that it failed. Time bounds those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from providers.clock import Clock, MonotonicClock
from providers.keys import HIDDEN, Key, redact
from providers.rate_control import FAILED, REJECTED, Permit
from providers.rate_control import OK as ADMITTED
from providers.rate_hints import read_hints
from providers.rates import RateLimiter
from providers.retry import Backoff
from providers.transport import HttpReply, HttpRequest, Phases, Transport
from providers.wire import build_request, describe, read_reply, tidy
from trials.errors import Drained, ProviderError
from trials.words import Completion, Deployment, Message, Sampling

OK = "ok"
RATE_LIMITED = "rate_limited"
PATIENCE_S = 600.0
"""How long a request may meet nothing but 429s."""

_BYTES_PER_TOKEN = 4
_READ_BYTES = 5000
_KEY_HEADERS = ("authorization", "api-key")


@dataclass(slots=True, kw_only=True)
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
    transport: Transport

    def phases(self) -> Phases | None:
        """Return how long its parts took. Only for ``observe``: the next attempt of its thread overwrites them."""
        return self.transport.phases()

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
        observe: Callable[[AttemptSeen], None],
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.deployment = deployment
        self._key = key
        self._limiter = limiter
        self._transport = transport
        self._observe = observe
        self._clock = clock or MonotonicClock()
        self._backoff = backoff or Backoff()
        self._patience_s = patience_s

    def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        sampling: Sampling,
        stop: Event,
        trial_header: str = "",
    ) -> Completion:
        """Return a completion, with what it cost.

        Raises ProviderError when the attempts are used up or another would not help, or when nothing but 429s came for
        ``patience_s`` (kind ``rate_limited``); Drained when ``stop`` is set while waiting; an attempt that is under way
        is still finished.
        """
        request = build_request(self.deployment, self._key, messages, tools, sampling, trial_header)
        tokens = len(request.body) / _BYTES_PER_TOKEN + sampling.max_tokens
        now = self._clock.now()
        tries = _Tries(began=now, refused_from=now)
        while True:
            permit = self._permit(tokens, tries, stop)
            outcome = self._attempt(request, permit, tries, trial_header)
            if isinstance(outcome, Completion):
                return outcome
            tries.retry_wait_s += self._back_off(outcome, tries, stop)

    def _permit(self, tokens: float, tries: _Tries, stop: Event) -> Permit:
        try:
            permit = self._limiter.acquire(stop, tokens=tokens, patience_s=self._patience_s, began=tries.began)
        except ProviderError as error:
            raise _given_up(error, describe(self.deployment, str(error)), tries.sent) from error
        tries.sent += 1
        tries.rate_wait_s += permit.waited_s
        return permit

    def _attempt(
        self, request: HttpRequest, permit: Permit, tries: _Tries, trial_header: str
    ) -> Completion | ProviderError:
        sent_at = self._clock.now()
        try:
            reply, outcome = self._exchange(request, tries)
        except BaseException:
            self._limiter.settle(permit, FAILED)
            raise
        error = outcome if isinstance(outcome, ProviderError) else None
        self._settle(permit, reply, outcome)
        seen = AttemptSeen(
            number=tries.sent,
            kind=error.kind if error else OK,
            status=reply.status if reply else error.status if error else None,
            sent_at=sent_at,
            latency_ms=tries.provider_ms,
            rate_wait_ms=permit.waited_s * 1000,
            trial_header=trial_header,
            error=error,
            request=request,
            reply=reply,
            key=self._key,
            transport=self._transport,
        )
        self._observe(seen)
        return outcome

    def _exchange(self, request: HttpRequest, tries: _Tries) -> tuple[HttpReply | None, Completion | ProviderError]:
        sent_at = self._clock.now()
        try:
            reply = self._transport.send(request, self.deployment.timeout_s)
        except ProviderError as error:
            return None, _reworded(error, describe(self.deployment, tidy(str(error), self._key)))
        finally:
            tries.provider_ms = (self._clock.now() - sent_at) * 1000
        try:
            return reply, read_reply(
                reply,
                self.deployment,
                self._key,
                attempts=tries.sent,
                rate_wait_ms=tries.rate_wait_s * 1000,
                retry_wait_ms=tries.retry_wait_s * 1000,
                provider_ms=tries.provider_ms,
            )
        except ProviderError as error:
            return reply, _reworded(error, str(error))

    def _settle(self, permit: Permit, reply: HttpReply | None, outcome: Completion | ProviderError) -> None:
        """Tell the limiter how an attempt ended, and what the reply says of the provider's limits."""
        if isinstance(outcome, Completion):
            used = outcome.prompt_tokens + outcome.completion_tokens
            hints = read_hints(reply.headers if reply else {})
            self._limiter.settle(permit, ADMITTED, hints, tokens=used or None)
        elif outcome.kind == RATE_LIMITED and reply is not None:
            text = reply.body[:_READ_BYTES].decode("utf-8", "replace")
            self._limiter.settle(permit, REJECTED, read_hints(reply.headers, text or "429"))
        else:
            # A request that is refused for what it is says nothing against the server.
            failed = outcome.retryable or outcome.fatal
            self._limiter.settle(permit, FAILED if failed else ADMITTED)

    def _back_off(self, error: ProviderError, tries: _Tries, stop: Event) -> float:
        """Wait before the next attempt and return the seconds waited, or raise ``error`` if there is none."""
        now = self._clock.now()
        if error.kind == RATE_LIMITED:
            tries.refused += 1
            waited_out = now - tries.refused_from >= self._patience_s
            # The limiter keeps the pace, and heeds Retry-After as far as it is worth it; this is for the one request
            # that is refused time and again where others are not.
            delay_s = self._backoff.delay_s(tries.refused)
        else:
            tries.failed += 1
            tries.refused, tries.refused_from = 0, now
            waited_out = tries.failed >= self.deployment.max_attempts
            delay_s = self._backoff.delay_s(tries.failed, error.retry_after_s)
        if not error.retryable or waited_out:
            raise _given_up(error, str(error), tries.sent) from error
        if self._clock.wait(stop, delay_s):
            raise Drained("the run is stopping")
        return self._clock.now() - now


@dataclass(slots=True, kw_only=True)
class _Tries:
    """How a request has fared so far.

    ``refused`` counts 429s in a row, which began at ``refused_from`` or later; ``provider_ms`` is the last attempt's.
    """

    began: float
    refused_from: float
    sent: int = 0
    failed: int = 0
    refused: int = 0
    rate_wait_s: float = 0.0
    retry_wait_s: float = 0.0
    provider_ms: float = 0.0


def _given_up(error: ProviderError, words: str, attempts: int) -> ProviderError:
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return _reworded(error, f"{words} (after {times})", attempts)


def _reworded(error: ProviderError, words: str, attempts: int = 1) -> ProviderError:
    """Return an error that holds on to nothing: with its traceback, a request would wait for the garbage collector."""
    return ProviderError(
        words,
        kind=error.kind,
        status=error.status,
        retryable=error.retryable,
        fatal=error.fatal,
        retry_after_s=error.retry_after_s,
        attempts=attempts,
    )
