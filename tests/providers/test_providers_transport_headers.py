"""Which headers the curl transport reads: all while they may say something, next to none in calm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from posting import failure, post

from providers.failures import LONG_HEADERS
from providers.transport import MAX_HEADER_BYTES, Transport, open_transport

LIMIT = {"X-RateLimit-Limit-Requests": "600"}


@pytest.fixture
def curl() -> Iterator[Transport]:
    pytest.importorskip("pycurl")
    transport = open_transport("curl")
    yield transport
    transport.close()


def test_first_reply_of_a_connection_is_read_with_its_headers_and_calm_ones_without(curl: Transport, provider) -> None:
    provider.say(200, {"fine": 1}, headers=LIMIT)
    first, second = post(curl, provider.url), post(curl, provider.url)
    assert first.headers["x-ratelimit-limit-requests"] == "600"
    assert (second.headers, second.body, second.status) == ({}, first.body, 200)


def test_refusal_in_calm_says_how_long_to_wait_and_where_to(curl: Transport, provider) -> None:
    provider.say(200, {})
    provider.say(429, {}, headers={"Retry-After": "7", "Location": f"{provider.url}/elsewhere"})
    post(curl, provider.url)
    refusal = post(curl, provider.url)
    assert (refusal.status, refusal.headers["retry-after"]) == (429, "7")
    assert refusal.headers["location"] == f"{provider.url}/elsewhere"


def test_after_a_refusal_every_header_is_read(curl: Transport, provider) -> None:
    provider.say(200, {})
    provider.say(429, {}, headers={"Retry-After-Ms": "250"})
    post(curl, provider.url)
    assert "retry-after-ms" not in post(curl, provider.url).headers
    assert post(curl, provider.url).headers["retry-after-ms"] == "250"


def test_every_header_is_read_where_that_is_asked_for(provider) -> None:
    pytest.importorskip("pycurl")
    transport = open_transport("curl", every_header=True)
    provider.say(200, {}, headers=LIMIT)
    assert [post(transport, provider.url).headers["x-ratelimit-limit-requests"] for _ in range(3)] == ["600"] * 3
    transport.close()


def test_headers_that_are_too_big_are_told_also_where_nobody_reads_them(curl: Transport, provider) -> None:
    provider.say(200, {})
    provider.say(200, {}, headers={f"X-Long-{number}": "x" * 8000 for number in range(MAX_HEADER_BYTES // 8000 + 1)})
    post(curl, provider.url)
    error = failure(curl, provider.url)
    assert (error.kind, LONG_HEADERS in str(error)) == ("connection", True)
