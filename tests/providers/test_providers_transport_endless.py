"""Replies that never end, by either transport: what they cost is bounded, in time and in memory."""

from __future__ import annotations

import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from posting import SHORT_S, failure, limited, post

from providers.failures import LONG_HEADERS
from providers.transport import Transport

ROOT = Path(__file__).parents[2]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
POSTS_WITH_LITTLE_MEMORY = """
import resource, sys
from providers.transport import HttpRequest, open_transport
from trials.errors import ProviderError
most = int(sys.argv[3])
transport = open_transport(sys.argv[1])
try:
    transport.send(HttpRequest(url="http://127.0.0.1:9", headers={}, body=b""), 5)
except ProviderError:
    pass
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    transport.send(HttpRequest(url=sys.argv[2], headers={}, body=b"{}"), 60)
except ProviderError as error:
    print(error.kind, error)
"""


def stream(start: bytes, piece: bytes, times: int, left: Callable[[], None]) -> Callable[[socket.socket], bool]:
    """Return an answer of that many pieces; ``left`` is called when the other side leaves before the last."""

    def answer(connection: socket.socket) -> bool:
        try:
            connection.sendall(start)
            for _ in range(times):
                connection.sendall(piece)
        except OSError:
            left()
        return False

    return answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def bomb(layers: int) -> tuple[bytes, bytes]:
    """Return the start of a gzip stream and a piece, to be sent again and again, each of which unpacks to 16 MB."""
    packer = zlib.compressobj(9, wbits=31)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(16 * 1024 * 1024)) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(layers - 1):
        packer = zlib.compressobj(9, wbits=31)
        start = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
        piece = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    return start, piece


def posted_with_little_memory(name: str, url: str, most_bytes: int = 1 << 30) -> str:
    """Return what came of a post in a process of its own that may take no more memory than that."""
    return subprocess.run(
        [sys.executable, "-c", POSTS_WITH_LITTLE_MEMORY, name, url, str(most_bytes)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_reply_of_a_gigabyte_is_not_read_to_its_end(transport_name: str, provider) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30)
    provider.script.append(stream(start, bytes(1 << 20), 1024, provider.left_early.set))
    told = posted_with_little_memory(transport_name, provider.url)
    assert told == "bad_reply the reply is bigger than 67,108,864 bytes"
    assert provider.left_early.wait(10)


@pytest.mark.parametrize("layers", [1, 2])
def test_bomb_of_four_gigabytes_is_defused_in_little_memory(transport_name: str, provider, layers: int) -> None:
    start, piece = bomb(layers)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n\r\n" % b", ".join([b"gzip"] * layers)
    provider.script.append(stream(head + start, piece, 256, provider.left_early.set))
    told = posted_with_little_memory(transport_name, provider.url)
    assert told == "bad_reply the reply is bigger than 67,108,864 bytes"


def test_chunks_without_end_stop_at_the_cap(transport_name: str, provider) -> None:
    transport = limited(transport_name, 1_000_000)
    provider.script.append(stream(CHUNKED, chunk(bytes(10_000)), 1 << 30, provider.left_early.set))
    assert failure(transport, provider.url).kind == "bad_reply"
    assert provider.left_early.wait(10)
    transport.close()


def test_headers_without_end_stop_at_the_cap(transport: Transport, provider) -> None:
    provider.script.append(stream(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100, 1 << 30, provider.left_early.set))
    provider.say(200, {})
    error = failure(transport, provider.url)
    assert (error.kind, error.retryable) == ("connection", True)
    assert str(error).endswith(LONG_HEADERS)
    assert provider.left_early.wait(10)
    assert post(transport, provider.url).status == 200


def test_interim_replies_without_end_stop(transport: Transport, provider) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    provider.script.append(stream(b"", interim, 1 << 30, provider.left_early.set))
    assert failure(transport, provider.url, SHORT_S).retryable
    assert provider.left_early.wait(10)


def test_byte_a_second_frees_the_thread_at_the_deadline(transport: Transport, provider) -> None:
    def answer(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        try:
            while not provider.closing.wait(1.0):
                connection.sendall(b"x")
        except OSError:
            provider.left_early.set()
        return False

    provider.script.append(answer)
    provider.say(200, {})
    error = failure(transport, provider.url, SHORT_S)
    assert (error.kind, error.retryable) == ("timeout", True)
    assert post(transport, provider.url).status == 200
    assert provider.left_early.wait(10)
