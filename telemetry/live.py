"""Shows a run while it goes: a table that redraws itself on a terminal, plain lines anywhere else.

Both forms may be called at any rate and from a loop that must not stall: they drop what comes too fast, never block and
never raise for the terminal's sake. They hold no figures of their own. No cursor is hidden and no screen is taken
over, so a killed run leaves a terminal as it should be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TextIO

from telemetry.columns import Line, cells, text_of
from telemetry.pen import Pen
from telemetry.shard_table import requests_per_s
from telemetry.slowdowns import Slowdowns
from telemetry.terminal import Look, Outlet, look_at, say, size_of
from telemetry.view import cost, ended, hits, view_lines
from telemetry.wording import as_ascii, clean, duration, per_second
from trials.progress import RunView

PLAIN_INTERVAL_S = 5.0
LIVE_INTERVAL_S = 0.5
LONGEST_INTERVAL_S = 2.0
CPU_SHARE = 0.01

_ERASE_REST_OF_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"
_NARROWEST = 20


class Display(Protocol):
    """What the supervisor shows a run with."""

    def show(self, view: RunView) -> None:
        """Show the run as it is now, unless it was shown a moment ago."""
        ...

    def note(self, text: str) -> None:
        """Say something that stays."""
        ...

    def close(self) -> None:
        """Show the last view and let go of the terminal. Further calls do nothing."""
        ...


def choose_display(
    stream: TextIO | None = None, environ: Mapping[str, str] | None = None, *, hints: Sequence[str] | None = None
) -> Display:
    """Return the display that fits a stream (standard output): the live table on a terminal, else plain lines.

    ``hints`` are those of ``view_lines``.
    """
    stream = sys.stdout if stream is None else stream
    look = look_at(stream, environ)
    return LiveTable(stream, look, hints=hints) if look.terminal else PlainLines(stream, look)


def write_view(view: RunView, stream: TextIO, environ: Mapping[str, str] | None = None) -> None:
    """Write a run's picture once, as for a look from another terminal."""
    look = look_at(stream, environ)
    width = size_of(stream)[0] - 1 if look.terminal else 200
    pen = Pen(look)
    say(stream, "".join(pen.draw(line) + "\n" for line in view_lines(view, width, unicode=look.unicode, hints=())))


