"""One request sent by a transport, well or badly."""

from __future__ import annotations

import pytest

from providers.transport import HttpReply, HttpRequest, Transport
from trials.errors import ProviderError

PATIENT_S = 20.0
SHORT_S = 0.4


def post(transport: Transport, url: str, timeout_s: float = PATIENT_S) -> HttpReply:
    return transport.send(
        HttpRequest(url=f"{url}/chat", headers={"Authorization": "Bearer sk-hidden"}, body=b'{"a": 1}'), timeout_s
    )


def failure(transport: Transport, url: str, timeout_s: float = PATIENT_S) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        post(transport, url, timeout_s)
    assert "hidden" not in str(caught.value)
    return caught.value


def limited(name: str, max_reply_bytes: int) -> Transport:
    """Return a transport of that name with a cap of its own."""
    from providers.curl_transport import CurlTransport
    from providers.requests_transport import RequestsTransport

    kind = CurlTransport if name == "curl" else RequestsTransport
    return kind(max_reply_bytes=max_reply_bytes)
