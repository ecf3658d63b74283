"""Where text goes: what a stream can show, and a way to write to it that never blocks, fails or ends the caller.

A terminal may be paused (Ctrl-S), closed (SIGHUP, then EIO) or never have been one; a pipe's reader may have left
(EPIPE). None of that is a reason to end a run, or to keep it from watching its shards. What is written is decided
elsewhere.
"""

from __future__ import annotations

import errno
import os
import select
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ENODEV, errno.ENOTCONN})
_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a stream can show. ``terminal`` means one whose cursor can be moved."""

    terminal: bool = False
    colour: bool = False
    unicode: bool = False


def look_at(stream: TextIO | None, environ: Mapping[str, str] | None = None) -> Look:
    """Find out what a stream can show, from itself, TERM, NO_COLOR (no-color.org) and the locale's variables."""
    environ = _given() if environ is None else environ
    terminal = _is_tty(stream) and environ.get("TERM", "") not in ("", "dumb", "unknown")
    return Look(
        terminal=terminal,
        colour=terminal and not environ.get("NO_COLOR"),
        unicode=_is_utf8(stream, environ),
    )


def _given() -> Mapping[str, str]:
    """Return the environment as the user made it: in the C locale Python adds an LC_CTYPE of its own (PEP 538)."""
    given = dict(os.environ)
    with suppress(OSError):  # only Linux still knows how a process was started
        started_with = Path("/proc/self/environ").read_bytes().split(b"\0")
        if not any(item.startswith(b"LC_CTYPE=") for item in started_with):
            given.pop("LC_CTYPE", None)
    return given


def _is_tty(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (ValueError, OSError):
        return False


def _is_utf8(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    # Python speaks UTF-8 in the C locale too (PEP 538, 540), but the terminal behind it may not.
    locale = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return encoding == "utf8" and "utf8" in locale.lower().replace("-", "")


def size_of(stream: TextIO | None) -> tuple[int, int]:
    """Return the columns and lines of a terminal as they are now; 80 by 24 when they cannot be known."""
    try:
        size = os.get_terminal_size(stream.fileno() if stream is not None else -1)
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24


class Keys:
    """Single keys from a terminal, without Enter and without echo; a context manager that puts everything back.

    Where the stream is no terminal, or this program is in its background, no key is ever pressed.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._before: list[Any] | None = None

    def __enter__(self) -> Keys:
        if self._stream is not None and _is_tty(self._stream):
            with suppress(termios.error, OSError, ValueError):
                descriptor = self._stream.fileno()
                if os.tcgetpgrp(descriptor) == os.getpgrp():
                    self._before = termios.tcgetattr(descriptor)
                    tty.setcbreak(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None and self._stream is not None:
            with suppress(termios.error, OSError, ValueError):
                termios.tcsetattr(self._stream.fileno(), termios.TCSADRAIN, self._before)

    def pressed(self, timeout_s: float) -> str:
        """Wait up to so many seconds for a key and return it; an empty text if there was none."""
        if self._before is None or self._stream is None:
            time.sleep(timeout_s)
            return ""
        descriptor = self._stream.fileno()
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return ""
        return os.read(descriptor, 1).decode(errors="replace") or "\x04"


class Outlet:
    """Writes text to a stream from a thread of its own, in order.

    ``send`` never blocks and never raises. When the stream is gone for good it becomes silent, and the stream's
    descriptor is led to the null device: nothing else in the process shall stumble over it, nor the flush at exit.
    Other failures (a full disk) lose the text at hand only. Safe between threads.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        self.silent = stream is None
        self._thread: threading.Thread | None = None

    def send(self, text: str) -> None:
        """Queue a text. If very much waits, because the stream does not take it, the oldest texts are dropped."""
        with self._changed:
            if self.silent or self._closing:
                return
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft()
            self._waiting.append(text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Whether all that was sent has been written."""
        with self._changed:
            return not self._waiting and not self._busy

    def close(self, timeout_s: float = 2.0) -> None:
        """Take no more, and wait until the rest is written or the time is over (then it is lost)."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                text = self._waiting.popleft()
                self._busy = True
            if not say(self._stream, text):
                with self._changed:
                    self.silent = True
                    self._busy = False
                    self._waiting.clear()
                return


def say(stream: TextIO | None, text: str) -> bool:
    """Write a text now, never raising for the stream's sake; False means that the stream is gone for good."""
    if stream is None:
        return False
    try:
        _write(stream, text)
    except OSError as error:
        if error.errno in _GONE:
            _lead_to_nowhere(stream)
            return False
    except ValueError:  # closed file
        return False
    return True


def _write(stream: TextIO, text: str) -> None:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        stream.write(text)
        stream.flush()
        return
    # Past Python's buffers: what they hold after a failure would be tried again, and fail again, at exit.
    stream.flush()
    rest = memoryview(text.encode(stream.encoding or "utf-8", "replace"))
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # another program has made the terminal non-blocking
            select.select([], [descriptor], [], 1.0)


def _lead_to_nowhere(stream: TextIO) -> None:
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