class LiveTable:
    """A table on a terminal that is drawn over itself, line by line and only where it changed.

    Not safe between threads.
    """

    def __init__(
        self,
        stream: TextIO,
        look: Look,
        *,
        hints: Sequence[str] | None = None,
        interval_s: float = LIVE_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._hints = hints
        self._look = look
        self._interval_s = interval_s
        self._clock = clock
        self._outlet = Outlet(stream)
        self._pen = Pen(look)
        self._next_draw = float("-inf")
        self._latest: RunView | None = None
        self._lines: list[Line] = []
        self._size = (0, 0)
        self._slowdowns = Slowdowns()

    def show(self, view: RunView) -> None:
        """Redraw, at most every ``interval_s`` and once the terminal has taken the last picture."""
        self._latest = view
        self._slowdowns.latest(view.shards, view.elapsed_s)
        if self._clock() >= self._next_draw and self._outlet.idle:
            began_s = time.thread_time()
            self._draw()
            # Many shards on a slow machine are drawn less often rather than at the run's expense.
            dear_s = min((time.thread_time() - began_s) / CPU_SHARE, LONGEST_INTERVAL_S)
            self._next_draw = self._clock() + max(self._interval_s, dear_s)

    def note(self, text: str) -> None:
        """Write a line above the table."""
        text = clean(text) if self._look.unicode else as_ascii(clean(text))
        self._outlet.send(self._back_to_top() + _ERASE_BELOW + text + "\n")
        self._lines = []
        self._draw()

    def close(self) -> None:
        """Draw the last view, leave it standing, and stop."""
        if self._latest is not None:
            self._draw()
        self._latest = None
        self._outlet.close()

    def _draw(self) -> None:
        if self._latest is None or self._outlet.silent:
            return
        size = size_of(self._stream)
        start = self._back_to_top()
        if size != self._size:
            start += _ERASE_BELOW
            self._lines, self._size = [], size
        # The last cell of a line stays empty: a full line leaves the cursor in a state that terminals disagree on.
        lines = view_lines(
            self._latest,
            max(size[0] - 1, _NARROWEST),
            height=size[1] - 1,
            unicode=self._look.unicode,
            reason=self._slowdowns.latest(self._latest.shards, self._latest.elapsed_s),
            hints=self._hints,
        )
        before = [*self._lines, *[None] * len(lines)]
        drawn = [
            "\n" if line == old else self._pen.draw(line) + _ERASE_REST_OF_LINE + "\n"
            for line, old in zip(lines, before, strict=False)
        ]
        self._lines = lines
        self._outlet.send(start + "".join(drawn) + _ERASE_BELOW)

    def _back_to_top(self) -> str:
        """Go up to the picture's first line; after a change of width its lines may have been broken in two."""
        width = max(size_of(self._stream)[0], 1)
        rows = sum(max(1, -(-cells(text_of(line)) // width)) for line in self._lines)
        return f"\r\x1b[{rows}A" if rows else "\r"


class PlainLines:
    """One plain line every few seconds, and one for each change of a state or message. Not safe between threads."""

    def __init__(
        self,
        stream: TextIO | None,
        look: Look | None = None,
        *,
        interval_s: float = PLAIN_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._look = look or Look()
        self._outlet = Outlet(stream)
        self._interval_s = interval_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._told_at = float("-inf")
        self._latest: RunView | None = None
        self._told = ""
        self._states: dict[int, str] = {}
        self._messages: dict[int, str] = {}
        self._slowdowns = Slowdowns()
        self._told_reason = ""

    def show(self, view: RunView) -> None:
        """Write what has changed, and the figures if their time has come."""
        self._latest = view
        changed = self._tell_changes(view)
        now = self._clock()
        if changed or now - self._told_at >= self._interval_s:
            self._told_at = now
            self._tell_figures(view)

    def note(self, text: str) -> None:
        """Write a line."""
        text = clean(text) if self._look.unicode else as_ascii(clean(text))
        self._outlet.send(f"{self._now()}  {text}\n")

    def close(self) -> None:
        """Write the last figures, unless they stand there already."""
        if self._latest is not None and plain_figures(self._latest) != self._told:
            self._tell_figures(self._latest)
        self._latest = None
        self._outlet.close()

    def _tell_changes(self, view: RunView) -> bool:
        """Write changes of state and messages; number 0 stands for the run itself."""
        changed = False
        named = [(0, "run", view.state, view.message)]
        named += [
            (one.number, f"shard {one.number} {one.deployment}", one.progress.state, one.progress.message)
            for one in view.shards
        ]
        for number, name, state, message in named:
            if state != self._states.get(number):
                self._states[number] = state
                self.note(f"{name}: {state}")
                changed = True
            if message and message != self._messages.get(number):
                self._messages[number] = message
                self.note(f"{name}: {message}")
        return changed

    def _tell_figures(self, view: RunView) -> None:
        self._told = plain_figures(view)
        self._slowdowns.latest(view.shards, view.elapsed_s)
        reason = self._slowdowns.reason
        news = f"  slowed down: {reason}" if reason != self._told_reason else ""
        self._told_reason = reason
        self.note(self._told + news)

    def _now(self) -> str:
        return time.strftime("%H:%M:%S", time.localtime(self._wall_clock()))


def plain_figures(view: RunView) -> str:
    """Return a run's figures as one line; they add up as everywhere else."""
    rejected = sum(shard.progress.rejected_429 for shard in view.shards)
    more = "".join(f"  {part}" for part in (cost(view), hits(view)) if part)
    return (
        f"{ended(view)}/{view.planned} scored {view.scored} provider_error {view.provider_errors}"
        f" harness_error {view.harness_errors} pending {view.pending}"
        f"  {per_second(requests_per_s(view))} req/s  {per_second(view.trials_per_s)} trials/s  429s {rejected}{more}"
        f"  eta {duration(view.eta_s)}"
    )
