"""A lock on a file that many may share or one may hold alone; it dies with the process. Advisory, POSIX flock(2)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class ProcessLock:
    """Held from its making to ``release`` or the end of the process. Raises BlockingIOError if it cannot be had."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Let go of the lock; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
