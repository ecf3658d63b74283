"""All that a network and what stands behind it can do to an exchange, and how a client should take it."""

from __future__ import annotations

import asyncio
import json

from fault_proxy import ACCEPT, HEAD, Act, Exchange, NetworkFault, Reply

CONNECTION, TIMEOUT, BAD_REPLY, SERVER_ERROR = "connection", "timeout", "bad_reply", "server_error"
A_MOMENT_S = 0.03


async def _reset(one: Exchange) -> None:
    one.reset()


async def _leave(one: Exchange) -> None:
    one.writer.close()


async def _fall_silent(one: Exchange) -> None:
    await one.silence()


def _after(share_of_head: float, share_of_body: float, end: Act) -> Act:
    """Send the first part of a good reply, then end in some way."""

    async def act(one: Exchange) -> None:
        head, body = one.good.head(), one.good.body
        wire = head[: int(len(head) * share_of_head)]
        if share_of_body:
            wire += body[: int(len(body) * share_of_body)]
        await one.say(wire)
        await asyncio.sleep(A_MOMENT_S)  # a reset at once would take along what was sent
        await end(one)

    return act


async def _drip(one: Exchange) -> None:
    wire = one.good.head() + one.good.body
    for place in range(len(wire)):
        await one.say(wire[place : place + 1])
        await asyncio.sleep(1.0)
        if one.left:
            return


async def _no_http(one: Exchange) -> None:
    await one.say(f"SSH-2.0-OpenSSH_9.2p1 {one.key}\r\n\0\x01\x02\xff\r\n".encode("latin-1"))
    one.writer.close()


def _body(text: str) -> Act:
    """Another body, in which a rude server quotes the key."""

    async def act(one: Exchange) -> None:
        await one.say_other(text.replace("KEY", json.dumps(one.key)[1:-1]).encode())

    return act


def _page(status: int) -> Act:
    async def act(one: Exchange) -> None:
        text = f"<!doctype html><html><head><title>Bad gateway</title></head><body><p>{one.key}</p></body></html>"
        await one.say_other(text.encode("latin-1"), status, "text/html")

    return act


async def _too_long(one: Exchange) -> None:
    await one.say(one.good.head(len(one.good.body) + 100) + one.good.body)
    one.writer.close()


async def _too_short(one: Exchange) -> None:
    """The rest comes late: it must not be taken for the beginning of the next reply."""
    body = one.good.body
    await one.say(one.good.head(len(body) // 2) + body[: len(body) // 2])
    await asyncio.sleep(A_MOMENT_S)
    one.spoilt = True
    await one.say(body[len(body) // 2 :])


async def _two_replies(one: Exchange) -> None:
    """A second reply that nobody has asked for, well formed: it must not be taken for the next one's.

    It comes along with the first; one that comes after the next request has gone out, nobody could tell.
    """
    other = Reply(200, ("Content-Type: application/json",), FOREIGN)
    await one.say(one.good.head() + one.good.body + other.head() + other.body)
    one.delivered = True


async def _no_utf8(one: Exchange) -> None:
    marked = one.good.body.replace(b'"role"', b'"\xff\xfe\x80":1,"role"', 1)
    assert marked != one.good.body
    await one.say_other(marked)


async def _in_a_circle(one: Exchange) -> None:
    path = one.request.split()[1].decode("latin-1")
    await one.say_other(b"", 307, "text/plain", f"Location: {path}?key={one.key}")


async def _old(one: Exchange) -> None:
    """HTTP/1.0 without a length: the reply ends where the connection does."""
    lines = one.good.head(version="1.0").split(b"\r\n")
    await one.say(b"\r\n".join(line for line in lines if not line.startswith(b"Content-Length")) + one.good.body)
    one.delivered = True
    one.writer.close()


async def _close_early(one: Exchange) -> None:
    """A good reply that promises to keep the connection, which is then closed."""
    await one.say(one.good.head(more=("Connection: keep-alive", "Keep-Alive: timeout=60")) + one.good.body)
    one.delivered = True
    one.writer.close()


FOREIGN = json.dumps({"choices": [{"message": {"content": "of somebody else"}, "finish_reason": "stop"}]}).encode()
_UNFINISHED = '{"choices": [{"index": 0, "message": {"role": "assistant", "content": null}, "finish_reason": null}]}'


def _fault(name: str, act: Act | None, *becomes: str, when: str = "reply", final: bool = False) -> NetworkFault:
    return NetworkFault(name=name, act=act, when=when, becomes=frozenset(becomes), final=final)


NETWORK_FAULTS = (
    _fault("refused", None, CONNECTION, when=ACCEPT),
    _fault("reset on connecting", _reset, CONNECTION, when=ACCEPT),
    _fault("reset after the request's headers", _reset, CONNECTION, when=HEAD),
    _fault("reset after the request", _reset, CONNECTION),
    _fault("reset in the reply's headers", _after(0.5, 0, _reset), CONNECTION),
    _fault("reset in the reply's body", _after(1, 0.5, _reset), CONNECTION),
    _fault("closed after the request", _leave, CONNECTION),
    _fault("closed in the reply's headers", _after(0.5, 0, _leave), CONNECTION, BAD_REPLY),
    _fault("closed in the reply's body", _after(1, 0.5, _leave), CONNECTION),
    _fault("silence after connecting", _fall_silent, TIMEOUT, when=ACCEPT),
    _fault("silence after the request", _fall_silent, TIMEOUT),
    _fault("silence after the reply's headers", _after(1, 0, _fall_silent), TIMEOUT),
    _fault("silence in the reply's body", _after(1, 0.5, _fall_silent), TIMEOUT),
    _fault("a byte a second", _drip, TIMEOUT),
    _fault("no HTTP at all", _no_http, CONNECTION),
    _fault("no JSON", _body('{"choices": [{"message": KEY upstream connect error'), BAD_REPLY),
    _fault("wrong schema", _body('{"choices": {"message": ["KEY"]}, "usage": "none"}'), BAD_REPLY),
    _fault("no choices", _body('{"id": "KEY", "choices": []}'), BAD_REPLY),
    _fault("null content", _body(_UNFINISHED), BAD_REPLY),
    _fault("empty body", _body(""), BAD_REPLY),
    _fault("error page with 200", _page(200), BAD_REPLY),
    _fault("error page with 502", _page(502), SERVER_ERROR),
    _fault("content-length too long", _too_long, CONNECTION),
    _fault("content-length too short", _too_short, BAD_REPLY, CONNECTION),
    _fault("invalid UTF-8", _no_utf8, BAD_REPLY),
    _fault("redirects in a circle", _in_a_circle, BAD_REPLY, final=True),
    _fault("a reply too many", _two_replies),
    _fault("HTTP/1.0", _old),
    _fault("kept connections closed early", _close_early),
)
