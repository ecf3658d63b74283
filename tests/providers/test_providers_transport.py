"""Whole replies, broken ones and endless ones, over real sockets, by either transport."""

from __future__ import annotations

import gzip
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from posting import PATIENT_S, SHORT_S, failure, limited, post

from providers.failures import CUT_SHORT, LONG_HEADERS, NO_REPLY, UNKNOWN_HOST
from providers.transport import HttpReply, HttpRequest, Transport, open_transport
from trials.errors import ProviderError, UsageError


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
    ("wire", "reason"),
    [
        (b"", NO_REPLY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", CUT_SHORT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", CUT_SHORT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", ""),
        (b"SSH-2.0 what\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 16_000 + b"\r\n", LONG_HEADERS),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", LONG_HEADERS),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 400_000 + b"\r\n\r\n", LONG_HEADERS),
    ],
    ids=["nothing", "cut body", "cut chunk", "bad chunk", "not http", "many headers", "long header", "huge header"],
)
def test_exchange_that_breaks_is_a_connection_error_worth_another_try(
    transport: Transport, provider, wire: bytes, reason: str
) -> None:
    provider.say_raw(wire)
    error = failure(transport, provider.url)
    assert (error.kind, error.retryable, error.fatal) == ("connection", True, False)
    assert str(error).startswith(f"the exchange with {provider.url.removeprefix('http://')} broke: {reason}")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
def test_reset_connection_is_worth_another_try(transport: Transport, provider, said: bytes) -> None:
    def answer(connection: socket.socket) -> bool:
        connection.sendall(said)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    provider.script.append(answer)
    provider.say(200, {"fine": 1})
    error = failure(transport, provider.url)
    assert (error.kind, error.retryable) == ("connection", True)
    assert post(transport, provider.url).body == b'{"fine": 1}'


def test_reset_before_the_request_was_read_is_worth_another_try(transport: Transport) -> None:
    def reset(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=reset, args=(listener,))
        thread.start()
        error = failure(transport, f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert (error.kind, error.retryable) == ("connection", True)


def test_kept_connection_that_closes_on_a_request_costs_at_most_another_try(
    transport: Transport, transport_name: str, provider
) -> None:
    provider.say(200, {})
    provider.say_raw(b"")
    provider.say(200, {"fine": 1})
    post(transport, provider.url)
    # libcurl asks once more by itself, since the connection was a used one and not a byte came back.
    if transport_name == "requests":
        error = failure(transport, provider.url)
        assert (error.kind, error.retryable) == ("connection", True)
    assert post(transport, provider.url).body == b'{"fine": 1}'


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


def test_unknown_host_is_told_in_plain_words(transport: Transport) -> None:
    error = failure(transport, "http://models.invalid")
    assert (error.kind, error.retryable) == ("connection", True)
    assert str(error) == f"the exchange with models.invalid broke: {UNKNOWN_HOST}"


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
        (b"HTTP/1.1 200 ", b"y"),
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
def test_reply_beyond_the_cap_is_refused(transport_name: str, provider, packed: bool) -> None:
    transport = limited(transport_name, 100_000)
    body = b"x" * 100_001
    headers = {"Content-Encoding": "gzip"} if packed else {}
    provider.say(200, gzip.compress(body) if packed else body, headers=headers)
    provider.say(200, b"x" * 100_000)
    error = failure(transport, provider.url)
    assert (error.kind, error.retryable) == ("bad_reply", False)
    assert "100,000 bytes" in str(error)
    assert len(post(transport, provider.url).body) == 100_000
    transport.close()


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


@pytest.mark.parametrize("value", ["sk-hidden\r\nx-more: 1", "sk-hidden\n", "sk-hidden\0", "sk-hiddené"])
def test_header_that_would_not_arrive_as_it_is_is_not_sent(transport: Transport, provider, value: str) -> None:
    provider.say(200, {})
    with pytest.raises(ProviderError) as caught:
        transport.send(HttpRequest(url=provider.url, headers={"api-key": value}, body=b""), PATIENT_S)
    assert (caught.value.kind, caught.value.retryable) == ("rejected", False)
    assert "'api-key'" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert not provider.asked


def test_headers_and_bodies_of_one_request_do_not_reach_into_the_next(transport: Transport, provider) -> None:
    provider.say(200, {"first": 1}, headers={"x-first": "1"})
    provider.say(200, {})
    transport.send(HttpRequest(url=provider.url, headers={"api-key": "a", "x-note": "1"}, body=b"first"), PATIENT_S)
    reply = transport.send(HttpRequest(url=provider.url, headers={"api-key": "b"}, body=b""), PATIENT_S)
    assert (reply.body, "x-first" in reply.headers) == (b"{}", False)
    headers = provider.asked[1].headers
    assert (headers["api-key"], "x-note" in headers, provider.asked[1].body) == ("b", False, b"")


def test_what_is_said_besides_the_request_is_the_same(transport: Transport, provider) -> None:
    provider.say(200, {})
    transport.send(HttpRequest(url=provider.url, headers={"x-empty": ""}, body=b"x" * 3_000_000), PATIENT_S)
    (asked,) = provider.asked
    assert asked.headers["user-agent"] == "ultra-parallel-runner"
    assert asked.headers["x-empty:"] == ""
    assert "expect" not in asked.headers
    assert len(asked.body) == 3_000_000


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore than told", b"more"),
        (b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate", b"late"),
    ],
    ids=["http 1.0", "more than the length", "continue"],
)
def test_odd_replies_are_read_as_far_as_they_are_replies(
    transport: Transport, provider, wire: bytes, body: bytes
) -> None:
    provider.say_raw(wire)
    provider.say(200, {"fine": 1})
    reply = post(transport, provider.url)
    assert (reply.status, reply.body, "x-early" in reply.headers) == (200, body, False)
    assert provider.hung_up.acquire(timeout=10)
    assert post(transport, provider.url).body == b'{"fine": 1}'


def test_headers_that_repeat_are_joined(transport: Transport, provider) -> None:
    provider.say_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: 1\r\nx-a:  2\r\n\r\n")
    assert post(transport, provider.url).headers["x-a"] == "1, 2"


def test_requests_and_replies_do_not_show_headers_or_bodies_in_their_repr() -> None:
    request = HttpRequest(url="http://h/v1", headers={"api-key": "sk-hidden"}, body=b"hidden")
    reply = HttpReply(status=401, headers={"x": "hidden"}, body=b"sk-hidden is wrong")
    assert "hidden" not in f"{request!r} {reply!r} {request} {reply}"
    assert "http://h/v1" in repr(request)


def test_importing_the_seam_does_not_import_requests(run_python: Callable[[str], str]) -> None:
    told = run_python("import sys, providers.client, providers.catalog; print('requests' in sys.modules)")
    assert told == "False"
    assert run_python("import sys, providers.transport; print('pycurl' in sys.modules)") == "False"


def test_curl_is_what_is_opened_where_it_is_installed(transport_name: str) -> None:
    assert type(open_transport()).__name__ == "CurlTransport"
    assert transport_name in type(open_transport(transport_name)).__name__.lower()


def test_missing_pycurl_falls_back_to_requests_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "providers.curl_transport", raising=False)
    monkeypatch.setitem(sys.modules, "pycurl", None)
    assert type(open_transport()).__name__ == "RequestsTransport"
    with pytest.raises(UsageError, match=r"^the transport curl needs pycurl: python -m pip install pycurl$"):
        open_transport("curl")
    with pytest.raises(UsageError, match="auto, curl, requests"):
        open_transport("wget")
