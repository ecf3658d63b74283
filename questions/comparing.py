"""Asks a process of its own whether two expressions are equal, and kills it when it does not come to an end.

Threads may not be interrupted in Python, and math-verify's own time limit works in the main thread alone; hence a
process. There is one, started when first needed and again after a kill. It shares nothing with the runner but two
pipes: no sockets, no locks, no terminal, none of the keys in the environment.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from time import monotonic
from typing import Any

MEMORY_BYTES = 2 * 2**30
_START_LIMIT_S = 60.0
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from questions.math_process import serve; serve(float(sys.argv[2]), int(sys.argv[3]))"
)
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class UncheckableError(Exception):
    """A comparison came to no end in two fresh attempts, or its process cannot start."""


class _Gone(Exception):
    """The process ended, or had to be."""


class Comparer:
    """Compares expressions in a child process. ``same`` may be called by many threads; they are served in turn."""

    def __init__(self, limit_s: float = 5.0, memory_bytes: int = MEMORY_BYTES) -> None:
        self._limit_s, self._memory_bytes = limit_s, memory_bytes
        self._child: subprocess.Popen[bytes] | None = None
        # One thread owns the child, so requests keep their order and answers cannot be mixed up.
        self._turns = ThreadPoolExecutor(max_workers=1, thread_name_prefix="math-comparer")
        self._remembered = lru_cache(maxsize=4096)(self._twice)

    @property
    def pid(self) -> int | None:
        """The child's process id; None if there is none at the moment."""
        child = self._child
        return child.pid if child is not None else None

    def same(self, gold: str, answer: str) -> bool:
        """Tell whether an answer equals the gold expression (both LaTeX or plain). Raises UncheckableError."""
        return self._turns.submit(self._remembered, gold, answer).result()

    def close(self) -> None:
        """Let the comparison in hand end, drop those that wait, and end the child."""
        self._turns.shutdown(wait=True, cancel_futures=True)
        self._kill()

    def _twice(self, gold: str, answer: str) -> bool:
        for attempt in (1, 2):
            if attempt == 2:
                self._kill()
            try:
                return self._once(gold, answer)
            except _Gone:
                self._kill()
        raise UncheckableError(f"two comparisons of {self._limit_s:g} s came to no end")

    def _once(self, gold: str, answer: str) -> bool:
        child = self._child or self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps([gold, answer]).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            raise _Gone from None
        return bool(self._reply(child, self._limit_s + 0.5)["same"])

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("PYTHON")}
        arguments = [json.dumps(sys.path), str(self._limit_s), str(self._memory_bytes)]
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**kept, "PYTHONHASHSEED": "0"},  # sympy's order of terms follows hashes
                start_new_session=True,
            )
            ready = self._reply(self._child, _START_LIMIT_S)
        except (_Gone, OSError) as error:
            self._kill()
            raise UncheckableError(f"the process that compares expressions does not start: {error!r}") from None
        if "error" in ready:
            self._kill()
            raise UncheckableError(f"the process that compares expressions cannot import: {ready['error']}")
        return self._child

    def _reply(self, child: subprocess.Popen[bytes], limit_s: float) -> Mapping[str, Any]:
        """Return the next line of the child. Raises _Gone if it ends or takes too long."""
        assert child.stdout is not None
        end, line = monotonic() + limit_s, b""
        with selectors.DefaultSelector() as ready:  # select() would fail for file numbers over 1023
            ready.register(child.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not ready.select(max(end - monotonic(), 0)):
                    raise _Gone("time is up")
                part = os.read(child.stdout.fileno(), 65536)
                if not part:
                    raise _Gone("it ended")
                line += part
        reply: Mapping[str, Any] = json.loads(line)
        return reply

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was not written went with the child
                    continue
