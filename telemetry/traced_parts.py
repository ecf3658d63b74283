"""What the tracer is shown of a trial: how it asks, its HTTP attempts, and the parts of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trials.errors import ProviderError
from trials.words import Completion, Message, Trial


class Phases(Protocol):
    """How long the parts of an HTTP exchange took, in milliseconds; None for what is not known or did not happen."""

    @property
    def reused(self) -> bool:
        """Whether the connection was there before."""
        ...

    @property
    def lookup_ms(self) -> float | None:
        """To resolve the host's name."""
        ...

    @property
    def connect_ms(self) -> float | None:
        """To connect."""
        ...

    @property
    def tls_ms(self) -> float | None:
        """To agree on keys."""
        ...

    @property
    def first_byte_ms(self) -> float | None:
        """To send the request and get the first byte of the reply."""
        ...

    @property
    def body_ms(self) -> float | None:
        """To get the rest."""
        ...


class Addressed(Protocol):
    """Something that was sent somewhere."""

    @property
    def url(self) -> str:
        """Where to."""
        ...


class Attempt(Protocol):
    """What is seen of one HTTP attempt; ``sent_at`` is on the monotonic clock, in seconds."""

    number: int
    kind: str
    status: int | None
    sent_at: float
    latency_ms: float
    rate_wait_ms: float
    error: ProviderError | None

    @property
    def request(self) -> Addressed:
        """What was sent."""
        ...

    def phases(self) -> Phases | None:
        """Return how long its parts took. Only in the thread that made it, and before its next one."""
        ...


class Ask(Protocol):
    """Get one completion for a trial."""

    def __call__(
        self,
        trial: Trial,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        judge: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Completion: ...
