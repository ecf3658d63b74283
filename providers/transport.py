"""The seam between what is said and how it travels: one HTTP request, one reply, no knowledge of chat.

A transport neither retries nor follows redirects, so a key never travels to another host. Implementations live in
modules of their own, imported only when they are opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A POST. The headers hold the key, so the repr leaves them out."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpRequest({self.url}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A whole reply; header names are in lower case. A provider may quote the key, so the repr leaves the body out."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpReply({self.status}, {len(self.body)} bytes)"


class Transport(Protocol):
    """Carries requests; safe to use from many threads at once."""

    def send(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        """Return the reply once it is whole, at the latest after ``timeout_s``.

        Raises ProviderError of kind ``timeout`` or ``connection`` when there is none, ``bad_reply`` when it is too big.
        """
        ...

    def close(self) -> None:
        """Close what is open; the transport is not used afterwards."""
        ...


def open_transport() -> Transport:
    """Return the transport of this installation."""
    from providers.requests_transport import RequestsTransport

    return RequestsTransport()
