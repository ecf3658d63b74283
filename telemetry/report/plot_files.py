"""Writes plots as files: SVG always, PNG where the package resvg-py is installed, which draws SVG without a browser."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from telemetry.report.figures import Figure
from telemetry.report.markup import WIDE_PX

PNG_SCALE = 2.0


def write_plots(figures: Iterable[Figure], directory: Path, *, simulated: bool) -> list[Path]:
    """Write each plot as ``NAME.svg``, and as ``NAME.png`` at twice the size if it can be; return what was written.

    Raises OSError if the directory does not take them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in figures:
        drawing = figure.at(WIDE_PX)
        text = drawing.file(note="SIMULATED: measures no real model" if simulated else "")
        path = directory / f"{figure.name}.svg"
        path.write_text(text, encoding="utf-8", errors="replace")
        written.append(path)
        if can_draw_png():
            written.append(_write_png(text, path.with_suffix(".png")))
    return written


def can_draw_png() -> bool:
    """Whether what draws PNG is installed."""
    return find_spec("resvg_py") is not None


def _write_png(text: str, path: Path) -> Path:
    import resvg_py

    path.write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=text, zoom=PNG_SCALE)))
    return path
