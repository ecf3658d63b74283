"""How long the parts of an exchange took, as each transport can tell it."""

from __future__ import annotations

import socket
import threading

from posting import SHORT_S, failure, post

from providers.transport import Phases, Transport


def test_before_the_first_exchange_there_is_nothing_to_tell(transport: Transport) -> None:
    assert transport.phases() is None


def test_a_kept_connection_costs_no_connecting(transport: Transport, provider) -> None:
    provider.say(body={"n": 1})
    post(transport, provider.url)
    first = transport.phases()
    post(transport, provider.url)
    second = transport.phases()
    assert provider.connections == 1
    assert isinstance(first, Phases)
    assert isinstance(second, Phases)
    assert (first.reused, second.reused) == (False, True)
    assert first.connect_ms > 0
    assert (second.lookup_ms, second.connect_ms, second.tls_ms) == (None, None, None)
    assert second.first_byte_ms > 0
    assert second.body_ms >= 0
    assert first.tls_ms is None


def test_waiting_for_the_first_byte_is_told_apart_from_the_body(transport: Transport, provider) -> None:
    def answer(connection: socket.socket) -> bool:
        threading.Event().wait(0.1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{")
        threading.Event().wait(0.2)
        connection.sendall(b"}")
        return True

    provider.script.append(answer)
    post(transport, provider.url)
    phases = transport.phases()
    assert phases.first_byte_ms >= 99
    assert phases.body_ms >= 199


def test_what_a_failed_exchange_did_not_reach_is_not_told(transport: Transport, provider) -> None:
    provider.say(body={})
    post(transport, provider.url)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    failure(transport, url)
    refused = transport.phases()
    assert (refused.reused, refused.connect_ms, refused.first_byte_ms, refused.body_ms) == (False, None, None, None)


def test_a_server_that_never_answers_was_at_least_connected(transport: Transport, provider) -> None:
    provider.hang()
    failure(transport, provider.url, SHORT_S)
    late = transport.phases()
    assert late.connect_ms > 0
    assert (late.first_byte_ms, late.body_ms) == (None, None)


def test_each_thread_is_told_of_its_own_exchange(transport: Transport, provider) -> None:
    provider.say(body={})
    other = threading.Thread(target=post, args=(transport, provider.url))
    other.start()
    other.join()
    assert transport.phases() is None
