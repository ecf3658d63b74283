"""A child process with a pipe each way, in a session of its own: signals of the terminal reach the parent alone."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from processes.messages import Message, pack, unpack


class Child:
    """A running process. Its messages go into ``inbox`` as (child, message); (child, None) says that it has ended.

    Sending never blocks: a thread of its own writes, so a stopped child cannot stop its parent.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        inbox: queue.SimpleQueue[tuple[Any, Message | None]],
        stderr_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        handle = os.open(stderr_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=handle,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(handle)
        self._inbox = inbox
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._usage: psutil.Process | None = None
        for work in (self._read, self._write):
            threading.Thread(target=work, name=f"{work.__name__}-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message; one to a child that has gone is dropped."""
        self.pass_on(pack(kind, **fields))

    def pass_on(self, line: bytes) -> None:
        """Send a message that is packed already."""
        self._outbox.put(line)

    def kill(self) -> None:
        """End the process and everything it started, at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()

    def close(self, timeout_s: float) -> None:
        """Close its standard input, wait, and kill what has not left by then."""
        self._outbox.put(None)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def is_held_up(self) -> bool:
        """Whether others keep it from going on: it was stopped by a signal or a debugger, or waits for a disk."""
        held_up = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_DISK_SLEEP)
        try:
            return psutil.Process(self.pid).status() in held_up
        except psutil.Error:
            return False

    def usage(self) -> tuple[int, float]:
        """Return (resident bytes, CPU percent of one core since the last call); zeros once it has gone."""
        try:
            if self._usage is None:
                self._usage = psutil.Process(self.pid)
            return self._usage.memory_info().rss, self._usage.cpu_percent()
        except psutil.Error:
            return 0, 0.0

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = unpack(line)
            if message is not None:
                self._inbox.put((self, message))
        self._process.wait()
        self._outbox.put(None)
        self._inbox.put((self, None))

    def _write(self) -> None:
        assert self._process.stdin is not None
        try:
            while (line := self._outbox.get()) is not None:
                self._process.stdin.write(line)
                self._process.stdin.flush()
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
