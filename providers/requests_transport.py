"""HTTP by way of ``requests``: a session and a kept-alive connection per thread.

Proxies and CA bundles come from the usual variables (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, …), looked up once per
host since doing so costs as much as the rest of a request. ``.netrc`` is not read: it would replace the key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected
from http.cookiejar import DefaultCookiePolicy
from socket import gaierror
from ssl import SSLCertVerificationError
from threading import Lock, local
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

from providers import failures
from providers.deadlines import Deadlines
from providers.transport import (
    CONNECT_TIMEOUT_S,
    MAX_REPLY_BYTES,
    USER_AGENT,
    HttpReply,
    HttpRequest,
    Phases,
    ca_bundle,
)
from trials.errors import ProviderError

_CHUNK_BYTES = 64 * 1024


class RequestsTransport:
    """Sends from any number of threads. See the ``Transport`` protocol."""

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._deadlines = Deadlines()
        self._times = _Times()
        self._pools = _watched_pools(self._deadlines, self._times)
        self._own = local()
        self._lock = Lock()
        self._sessions: list[requests.Session] = []
        self._proxies: dict[str, Mapping[str, str]] = {}

    def send(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        """Post the request and read the whole reply within ``timeout_s``."""
        failures.check_sendable(request.headers)
        due = time.monotonic() + timeout_s
        self._deadlines.begin(due)
        self._times.begin()
        try:
            reply = self._exchange(request, timeout_s)
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            raise _failure(error, request.url, timeout_s, late=time.monotonic() >= due) from error
        finally:
            self._times.ended = time.monotonic()
            cut_short = self._deadlines.end()
        if cut_short:
            raise failures.late(request.url, timeout_s)
        return reply

    def phases(self) -> Phases | None:
        """Return how long the parts of this thread's last exchange took; connecting includes name and TLS."""
        return self._times.phases()

    def close(self) -> None:
        """Close every thread's session."""
        self._deadlines.close()
        with self._lock:
            for session in self._sessions:
                session.close()

    def _exchange(self, request: HttpRequest, timeout_s: float) -> HttpReply:
        # The stubs do not know that requests takes urllib3's own Timeout, which also bounds connect and read together.
        timeout: Any = Timeout(connect=min(CONNECT_TIMEOUT_S, timeout_s), read=timeout_s, total=timeout_s)
        with self._session().post(
            request.url,
            data=request.body,
            headers=dict(request.headers),
            timeout=timeout,
            proxies=dict(self._proxies_for(request.url)),
            allow_redirects=False,
            stream=True,
        ) as response:
            self._times.first = time.monotonic()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(status=response.status_code, headers=headers, body=self._body(response))

    def _body(self, response: requests.Response) -> bytes:
        chunks: list[bytes] = []
        size_bytes = 0
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=True):
            size_bytes += len(chunk)
            if size_bytes > self._max_reply_bytes:
                raise failures.too_big(self._max_reply_bytes, response.status_code)
            chunks.append(chunk)
        return b"".join(chunks)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = _new_session(self._pools)
            with self._lock:
                self._sessions.append(session)
        return session

    def _proxies_for(self, url: str) -> Mapping[str, str]:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        found = self._proxies.get(origin)
        if found is None:
            found = self._proxies[origin] = get_environ_proxies(origin)
        return found


def _new_session(pools: dict[str, Any]) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = ca_bundle()
    # A cookie would tie later trials to what an earlier one met.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = USER_AGENT
    adapter = _WatchedAdapter(pools)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class _WatchedAdapter(HTTPAdapter):
    """Makes connections whose sockets are known to ``Deadlines``."""

    def __init__(self, pools: dict[str, Any]) -> None:
        self._pools = pools
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        if not str(args[0]).startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


class _Times(local):
    """When the calling thread's last exchange got how far, on the monotonic clock; 0 for what it did not reach."""

    began = connected = first = ended = connect_s = 0.0

    def begin(self) -> None:
        self.began = time.monotonic()
        self.connected = self.first = self.ended = self.connect_s = 0.0

    def connecting(self, connect: Callable[[], None]) -> None:
        began = time.monotonic()
        connect()
        self.connected = time.monotonic()
        self.connect_s = self.connected - began

    def phases(self) -> Phases | None:
        if not self.began:
            return None
        ready = self.connected or self.began
        return Phases(
            reused=bool(self.first and not self.connected),
            connect_ms=self.connect_s * 1000 if self.connected else None,
            first_byte_ms=(self.first - ready) * 1000 if self.first else None,
            body_ms=(self.ended - self.first) * 1000 if self.first else None,
        )


def _watched_pools(deadlines: Deadlines, times: _Times) -> dict[str, Any]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            times.connecting(super().connect)

        def getresponse(self) -> Any:
            deadlines.attach(self.sock)
            return super().getresponse()

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            times.connecting(super().connect)

        def getresponse(self) -> Any:
            deadlines.attach(self.sock)
            return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _failure(error: Exception, url: str, timeout_s: float, *, late: bool) -> ProviderError:
    cause = _root(error)
    if isinstance(error, requests.ConnectTimeout):
        return failures.not_connected(url)
    if late or isinstance(error, requests.Timeout | ReadTimeoutError):
        return failures.late(url, timeout_s)
    if isinstance(error, DecodeError):
        return failures.not_unpacked()
    if isinstance(cause, SSLCertVerificationError):
        return failures.untrusted(url, cause.verify_message)
    return failures.bundle_missing(url) or failures.broken(url, _words(cause))


def _words(cause: BaseException) -> str:
    if isinstance(cause, RemoteDisconnected):
        return failures.NO_REPLY
    if isinstance(cause, IncompleteRead):
        return failures.CUT_SHORT
    if isinstance(cause, gaierror):
        return failures.UNKNOWN_HOST
    if isinstance(cause, LineTooLong) or type(cause) is HTTPException:  # the latter for more than 100 headers
        return failures.LONG_HEADERS
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _root(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
