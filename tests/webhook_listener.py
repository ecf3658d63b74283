"""A webhook's receiving end: a real server on a free port; nothing here is a test."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from providers.keys import Secret

SECRET = "xoxb-0123"
"""Stands in the address, and must never be shown."""


class Listener:
    """A server on a free port that answers with these statuses in turn, the last for ever; None is no answer at all."""

    def __init__(self, *statuses: int | None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.paths.append(self.path)
                listener.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status = statuses[min(len(listener.bodies), len(statuses)) - 1]
                if status is None:
                    listener.over.wait(30)
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = Secret(f"http://127.0.0.1:{self._server.server_address[1]}/hook/{SECRET}?token={SECRET}")

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
