"""HTTP by way of libcurl: a handle and a kept-alive connection per thread, the exchange itself outside Python.

Two things are not done, since they were measured and did not pay. HTTP/2 took twice the CPU time (100 µs a request
over TLS instead of 54) where a connection carries one request at a time, so HTTP/1.1 is spoken. A share of DNS and TLS
sessions between handles saved nothing, since each keeps its connection. A handle reads the CA bundle once: 4 ms and
0.8 MB with certifi's; a directory of hashed files, as in REQUESTS_CA_BUNDLE=/etc/ssl/certs, makes that next to nothing.

Headers are read while they may say something: a callback into Python for each of their lines costs more than the
body does (docs/performance.md). A connection's first reply is read whole, and so is every reply for ``ATTENTIVE_S``
after any thread was told anything but a plain 200. In between a reply has no headers but those that libcurl keeps.

Proxies come from the usual variables (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), looked up when a thread turns to
another URL. There are no cookies, no redirects and no ``.netrc`` unless libcurl is told so, and it is not.

Source: libcurl's reference, curl_easy_setopt(3), libcurl-errors(3), libcurl-thread(3).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock, local
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import pycurl

from providers import failures
from providers.transport import (
    CONNECT_TIMEOUT_S,
    MAX_HEADER_BYTES,
    MAX_REPLY_BYTES,
    USER_AGENT,
    HttpReply,
    HttpRequest,
    Phases,
    ca_bundle,
)
from trials.errors import ProviderError

ATTENTIVE_S = 60.0
"""For how long headers are read after a reply that was not a plain 200."""

_TOO_LARGE = 100  # CURLE_TOO_LARGE: libcurl's own limits on headers; pycurl has no name for it
_PLAIN_STATUS = 200
_PLAIN_WORDS: dict[int | str, str] = {
    pycurl.E_COULDNT_RESOLVE_HOST: failures.UNKNOWN_HOST,
    pycurl.E_GOT_NOTHING: failures.NO_REPLY,
    pycurl.E_PARTIAL_FILE: failures.CUT_SHORT,
    _TOO_LARGE: failures.LONG_HEADERS,
}


class CurlTransport:
    """Sends from any number of threads. See the ``Transport`` protocol."""

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES, every_header: bool = False) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._attention = _Attention(until=float("inf") if every_header else 0.0)
        self._own = _Own()
        self._lock = Lock()
        # Weak: the handle of a thread that ends is closed with it.
        self._lines: WeakSet[_Line] = WeakSet()

    def send(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        """Post the request and read the whole reply within ``timeout_s``."""
        return (self._own.line or self._new_line()).exchange(request, timeout_s)

    def phases(self) -> Phases | None:
        """Return how long the parts of this thread's last exchange took."""
        return self._own.line.phases() if self._own.line else None

    def close(self) -> None:
        """Close every thread's connection, but for those in the middle of an exchange."""
        with self._lock:
            for line in self._lines:
                line.close()

    def _new_line(self) -> _Line:
        line = self._own.line = _Line(self._max_reply_bytes, self._attention)
        with self._lock:
            self._lines.add(line)
        return line


class _Attention:
    """Until when the threads of a transport read headers, on the monotonic clock."""

    __slots__ = ("until",)

    def __init__(self, until: float) -> None:
        self.until = until

    def stir(self) -> None:
        self.until = max(self.until, monotonic() + ATTENTIVE_S)


