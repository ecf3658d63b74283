"""A way to an endpoint that misbehaves when told to, on a real socket: all that can go wrong between two programs.

It stands on 127.0.0.1 between a client and what answers: another server (``forward_to``) or a function. One fault at a
time meets every exchange, or a share of them; without one it passes everything on. It counts the good replies that it
got and did not deliver whole, which is what a client may ask again for. Shares no code with the product.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlsplit

ACCEPT, HEAD, REPLY = "accept", "head", "reply"
"""When a fault strikes: on a new connection, after a request's headers, in place of a reply."""

LONGEST_HEAD = 1 << 20
CALL_WITHIN_S = 10.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """A good reply, as what answers has made it; ``headers`` without those that are about the connection."""

    status: int
    headers: tuple[str, ...]
    body: bytes

    def head(self, length: int | None = None, *, version: str = "1.1", more: tuple[str, ...] = ()) -> bytes:
        """Return status line and headers; ``length`` is what is said of the body's."""
        told = (f"Content-Length: {len(self.body) if length is None else length}",)
        lines = (f"HTTP/{version} {self.status} Said", *self.headers, *told, *more)
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


Answer = Callable[[bytes], Awaitable[Reply | None]]
"""Answers a whole request, None if nobody does."""


@dataclass(slots=True)
class Exchange:
    """One request under way. ``reply`` is there once something has answered; ``delivered`` if all of it went out.

    It may leave the connection ``spoilt``: then the next reply comes behind bytes that belong to none, and is lost.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: bytes = b""
    reply: Reply | None = None
    delivered: bool = False
    spoilt: bool = False

    @property
    def key(self) -> str:
        """The key that came with the request: a rude server quotes it."""
        found = re.search(rb"(?im)^(?:authorization|api-key): *(.*?)\r", self.request)
        return found.group(1).decode("latin-1") if found else ""

    @property
    def good(self) -> Reply:
        """The reply, which there is when a fault takes its place."""
        assert self.reply is not None
        return self.reply

    @property
    def left(self) -> bool:
        """Whether the client has gone."""
        return self.reader.at_eof() or self.writer.is_closing()

    async def say(self, wire: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(wire)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def say_other(self, body: bytes, status: int = 200, kind: str = "application/json", *more: str) -> None:
        """Send a well-formed reply in place of the good one."""
        await self.say(Reply(status, (f"Content-Type: {kind}", *more), body).head() + body)

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        found = self.writer.get_extra_info("socket")
        if found is not None and found.fileno() >= 0:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def silence(self) -> None:
        """Say nothing more until the client has had enough."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass
        self.writer.close()


Act = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFault:
    """A way to misbehave. ``becomes`` are the categories that an attempt which meets it may be filed under; none: the
    reply is good all the same. After a ``final`` one it is right not to try again. Without ``act`` nobody listens.
    """

    name: str
    act: Act | None
    when: str = REPLY
    becomes: frozenset[str] = frozenset()
    final: bool = False


class FaultProxy:
    """A server in a thread of its own. Its methods may be called from any thread."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._fault: NetworkFault | None = None
        self._share, self._rng = 1.0, Random(0)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.met = 0
        """How many connections or exchanges have met a fault."""
        self.swallowed = 0
        """How many good replies were not delivered whole."""
        self._name = socket.socket()
        """Holds the port, also while nobody listens: a bound socket that does not listen refuses."""
        self._name.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._name.bind(("127.0.0.1", 0))
        self.port: int = self._name.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self._listen())

    def begin(self, fault: NetworkFault, share: float = 1.0, rng: Random | None = None) -> None:
        """Let a fault meet a share of all that comes from now on; one that meets connections cuts those there are."""
        self._call(self._begin(fault, share, rng or Random(0)))

    def heal(self) -> None:
        """Let everything work again; what is silent stays so until its client has had enough."""
        self._call(self._heal())

    def cut(self) -> None:
        """Reset all connections."""
        self._call(self._cut())

    def close(self) -> None:
        """End it."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_WITHIN_S)
        self._loop.close()
        self._name.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_WITHIN_S)

    async def _listen(self) -> None:
        if self._server is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            self._server = await asyncio.start_server(self._converse, sock=listener, limit=LONGEST_HEAD, backlog=512)

    async def _begin(self, fault: NetworkFault, share: float, rng: Random) -> None:
        self._fault, self._share, self._rng = fault, share, rng
        if fault.act is None and self._server is not None:
            self._server.close()
            self._server = None
        if fault.act is None or fault.when == ACCEPT:
            await self._cut()

    async def _heal(self) -> None:
        self._fault = None
        await self._listen()

    async def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _struck(self, when: str) -> Act | None:
        fault = self._fault
        if fault is None or fault.when != when or self._rng.random() >= self._share:
            return None
        self.met += 1
        return fault.act

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            if act := self._struck(ACCEPT):
                await act(Exchange(reader, writer))
                return
            spoilt = False
            while not (one := await self._exchange(Exchange(reader, writer), spoilt)).left:
                spoilt = one.spoilt
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a client that leaves, or the end of this server
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, one: Exchange, spoilt: bool) -> Exchange:
        """Take one request to its reply."""
        one.request = await one.reader.readuntil(b"\r\n\r\n")
        if act := self._struck(HEAD):
            await act(one)
            return one
        length = re.search(rb"(?im)^content-length: *(\d+)", one.request)
        one.request += await one.reader.readexactly(int(length.group(1)) if length else 0)
        try:
            one.reply = await self._answer(one.request)
            if one.reply is None:
                one.reset()
            elif act := self._struck(REPLY):
                await act(one)
            elif not one.left:
                await one.say(one.reply.head() + one.reply.body)
                one.delivered = not spoilt and not one.writer.is_closing()
        finally:
            if one.reply is not None and one.reply.status == 200 and not one.delivered:
                self.swallowed += 1
        return one


def forward_to(url: str) -> Answer:
    """Return what has a server answer, over a connection of its own for every request."""
    parts = urlsplit(url)

    async def answer(request: bytes) -> Reply | None:
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
                return _read(await reader.read())
            finally:
                writer.close()
        except OSError:
            return None

    return answer


def _read(wire: bytes) -> Reply | None:
    head, _, body = wire.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return None
    ours = ("connection:", "content-length:", "date:", "server:")
    return Reply(int(first.split()[1]), tuple(line for line in lines if not line.lower().startswith(ours)), body)
