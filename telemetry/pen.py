"""Turns laid-out lines into the characters that a stream wants to read: styled for a terminal, else plain."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from telemetry.columns import Line, styled, text_of
from telemetry.terminal import Look

if TYPE_CHECKING:
    from rich.console import Console


class Pen:
    """Draws single lines; rich is loaded at the first styled one."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._console: Console | None = None

    def draw(self, line: Line) -> str:
        """Return the line without a line break."""
        if not self._look.terminal:
            return text_of(line)
        from rich.console import Console

        if self._console is None:
            self._console = Console(
                file=io.StringIO(),
                force_terminal=True,
                color_system="standard",
                no_color=not self._look.colour,
                legacy_windows=False,
                width=10_000,
            )
        with self._console.capture() as drawn:
            self._console.print(styled(line), end="")
        return drawn.get()
