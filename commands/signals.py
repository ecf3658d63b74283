"""Signals that ask a program to end: what happens to them from its first line to its last.

Before there is anything to lose they end it quietly. While a command runs the first one raises ``Interrupted``, which
lets go of everything on its way out, and a further one ends the program at once. A run under way has a handler of its
own, which drains. Nothing here outlives the program: what it starts sees its standard input close.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KILLED_FROM = 128
_MOMENT_S = 0.02


class Interrupted(BaseException):
    """A signal asks the program to end. No error: nothing but the program's own boundary stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """What the program ends with."""
        return _KILLED_FROM + self.number


def interruption_in(problem: BaseException | None) -> Interrupted | None:
    """Return the signal that an exception comes from: what it broke into may have failed on its way out."""
    while problem is not None and not isinstance(problem, Interrupted):
        problem = problem.__cause__ or problem.__context__
    return problem


class heeding:
    """While active, these signals call a handler; SIGHUP does not if nohup has set it to be ignored."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._old: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in ASKING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._old[number] = signal.signal(number, self._handler)

    def __exit__(self, *_: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)


def leave_quietly() -> None:
    """Let every such signal end the process at once, without a word, from now on: for a program's first lines.

    While the interpreter is taken down, when all has been said and the exit code stands, they are ignored: it would put
    the system's own handlers back, and a shell would take the program for killed.
    """
    heeding(_leave).__enter__()
    atexit.register(heeding(signal.SIG_IGN).__enter__)


class raising(heeding):
    """While active, the first signal raises ``Interrupted`` in the main thread, and the next one ends the process."""

    def __init__(self) -> None:
        super().__init__(self._raise)
        self._asked = False
        self._hook = sys.unraisablehook

    def __enter__(self) -> None:
        self._hook, sys.unraisablehook = sys.unraisablehook, self._swallowed
        super().__enter__()

    def __exit__(self, *of: object) -> None:
        super().__exit__(*of)
        sys.unraisablehook = self._hook

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            _leave(number, frame)
        if _imports(frame):
            _again_soon(number)
            return
        self._asked = True
        raise Interrupted(number)

    def _swallowed(self, told: sys.UnraisableHookArgs) -> None:
        """Raise it again in a moment where it met code whose exceptions lead nowhere, such as a weak reference's."""
        if not isinstance(told.exc_value, Interrupted):
            self._hook(told)
            return
        self._asked = False
        _again_soon(told.exc_value.number)


class LastWords:
    """Lets what must be told at an end be told: from ``begin`` to ``end`` a signal waits; a second one ends all."""

    def __init__(self) -> None:
        self._number = 0
        self._held_back = heeding(self._hold_back)

    def begin(self) -> None:
        """Hold signals back."""
        self._held_back.__enter__()

    def end(self) -> None:
        """Hold them back no more. Raises Interrupted if one has come."""
        self._held_back.__exit__()
        if self._number:
            raise Interrupted(self._number)

    def _hold_back(self, number: int, frame: FrameType | None) -> None:
        if self._number:
            _leave(number, frame)
        self._number = number


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported: one written in C that an exception breaks into may take the process along."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _again_soon(number: int) -> None:
    threading.Timer(_MOMENT_S, os.kill, (os.getpid(), number)).start()


def _leave(number: int, _frame: FrameType | None) -> None:
    os._exit(_KILLED_FROM + number)
