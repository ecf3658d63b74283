"""A provider on a real socket that answers by script."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[socket.socket], bool]
"""Writes a reply; returns whether the connection stays open."""


@dataclass
class Asked:
    """One request as the scripted provider received it."""

    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedProvider:
    """Answers requests with the scripted replies in turn; the last one repeats."""

    listener: socket.socket
    asked: list[Asked] = field(default_factory=list)
    script: list[Answer] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    connections: int = 0
    hung_up: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    left_early: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def say(
        self, status: int = 200, body: Any = None, *, headers: dict[str, str] | None = None, close: bool = False
    ) -> None:
        """Script a well-formed reply; ``body`` is JSON unless it is bytes. ``close`` hangs up without a word."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"Content-Length": str(len(payload)), "Content-Type": "application/json", **(headers or {})}
        head = f"HTTP/1.1 {status} Said\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.say_raw(head.encode() + b"\r\n" + payload, close=close)

    def say_raw(self, wire: bytes, *, close: bool = True) -> None:
        """Script bytes as they are."""

        def answer(connection: socket.socket) -> bool:
            connection.sendall(wire)
            return not close

        self.script.append(answer)

    def drip(self, start: bytes, drop: bytes) -> None:
        """Script a reply that never ends: ``drop`` every 10 ms, until the other side leaves."""

        def answer(connection: socket.socket) -> bool:
            connection.sendall(start)
            try:
                while not self.closing.wait(0.01):
                    connection.sendall(drop)
            except OSError:
                self.left_early.set()
            return False

        self.script.append(answer)

    def hang(self) -> None:
        """Script no reply at all."""

        def answer(connection: socket.socket) -> bool:
            self.closing.wait(60)
            return False

        self.script.append(answer)

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve_one, args=(connection, self.connections), daemon=True).start()

    def _serve_one(self, connection: socket.socket, number: int) -> None:
        self._converse(connection, number)
        self.hung_up.release()

    def _converse(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream:
            while (line := stream.readline().decode()).strip():
                headers = {}
                while header := stream.readline().decode().strip():
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = stream.read(int(headers.get("content-length", 0)))
                with self.lock:
                    self.asked.append(Asked(line.split()[1], headers, body, number))
                    answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if not answer(connection):
                    return
