"""The one error tree. An attribute says whether an error may be retried; nothing matches on message text."""

from __future__ import annotations


class RunnerError(Exception):
    """Base of every error this project raises on purpose. Its text is written for the user."""


class UsageError(RunnerError):
    """The user asked for something that cannot be done; ends the program with exit code 2."""


class StoreError(RunnerError):
    """A results store, journal or run directory cannot be read or written as asked."""


class ProviderError(RunnerError):
    """A provider did not give a usable completion. Never the model's failure.

    ``kind`` is one of ``rate_limited``, ``server_error``, ``timeout``, ``connection``, ``bad_reply``,
    ``rejected`` (this request was refused), ``access`` (key or deployment refused: 401, 403, 404).
    ``retryable`` says whether another attempt of the same request may succeed; ``fatal`` that no request to
    this deployment can succeed, so that the shard must stop. ``retry_after_s`` is what the server asked for, or None.
    ``attempts`` counts the HTTP tries of the request so far.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int | None = None,
        retryable: bool = False,
        fatal: bool = False,
        retry_after_s: float | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retryable = retryable
        self.fatal = fatal
        self.retry_after_s = retry_after_s
        self.attempts = attempts


class BadTarget(RunnerError):
    """A question's own label cannot be read as its scorer needs it: nothing is known of the model, whatever it said."""


class Drained(RunnerError):
    """The run is stopping: the trial in hand stays pending and goes on where it was at the next start."""
