"""Certificates that verify and ones that do not, and the proxies of the environment, by either transport."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
import trustme
from posting import SHORT_S, failure, post
from scripted_provider import ScriptedProvider

from providers.transport import Transport, ca_bundle, open_transport

BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class SecureProvider(ScriptedProvider):
    """A scripted provider behind TLS; a client that does not trust it is no concern of its own."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve_one(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            super()._serve_one(connection, number)


@contextmanager
def secured(*names: str, authority: trustme.CA) -> Iterator[SecureProvider]:
    """Serve with a certificate for those names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    with context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True) as listener:
        provider = SecureProvider(listener)
        thread = Thread(target=provider.serve, daemon=True)
        thread.start()
        yield provider
        provider.closing.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The authority's certificate in a file; no variable names it yet."""
    for name in BUNDLE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize("variable", BUNDLE_VARIABLES)
def test_certificate_of_an_authority_that_the_environment_names_is_trusted(
    transport: Transport, authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(bundle))
    with secured("127.0.0.1", authority=authority) as provider:
        provider.say(200, {"fine": 1})
        for _ in range(3):
            assert post(transport, provider.url).body == b'{"fine": 1}'
        assert {asked.connection for asked in provider.asked} == {1}
        assert provider.asked[0].headers["authorization"] == "Bearer sk-hidden"


def test_unknown_authority_is_not_trusted_and_not_asked_again(
    transport: Transport, authority: trustme.CA, bundle: Path
) -> None:
    with secured("127.0.0.1", authority=authority) as provider:
        error = failure(transport, provider.url)
        host = provider.url.removeprefix("https://")
    assert (error.kind, error.retryable, error.fatal) == ("connection", False, False)
    assert str(error).startswith(f"the certificate of {host} does not verify: unable to get local issuer certificate")
    assert not provider.asked


def test_certificate_of_another_host_is_not_trusted(
    transport: Transport, authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with secured("models.example", authority=authority) as provider:
        error = failure(transport, provider.url)
    assert (error.kind, error.retryable) == ("connection", False)
    assert "does not verify" in str(error)
    assert "match" in str(error)
    assert not provider.asked


def test_bundle_that_does_not_exist_is_named(
    transport: Transport, authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle.with_name("nowhere.pem")))
    with secured("127.0.0.1", authority=authority) as provider:
        error = failure(transport, provider.url)
    assert (error.kind, error.retryable) == ("connection", False)
    assert "nowhere.pem" in str(error)


def test_without_a_word_from_the_environment_the_bundle_is_certifis(bundle: Path) -> None:
    assert Path(ca_bundle()).name == "cacert.pem"


def test_server_that_never_shakes_hands_ends_at_the_deadline(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = failure(transport, f"https://127.0.0.1:{listener.getsockname()[1]}", SHORT_S)
    assert (error.kind, error.retryable) == ("timeout", True)


def test_plain_server_where_tls_was_meant_is_a_connection_error(transport: Transport) -> None:
    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=answer, args=(listener,))
        thread.start()
        error = failure(transport, f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert (error.kind, error.retryable) == ("connection", True)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment_is_used(
    transport: Transport, provider, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    provider.say(200, {})
    monkeypatch.setenv(variable, provider.url)
    assert post(transport, "http://models.invalid").status == 200
    assert provider.asked[-1].target == "http://models.invalid/chat"


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("hosts", ["127.0.0.1", "*", "127.0.0.0/8", "models.invalid,127.0.0.1"])
def test_hosts_excepted_from_the_proxy_are_asked_directly(
    transport: Transport, provider, monkeypatch: pytest.MonkeyPatch, variable: str, hosts: str
) -> None:
    provider.say(200, {})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody}")
    monkeypatch.setenv(variable, hosts)
    assert post(transport, provider.url).status == 200
    assert provider.asked[-1].target == "/chat"


def test_tunnel_through_a_proxy_is_not_shown_the_key(
    transport_name: str, provider, authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("https_proxy", provider.url)
    with secured("models.invalid", authority=authority) as server:
        server.say(200, {"fine": 1}, headers={"x-from": "server"})
        provider.script.append(tunnel_to(server.listener.getsockname()[1]))
        transport = open_transport(transport_name, every_header=True)
        for _ in range(2):
            reply = post(transport, "https://models.invalid")
            assert (reply.body, reply.headers["x-from"], "x-proxy" in reply.headers) == (
                b'{"fine": 1}',
                "server",
                False,
            )
        transport.close()
    (asked,) = provider.asked
    assert asked.target == "models.invalid:443"
    assert "authorization" not in asked.headers
    assert server.asked[0].headers["authorization"] == "Bearer sk-hidden"


def test_proxy_that_refuses_the_tunnel_is_a_connection_error(
    transport: Transport, provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.say(403, {}, close=True)
    monkeypatch.setenv("https_proxy", provider.url)
    error = failure(transport, "https://models.invalid")
    assert (error.kind, error.retryable) == ("connection", True)


def tunnel_to(port: int) -> Callable[[socket.socket], bool]:
    """Return an answer that opens a tunnel and carries bytes both ways until one side leaves."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def answer(connection: socket.socket) -> bool:
        with socket.create_connection(("127.0.0.1", port)) as inner:
            connection.sendall(b"HTTP/1.1 200 Opened\r\nx-proxy: me\r\n\r\n")
            back = Thread(target=carry, args=(inner, connection), daemon=True)
            back.start()
            carry(connection, inner)
            back.join(5)
        return False

    return answer
