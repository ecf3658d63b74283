"""The webhook against real servers: what it posts, how often it tries, how long it takes, and what it never tells."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from webhook_listener import SECRET, Listener

from providers.keys import Secret
from providers.webhook import host_of, post_json, webhook_problem


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def start(*statuses: int | None) -> Listener:
        opened.append(Listener(*statuses))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_what_is_posted_arrives_once(listen: Callable[..., Listener]) -> None:
    hook = listen(204)
    assert post_json(hook.url, {"text": "done", "scored": 5}) == ""
    assert hook.bodies == [{"text": "done", "scored": 5}]
    assert hook.paths == [f"/hook/{SECRET}?token={SECRET}"]


@pytest.mark.parametrize("first", [500, 503, 429])
def test_a_server_in_trouble_is_tried_again(listen: Callable[..., Listener], first: int) -> None:
    hook = listen(first, first, 200)
    assert post_json(hook.url, {}) == ""
    assert len(hook.bodies) == 3


def test_three_tries_are_enough(listen: Callable[..., Listener]) -> None:
    hook = listen(500)
    assert post_json(hook.url, {}) == "HTTP 500"
    assert len(hook.bodies) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusal_is_not_tried_again(listen: Callable[..., Listener], status: int) -> None:
    hook = listen(status)
    assert post_json(hook.url, {}) == f"HTTP {status}"
    assert len(hook.bodies) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(listen: Callable[..., Listener], status: int) -> None:
    hook = listen(status)
    assert "redirects are not followed" in post_json(hook.url, {})
    assert hook.paths == [f"/hook/{SECRET}?token={SECRET}"]


def test_a_server_that_hangs_is_waited_for_no_longer_than_the_time_allows(listen: Callable[..., Listener]) -> None:
    hook = listen(None)
    began = time.monotonic()
    assert "no answer within" in post_json(hook.url, {}, within_s=1.0)
    assert time.monotonic() - began < 5


def test_a_server_that_sends_a_byte_now_and_then_is_no_exception() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
                    time.sleep(0.1)
                    try:
                        connection.send(bytes([byte]))
                    except OSError:
                        return

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        url = Secret(f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert post_json(url, {}, within_s=1.0) == "no answer within 1 s"
        assert time.monotonic() - began < 5


def test_nobody_there_is_told_without_the_secret() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    problem = post_json(Secret(f"http://127.0.0.1:{port}/hook/{SECRET}"), {})
    assert problem == "it cannot be reached"


def test_a_server_without_tls_is_told_without_the_secret(listen: Callable[..., Listener]) -> None:
    hook = listen(200)
    problem = post_json(Secret(hook.url.reveal().replace("http:", "https:")), {})
    assert problem in ("no secure connection (TLS)", "it cannot be reached")
    assert not hook.bodies


@pytest.mark.parametrize(
    "url",
    ["", "example.org/x", "ftp://example.org/x", "file:///etc/passwd", "http://", "https://:80/x", "http://[::1/x",
     "http://example.org:99999/", "http://example.org/a b", "http://example.org/ü", "http://example.org/\n"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_being_quoted(url: str) -> None:
    problem = webhook_problem(url)
    assert problem
    assert "example" not in problem
    assert "passwd" not in problem


def test_a_query_and_a_password_may_stand_in_an_address_and_only_the_host_is_shown() -> None:
    url = f"https://me:{SECRET}@hooks.example.org:8443/T0/{SECRET}?key={SECRET}"
    assert webhook_problem(url) == ""
    assert host_of(Secret(url)) == "hooks.example.org"
