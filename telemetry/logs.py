"""Opens a process' log: one rotated file, readable by its owner only, in which no key ever stands.

Secrets are blotted out of the finished line, so it does not matter whether one came with the message, an argument or a
traceback. A log that cannot be written is told once and never ends a run. Nothing is registered globally.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from urllib.parse import quote, quote_plus

BLOT = "****"
FILE_SIZE_BYTES = 20_000_000
OLD_FILES = 4
_SHORTEST_ENCODED = 8  # fewer characters of base64 turn up in any text

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def open_log(
    path: Path | str,
    *,
    debug: bool,
    secrets: Sequence[str],
    role: str = "",
    warn: Callable[[str], None] | None = None,
) -> logging.Logger:
    """Return a logger that writes to ``path``, five files of 20 MB at the most.

    ``role`` names the process in each line (the file's stem unless given). ``secrets`` are blotted out, also in the
    encodings in which they travel. ``warn`` is told once if the log cannot be written (else standard error is).
    """
    path = Path(path)
    handler = _QuietFile(path, warn or _say_on_stderr)
    handler.setFormatter(_LogLine(role or path.stem, secrets))
    logger = logging.Logger(f"log of {role or path.stem}", logging.DEBUG if debug else logging.INFO)
    logger.addHandler(handler)
    return logger


def close_log(logger: logging.Logger) -> None:
    """Write what is left and let go of the files."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        with suppress(OSError, ValueError):
            handler.close()


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that blots secrets out of a text: as they are, URL-encoded, JSON-escaped, in base64."""
    spellings = {spelling for secret in secrets if secret.strip() for spelling in _spellings(secret.strip())}
    if not spellings:
        return str
    # The longest first, so that a key which begins with another leaves nothing behind.
    pattern = re.compile("|".join(re.escape(one) for one in sorted(spellings, key=lambda one: (-len(one), one))))
    return lambda text: pattern.sub(BLOT, text)


def _spellings(secret: str) -> Iterable[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    for escaped in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield escaped
        yield re.sub("%..", lambda code: code[0].lower(), escaped)
    for encoded in _in_base64(secret.encode()):
        if len(encoded) >= _SHORTEST_ENCODED:
            yield encoded
            yield encoded.replace("+", "-").replace("/", "_")


def _in_base64(secret: bytes) -> Iterable[str]:
    """Yield what base64 makes of a secret inside a longer text (``user:secret``), for each place it may start at.

    Three bytes become four characters; those that also hold bits of a neighbour cannot be known and are left out.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret).decode()
        first = -(-before * 8 // 6)
        last = (before + len(secret)) * 8 // 6
        yield encoded[first:last]


class _LogLine(logging.Formatter):
    """ISO time, level, role, thread, message. Further lines are indented, so that no text can pose as a log line."""

    def __init__(self, role: str, secrets: Sequence[str]) -> None:
        super().__init__("%(message)s")
        self._role = role
        self._redact = redactor(secrets)

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        text = self._redact(super().format(record))
        text = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text).replace("\n", "\n    ")
        return f"{moment} {record.levelname:7} {self._role} {record.threadName} {text}"


class _QuietFile(RotatingFileHandler):
    """A rotating file whose failures are told once and then borne; each further line is tried again."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._warned = False
        super().__init__(
            path,
            maxBytes=FILE_SIZE_BYTES,
            backupCount=OLD_FILES,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), self.encoding, self.errors)

    def handleError(self, record: logging.LogRecord) -> None:
        """Tell the first failure; logging's own way would print a traceback for each."""
        if self._warned:
            return
        self._warned = True
        reason = sys.exc_info()[1]
        with suppress(Exception):  # the warning must not do what the log must not
            self._warn(f"cannot write the log {self.baseFilename}: {reason}; the run goes on without it")


def _say_on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
