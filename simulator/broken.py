"""How each fault looks on the wire. Says nothing about which request meets one (see faults.py).

No broken answer holds a decision of a simulated model: what is cut or truncated is a filler, so a reader that
wrongly accepts it gets something that can be told apart.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from simulator.asked import Asked
from simulator.wire import error_body
from trials.digest import uniform

FILLER = b'{"id":"chatcmpl-filler","object":"chat.completion","choices":[{"index":0,"message":' + b" " * 400
RESET_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wreck:
    """What a broken answer is made of. ``late`` asks a cut to come in the middle of the body."""

    request: web.Request
    hang_s: float
    late: bool


async def answer_broken(kind: str, request: web.Request, asked: Asked, hang_s: float) -> web.StreamResponse:
    """Answer a request with one kind of fault. Raises ConnectionResetError once the connection is broken."""
    identity = asked.identity
    late = uniform(identity.seed, "cut", identity.trial_key, asked.turn) < 0.5
    return await ANSWERS[kind](Wreck(request=request, hang_s=hang_s, late=late))


async def _too_many(wreck: Wreck) -> web.StreamResponse:
    response = await _too_many_bare(wreck)
    response.headers["Retry-After"] = "1"
    return response


async def _too_many_bare(wreck: Wreck) -> web.StreamResponse:
    return _error(429, "rate_limit_exceeded", "Injected fault: rate limit reached.")


async def _internal(wreck: Wreck) -> web.StreamResponse:
    return _error(500, "internal_error", "Injected fault: the server had an error.")


async def _overloaded(wreck: Wreck) -> web.StreamResponse:
    return _error(503, "overloaded", "Injected fault: the engine is overloaded.")


async def _hang(wreck: Wreck) -> web.StreamResponse:
    await asyncio.sleep(wreck.hang_s)
    return _vanish(wreck.request, reset=False)


async def _cut(wreck: Wreck) -> web.StreamResponse:
    if wreck.late:
        await _begin_body(wreck.request)
        await asyncio.sleep(0)
    return _vanish(wreck.request, reset=True)


async def _truncated(wreck: Wreck) -> web.StreamResponse:
    await _begin_body(wreck.request)
    return _vanish(wreck.request, reset=False)


async def _non_json(wreck: Wreck) -> web.StreamResponse:
    body = b'{"choices": [{"message": upstream connect error'
    return web.Response(body=body, content_type="application/json")


async def _html(wreck: Wreck) -> web.StreamResponse:
    page = "<html><head><title>Gateway</title></head><body><h1>Please wait</h1></body></html>"
    return web.Response(text=page, content_type="text/html")


Answer = Callable[[Wreck], Awaitable[web.StreamResponse]]

ANSWERS: dict[str, Answer] = {
    "429": _too_many,
    "429-bare": _too_many_bare,
    "500": _internal,
    "503": _overloaded,
    "hang": _hang,
    "cut": _cut,
    "truncated": _truncated,
    "non-json": _non_json,
    "html": _html,
}


def _error(status: int, code: str, message: str) -> web.Response:
    body = error_body(status, code, message)
    return web.Response(status=status, body=body, content_type="application/json")


async def _begin_body(request: web.Request) -> None:
    """Promise a whole body and send the first part of it."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = 2 * len(FILLER)
    await response.prepare(request)
    await response.write(FILLER)


def _vanish(request: web.Request, *, reset: bool) -> web.StreamResponse:
    """Close the connection, with a TCP reset or in good order."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
            transport.abort()
        else:
            transport.close()
    raise ConnectionResetError("the simulator broke the connection on purpose")
