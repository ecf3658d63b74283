"""Posts a small JSON object to an address of the user's own: a few tries, bounded in time, and never an exception.

The address may hold a secret (Slack's do), so nothing here quotes more of it than its host. Redirects are not followed:
they would carry what is posted, and perhaps the secret, to somebody else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import orjson

from providers.endpoints import host_problem, spelling_problem
from providers.keys import Secret
from providers.transport import USER_AGENT

TRIES = 3
WITHIN_S = 10.0
_TRY_S = 3.0
_PAUSE_S = 0.5
_AGAIN = (408, 425, 429)


def webhook_problem(url: str) -> str:
    """Say what is wrong with an address, or return an empty string. The answer never quotes it."""
    return host_problem(url) or spelling_problem(url)


def host_of(url: Secret) -> str:
    """Return the one part of an address that may be shown."""
    return urlsplit(url.reveal()).hostname or ""


def post_json(url: Secret, body: Mapping[str, Any], *, within_s: float = WITHIN_S) -> str:
    """Post an object, trying up to three times within the time; return why it was not taken, or an empty string."""
    said: list[str] = []
    data = orjson.dumps(body)
    due = time.monotonic() + within_s
    # A thread of its own: a look-up of a name, or a server that sends a byte a second, heeds no timeout of a socket.
    thread = Thread(target=lambda: said.append(_try(url, data, due)), name="webhook", daemon=True)
    thread.start()
    thread.join(within_s)
    return said[0] if said else f"no answer within {within_s:g} s"


def _try(url: Secret, data: bytes, due: float) -> str:
    problem, again = "", True
    for nth in range(TRIES):
        time.sleep(_PAUSE_S * 2**nth if nth else 0)
        left_s = due - time.monotonic()
        if left_s <= 0:
            break
        problem, again = _post(url, data, min(_TRY_S, left_s))
        if not again:
            break
    return problem


def _post(url: Secret, data: bytes, timeout_s: float) -> tuple[str, bool]:
    """Return what went wrong, and whether another try may help. Errors are told by kind: their texts hold the URL."""
    import requests

    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    try:
        with requests.post(
            url.reveal(), data=data, headers=headers, timeout=timeout_s, allow_redirects=False, stream=True
        ) as reply:
            status = reply.status_code
    except requests.Timeout:
        return f"no answer within {timeout_s:.0f} s", True
    except requests.exceptions.SSLError:
        return "no secure connection (TLS)", False
    except (requests.ConnectionError, OSError):
        return "it cannot be reached", True
    except (requests.RequestException, ValueError):
        return "the request cannot be sent", False
    if status < 300:
        return "", False
    if status < 400:
        return f"HTTP {status}: it points elsewhere, and redirects are not followed", False
    return f"HTTP {status}", status >= 500 or status in _AGAIN
