"""Whole replies, broken ones and endless ones, over real sockets."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from providers.transport import HttpReply, HttpRequest, Transport, open_transport
from trials.errors import ProviderError

PATIENT_S = 20.0
SHORT_S = 0.4


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    opened = open_transport()
    yield opened
    opened.close()


def post(transport: Transport, url: str, timeout_s: float = PATIENT_S) -> HttpReply:
    return transport.send(
        HttpRequest(url=f"{url}/chat", headers={"Authorization": "Bearer sk-hidden"}, body=b'{"a": 1}'), timeout_s
    )


def failure(transport: Transport, url: str, timeout_s: float = PATIENT_S) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        post(transport, url, timeout_s)
    assert "hidden" not in str(caught.value)
    return caught.value


def test_request_arrives_whole_and_the_reply_comes_back(transport: Transport, provider) -> None:
    provider.say(429, {"b": 2}, headers={"Retry-After": "3"})
    reply = post(transport, provider.url)
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (429, b'{"b": 2}', "3")
    (asked,) = provider.asked
    assert (asked.target, asked.json, asked.headers["authorization"]) == ("/chat", {"a": 1}, "Bearer sk-hidden")


def test_one_connection_serves_many_requests_of_a_thread(transport: Transport, provider) -> None:
    provider.say(200, {})
    for _ in range(5):
        post(transport, provider.url)
    assert {asked.connection for asked in provider.asked} == {1}


def test_each_thread_has_its_own_connection(transport: Transport, provider) -> None:
    provider.say(200, {})
    threads = [Thread(target=post, args=(transport, provider.url)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked.connection for asked in provider.asked) == [1, 2, 3, 4]


def test_connection_that_the_server_closed_between_requests_is_replaced(transport: Transport, provider) -> None:
    provider.say(200, {}, close=True)
    for number in range(1, 4):
        assert post(transport, provider.url).status == 200
        assert provider.asked[-1].connection == number
        assert provider.hung_up.acquire(timeout=10)


def test_redirect_is_returned_and_not_followed(transport: Transport, provider) -> None:
    provider.say(307, {}, headers={"Location": f"{provider.url}/elsewhere"})
    assert post(transport, provider.url).status == 307
    assert len(provider.asked) == 1


def test_compressed_and_chunked_bodies_are_unpacked(transport: Transport, provider) -> None:
    provider.say(200, gzip.compress(b'{"packed": 1}'), headers={"Content-Encoding": "gzip"})
    provider.say_raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", close=False
    )
    assert post(transport, provider.url).body == b'{"packed": 1}'
    assert post(transport, provider.url).body == b"abcde"


def test_broken_compression_is_a_bad_reply(transport: Transport, provider) -> None:
    provider.say(200, b"not packed", headers={"Content-Encoding": "gzip"})
    error = failure(transport, provider.url)
    assert (error.kind, error.retryable) == ("bad_reply", True)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"SSH-2.0 what\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "cut body", "cut chunk", "bad chunk", "not http", "many headers", "long header"],
)
def test_exchange_that_breaks_is_a_connection_error_worth_another_try(
    transport: Transport, provider, wire: bytes
) -> None:
    provider.say_raw(wire)
    error = failure(transport, provider.url)
    assert (error.kind, error.retryable, error.fatal) == ("connection", True, False)


def test_transport_still_works_after_a_broken_exchange(transport: Transport, provider) -> None:
    provider.say_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    provider.say(200, {"fine": 1})
    assert failure(transport, provider.url).kind == "connection"
    assert post(transport, provider.url).body == b'{"fine": 1}'


def test_nobody_listening_is_told_in_plain_words(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(transport, f"http://127.0.0.1:{port}")
    assert (error.kind, error.retryable) == ("connection", True)
    assert f"127.0.0.1:{port}" in str(error)
    assert "Connection refused" in str(error)


def test_server_that_never_answers_ends_at_the_deadline(transport: Transport, provider) -> None:
    provider.hang()
    error = failure(transport, provider.url, SHORT_S)
    assert (error.kind, error.retryable) == ("timeout", True)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"", b"H"),
    ],
    ids=["counted body", "open body", "chunks", "chunk size", "header", "status line"],
)
def test_reply_that_drips_for_ever_ends_at_the_deadline(
    transport: Transport, provider, start: bytes, drop: bytes
) -> None:
    provider.drip(start, drop)
    error = failure(transport, provider.url, SHORT_S)
    assert (error.kind, error.retryable) == ("timeout", True)
    assert provider.left_early.wait(10)


def test_reply_that_stalls_after_half_its_body_ends_at_the_deadline(transport: Transport, provider) -> None:
    def answer(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf")
        provider.closing.wait(60)
        return False

    provider.script.append(answer)
    assert failure(transport, provider.url, SHORT_S).kind == "timeout"


@pytest.mark.parametrize("packed", [False, True])
def test_reply_beyond_the_cap_is_refused(provider, packed: bool) -> None:
    from providers.requests_transport import RequestsTransport

    transport = RequestsTransport(max_reply_bytes=100_000)
    body = b"x" * 100_001
    headers = {"Content-Encoding": "gzip"} if packed else {}
    provider.say(200, gzip.compress(body) if packed else body, headers=headers)
    provider.say(200, b"x" * 100_000)
    error = failure(transport, provider.url)
    assert (error.kind, error.retryable) == ("bad_reply", False)
    assert "100,000 bytes" in str(error)
    assert len(post(transport, provider.url).body) == 100_000
    transport.close()


def test_proxy_of_the_environment_is_used_unless_excepted(
    transport: Transport, provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.say(200, {})
    monkeypatch.setenv("http_proxy", provider.url)
    assert post(transport, "http://models.invalid").status == 200
    assert provider.asked[-1].target == "http://models.invalid/chat"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    post(transport, provider.url)
    assert provider.asked[-1].target == "/chat"


def test_netrc_does_not_replace_the_key(
    transport: Transport, provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    provider.say(200, {})
    post(transport, provider.url)
    assert provider.asked[0].headers["authorization"] == "Bearer sk-hidden"


def test_cookies_are_not_kept(transport: Transport, provider) -> None:
    provider.say(200, {}, headers={"Set-Cookie": "who=me; Path=/"})
    for _ in range(2):
        post(transport, provider.url)
    assert "cookie" not in provider.asked[1].headers


def test_requests_and_replies_do_not_show_headers_or_bodies_in_their_repr() -> None:
    request = HttpRequest(url="http://h/v1", headers={"api-key": "sk-hidden"}, body=b"hidden")
    reply = HttpReply(status=401, headers={"x": "hidden"}, body=b"sk-hidden is wrong")
    assert "hidden" not in f"{request!r} {reply!r} {request} {reply}"
    assert "http://h/v1" in repr(request)


def test_importing_the_seam_does_not_import_requests(run_python: Callable[[str], str]) -> None:
    told = run_python("import sys, providers.client, providers.catalog; print('requests' in sys.modules)")
    assert told == "False"