class _Line:
    """One thread's handle. What stays the same from one request to the next is set once."""

    def __init__(self, max_reply_bytes: int, attention: _Attention) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._attention = attention
        self._reads_head = False
        self._fresh = True
        self._url = ""
        self._headers: Mapping[str, str] = {}
        self._timeout_s = 0.0
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._handle = _new_handle()
        self._handle.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def exchange(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        handle = self._handle
        try:
            self._aim(request, timeout_s)
            handle.setopt(pycurl.POSTFIELDS, request.body)
            self._listen(self._fresh or monotonic() < self._attention.until)
            handle.perform()
            status = handle.getinfo(pycurl.RESPONSE_CODE)
            self._fresh = False
            if status != _PLAIN_STATUS:
                self._attention.stir()
            return HttpReply(status=status, headers=self._headers_read(status), body=b"".join(self._body))
        except pycurl.error as error:
            self._fresh = True
            raise self._failure(error, timeout_s) from None
        finally:
            self._head, self._head_bytes = [], 0
            self._body, self._body_bytes = [], 0

    def phases(self) -> Phases:
        """Ask libcurl, whose times all count from the beginning of an exchange.

        Of one that fails it also fills in times that it did not reach; only what was sent and came can be relied on.
        """
        get = self._handle.getinfo
        known, there, ready = get(pycurl.NAMELOOKUP_TIME), get(pycurl.CONNECT_TIME), get(pycurl.PRETRANSFER_TIME)
        safe, end = get(pycurl.APPCONNECT_TIME), get(pycurl.TOTAL_TIME)
        first = get(pycurl.STARTTRANSFER_TIME) if get(pycurl.HEADER_SIZE) else 0.0
        reused = get(pycurl.REQUEST_SIZE) > 0 and not get(pycurl.NUM_CONNECTS)
        return Phases(
            reused=reused,
            lookup_ms=known * 1000 if known and not reused else None,
            connect_ms=(there - known) * 1000 if there and not reused else None,
            tls_ms=(safe - there) * 1000 if safe and not reused else None,
            first_byte_ms=(first - ready) * 1000 if first else None,
            body_ms=(end - first) * 1000 if first else None,
        )

    def close(self) -> None:
        with suppress(pycurl.error):
            self._handle.close()

    def _aim(self, request: HttpRequest, timeout_s: float) -> None:
        handle = self._handle
        if request.url != self._url:
            handle.setopt(pycurl.URL, request.url)
            handle.setopt(pycurl.PROXY, _proxy_for(request.url))
            self._url = request.url
        if request.headers != self._headers:
            handle.setopt(pycurl.HTTPHEADER, _header_lines(request.headers))
            self._headers = dict(request.headers)
        if timeout_s != self._timeout_s:
            handle.setopt(pycurl.TIMEOUT_MS, max(1, round(timeout_s * 1000)))
            self._timeout_s = timeout_s

    def _listen(self, to_headers: bool) -> None:
        if to_headers != self._reads_head:
            self._reads_head = to_headers
            if to_headers:
                self._handle.setopt(pycurl.HEADERFUNCTION, self._take_head)
            else:
                self._handle.unsetopt(pycurl.HEADERFUNCTION)

    def _headers_read(self, status: int) -> dict[str, str]:
        if self._reads_head:
            return _parsed(self._head)
        if self._handle.getinfo(pycurl.HEADER_SIZE) > MAX_HEADER_BYTES:
            raise failures.broken(self._url, failures.LONG_HEADERS)
        return {} if status == _PLAIN_STATUS else self._headers_kept()

    def _headers_kept(self) -> dict[str, str]:
        """Return what libcurl has kept of headers that nobody read: enough for a retry and for an error's words."""
        get = self._handle.getinfo
        kept = {"content-type": get(pycurl.CONTENT_TYPE), "location": get(pycurl.REDIRECT_URL)}
        if wait_s := get(pycurl.RETRY_AFTER):
            kept["retry-after"] = str(wait_s)
        return {name: value for name, value in kept.items() if value}

    def _take_head(self, line: bytes) -> int | None:
        self._head_bytes += len(line)
        if self._head_bytes > MAX_HEADER_BYTES:
            return -1
        self._head.append(line)
        return None

    def _take_body(self, chunk: bytes) -> int | None:
        self._body_bytes += len(chunk)
        if self._body_bytes > self._max_reply_bytes:
            return -1
        self._body.append(chunk)
        return None

    def _failure(self, error: pycurl.error, timeout_s: float) -> ProviderError:
        code, said, url = error.args[0], str(error.args[-1]), self._url
        if self._body_bytes > self._max_reply_bytes:
            return failures.too_big(self._max_reply_bytes, self._handle.getinfo(pycurl.RESPONSE_CODE))
        if self._head_bytes > MAX_HEADER_BYTES:
            return failures.broken(url, failures.LONG_HEADERS)
        if code == pycurl.E_OPERATION_TIMEDOUT:
            connected = self._handle.getinfo(pycurl.PRETRANSFER_TIME) > 0
            return failures.late(url, timeout_s) if connected else failures.not_connected(url)
        if code == pycurl.E_BAD_CONTENT_ENCODING:
            return failures.not_unpacked()
        if code == pycurl.E_PEER_FAILED_VERIFICATION:
            return failures.untrusted(url, said.rpartition(": ")[2])
        if code == pycurl.E_SSL_CACERT_BADFILE and (missing := failures.bundle_missing(url)):
            return missing
        if code == pycurl.E_COULDNT_CONNECT and (number := self._handle.getinfo(pycurl.OS_ERRNO)):
            said = os.strerror(number)
        return failures.broken(url, _PLAIN_WORDS.get(code, said))


class _Own(local):
    line: _Line | None = None


def _new_handle() -> Any:
    handle = pycurl.Curl()
    handle.setopt(pycurl.POST, 1)
    handle.setopt(pycurl.NOSIGNAL, 1)
    handle.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    handle.setopt(pycurl.HEADEROPT, pycurl.HEADER_SEPARATE)  # a proxy that tunnels is not shown the key
    handle.setopt(pycurl.CONNECTTIMEOUT_MS, round(CONNECT_TIMEOUT_S * 1000))
    handle.setopt(pycurl.TCP_KEEPALIVE, 1)  # routers forget connections on which a model thinks in silence
    # Since 8.16, libcurl remembers for 30 s that a name was not known: a hiccup would cost every attempt till then.
    handle.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
    handle.setopt(pycurl.USERAGENT, USER_AGENT)
    handle.setopt(pycurl.ACCEPT_ENCODING, "")  # all that this libcurl can unpack
    bundle = ca_bundle()
    hashed = Path(bundle).is_dir()
    handle.setopt(pycurl.CAPATH if hashed else pycurl.CAINFO, bundle)
    handle.setopt(pycurl.PROXY_CAPATH if hashed else pycurl.PROXY_CAINFO, bundle)
    return handle


def _proxy_for(url: str) -> str:
    """Return the proxy of the environment, or "" for none. Of NO_PROXY, libcurl itself knows address ranges as well."""
    parts, proxies = urlsplit(url), getproxies()
    if proxy_bypass(parts.netloc):
        return ""
    return proxies.get(parts.scheme) or proxies.get("all", "")


def _header_lines(headers: Mapping[str, str]) -> list[str]:
    """Return what libcurl is to send; in its notation a semicolon stands for a value that is empty."""
    failures.check_sendable(headers)
    # Without the last, it would ask leave before it sends a big body, and wait a second for it.
    return [*(f"{name}: {value}" if value else f"{name};" for name, value in headers.items()), "Expect:"]


def _parsed(lines: list[bytes]) -> dict[str, str]:
    """Return the last of the replies' headers: those of 1xx replies and of a proxy's tunnel come before them."""
    headers: dict[str, str] = {}
    for line in b"".join(lines).decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon:
            if line.startswith("HTTP/"):
                headers.clear()
            continue
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
