"""A clock to turn, and a terminal that is a real pseudo-terminal; nothing here is a test."""

from __future__ import annotations

import fcntl
import os
import pty
import queue
import re
import struct
import termios
import threading
from contextlib import suppress
from typing import TextIO

_SEQUENCE = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class FakeClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal:
    """Both ends of a pseudo-terminal, and a thread that reads what is written, as a terminal does."""

    def __init__(self, columns: int = 100, lines: int = 30) -> None:
        self._master, slave = pty.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self.resize(columns, lines)
        self._pieces: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def written(self) -> str:
        """Return all that was written since the last call."""
        self.stream.write("\x00")
        self.stream.flush()
        got = b""
        while not got.endswith(b"\x00"):
            got += self._pieces.get()
        return got[:-1].decode()

    def hang_up(self) -> None:
        """Close the terminal's end while the program still holds its own."""
        self.stream.write("\x04")
        self.stream.flush()
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        piece = b""
        with suppress(OSError):  # how the end of the other side is told
            while b"\x04" not in piece:
                piece = os.read(self._master, 65536)
                self._pieces.put(piece)


def screen(text: str) -> list[str]:
    """Replay carriage returns, line feeds, cursor-up and erasing; styles are ignored, anything else is an error."""
    rows: list[str] = [""]
    row = column = 0
    for count, command, back, down, plain in _SEQUENCE.findall(text):
        if plain:
            rows[row] = rows[row][:column].ljust(column) + plain + rows[row][column + len(plain) :]
            column += len(plain)
        elif back:
            column = 0
        elif down:
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif command == "A":
            row -= int(count or 1)
            assert row >= 0, "the cursor left the screen"
        elif command == "K":
            rows[row] = rows[row][:column]
        elif command == "J":
            rows[row] = rows[row][:column]
            del rows[row + 1 :]
        else:
            assert command == "m", f"unexpected sequence {count}{command}"
    return rows
