"""What became of an exchange that failed, in the same words and kinds whichever transport carried it.

Libraries' own texts quote whole URLs, object reprs and milliseconds; these name the host and the reason. Nothing here
is ever told a header's value, so no key can be in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from providers.transport import MAX_HEADER_BYTES, ca_bundle
from trials.errors import ProviderError

NO_REPLY = "the connection was closed before a reply came"
CUT_SHORT = "the reply ended too early"
LONG_HEADERS = f"the reply's headers are bigger than {MAX_HEADER_BYTES:,} bytes or too many"
UNKNOWN_HOST = "the host's name is not known"


def not_connected(url: str) -> ProviderError:
    """No connection within the time allowed for that."""
    return ProviderError(f"no connection to {_host(url)} in time", kind="timeout", retryable=True)


def late(url: str, timeout_s: float) -> ProviderError:
    """The reply was not whole at its deadline."""
    return ProviderError(f"no whole reply from {_host(url)} within {timeout_s:g} s", kind="timeout", retryable=True)


def broken(url: str, reason: str) -> ProviderError:
    """The exchange ended in some other way."""
    return ProviderError(f"the exchange with {_host(url)} broke: {reason}", kind="connection", retryable=True)


def untrusted(url: str, reason: str) -> ProviderError:
    """The certificate does not verify; another attempt would meet the same one."""
    return ProviderError(f"the certificate of {_host(url)} does not verify: {reason}", kind="connection")


def bundle_missing(url: str) -> ProviderError | None:
    """The certificates to trust are not where the environment says; None if they are."""
    bundle = ca_bundle()
    if urlsplit(url).scheme != "https" or Path(bundle).exists():
        return None
    return ProviderError(f"the CA bundle that the environment names does not exist: {bundle}", kind="connection")


def too_big(limit_bytes: int, status: int) -> ProviderError:
    """The body is over the limit, unpacked."""
    return ProviderError(f"the reply is bigger than {limit_bytes:,} bytes", kind="bad_reply", status=status)


def not_unpacked() -> ProviderError:
    """The body cannot be decompressed."""
    return ProviderError("the reply's compression is broken", kind="bad_reply", retryable=True)


def check_sendable(headers: Mapping[str, str]) -> None:
    """Raise ProviderError for a header that would not arrive as it is, or as more than one."""
    for name, value in headers.items():
        if not (name + value).isascii() or not (name + value).isprintable():
            raise ProviderError(f"the header {name!r} holds line breaks or non-ASCII characters", kind="rejected")


def _host(url: str) -> str:
    return urlsplit(url).netloc
