"""A real S3 and STS endpoint (moto) over HTTP that can refuse credentials, lose answers and count what it is asked."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
BUCKET = "results"
REGION = "us-east-1"


class S3Server:
    """Stands at ``url`` on a free port of 127.0.0.1. ``refused`` maps ids of keys to error codes they meet."""

    def __init__(self, application: Application) -> None:
        from werkzeug.serving import make_server

        self._application = application
        self._lock = threading.Lock()
        self.forget()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def forget(self) -> None:
        """Begin anew, with an empty bucket and everybody let in."""
        from moto.backends import get_backend

        self.refused: dict[str, str] = {}
        self.refuse_all = ""
        self.used: list[str] = []
        self.identity_tokens: list[str] = []
        self.after_put: Callable[[str, str], bool] = self.answered
        get_backend("s3").reset()
        get_backend("s3")["123456789012"]["aws"].create_bucket(BUCKET, REGION)

    @staticmethod
    def answered(path: str, key: str) -> bool:
        """Stand in for ``after_put``, which is called after each PUT; true loses the answer, the client sees a 503."""
        return False

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, **more: str) -> dict[str, str]:
        """Return variables that lead here, with fixed keys."""
        keys = {"AWS_ACCESS_KEY_ID": "AKIDFIXED", "AWS_SECRET_ACCESS_KEY": "very-secret-key"}
        return {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, **keys, **more}

    def keys_used(self) -> list[str]:
        """Return the ids of keys that were used, in the order in which they first were."""
        return list(dict.fromkeys(self.used))

    def _serve(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        key = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0]
        if key:
            self.used.append(key)
        else:
            self._note_identity(environ)
        code = self.refuse_all if key else ""
        if code := code or self.refused.get(key, ""):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
            said = f"<Error><Code>{code}</Code><Message>no</Message><AWSAccessKeyId>{key}</AWSAccessKeyId>"
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return [f'<?xml version="1.0"?>{said}<Token-0>{token}</Token-0></Error>'.encode()]
        answer: list[Any] = []
        with self._lock:  # moto's own state does without one
            reply = list(self._application(environ, lambda *head: answer.extend(head[:2])))
        if environ["REQUEST_METHOD"] == "PUT" and self.after_put(environ["PATH_INFO"], key):
            start("503 Service Unavailable", [])
            return [b""]
        start(*answer)
        return reply

    def _note_identity(self, environ: dict[str, Any]) -> None:
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            self.identity_tokens += parse_qs(body.decode()).get("WebIdentityToken", [])


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server with an empty bucket in it."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    server = S3Server(DomainDispatcherApplication(create_backend_app))
    try:
        yield server
    finally:
        server.close()
