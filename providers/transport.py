"""The seam between what is said and how it travels: one HTTP request, one reply, no knowledge of chat.

A transport neither retries nor follows redirects, so a key never travels to another host. Implementations live in
modules of their own, imported only when they are opened; what all of them keep to stands here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from trials.errors import UsageError
from trials.record import record

TRANSPORTS = ("auto", "curl", "requests")
"""What can be opened by name. ``auto``: curl where ``pycurl`` is installed, else requests."""

CONNECT_TIMEOUT_S = 10.0
MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
USER_AGENT = "ultra-parallel-runner"

_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@record
class HttpRequest:
    """A POST. The headers hold the key, so the repr leaves them out."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpRequest({self.url}, {len(self.body)} bytes)"


@record
class HttpReply:
    """A whole reply; header names are in lower case. A provider may quote the key, so the repr leaves the body out.

    Where nothing is amiss, a transport need not read the headers of every reply, unless it was opened for that.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpReply({self.status}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """How long the parts of an exchange took, in milliseconds; None for what is not known or did not happen.

    ``first_byte_ms`` begins once there is a connection, and so includes sending the request.
    """

    reused: bool = False
    lookup_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None
    body_ms: float | None = None


class Transport(Protocol):
    """Carries requests; safe to use from many threads at once."""

    def send(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        """Return the reply once it is whole, at the latest after ``timeout_s``.

        Connecting may take ``CONNECT_TIMEOUT_S`` of that; there is no limit of its own for the first byte, since a
        model may think for as long as it is given. Raises ProviderError of kind ``timeout`` or ``connection`` when
        there is no reply, ``bad_reply`` when its body, unpacked, is too big, ``rejected`` when a header cannot be sent.
        """
        ...

    def phases(self) -> Phases | None:
        """Return how long the parts of the calling thread's last exchange took, also of one that failed."""
        ...

    def close(self) -> None:
        """Close what is open; the transport is not used afterwards."""
        ...


def open_transport(name: str = "auto", *, every_header: bool = False) -> Transport:
    """Return a transport, one of ``TRANSPORTS``; ``every_header`` asks for the headers of every reply.

    Raises UsageError if it is not installed or there is none such.
    """
    if name not in TRANSPORTS:
        raise UsageError(f"there is no transport {name!r}; choose one of {', '.join(TRANSPORTS)}")
    check_installed(name)
    if name != "requests" and find_spec("pycurl"):
        from providers.curl_transport import CurlTransport

        return CurlTransport(every_header=every_header)
    from providers.requests_transport import RequestsTransport

    return RequestsTransport()


def check_installed(name: str) -> None:
    """Raise UsageError, with the remedy, if a transport was asked for that this installation lacks."""
    if name == "curl" and not find_spec("pycurl"):
        raise UsageError("the transport curl needs pycurl: python -m pip install pycurl")


def ca_bundle() -> str:
    """Return the file, or directory of hashed files, of the certificates to trust: the environment's or certifi's."""
    import certifi

    named = (os.environ.get(variable) for variable in _BUNDLE_VARIABLES)
    return next(filter(None, named), None) or certifi.where()
