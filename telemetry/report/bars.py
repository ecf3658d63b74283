"""Draws counts as bars, and percentiles of times as ranges on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, log10

from telemetry.report.dots import NARROW_PX
from telemetry.report.svg import SERIES, Drawing, shortened, width_of
from telemetry.wording import latency

_PITCH_PX = 27.0


def bars(drawing: Drawing, counts: Mapping[str, Mapping[str, int]], series: Sequence[str]) -> None:
    """Draw a bar per name, made of a part per series, with its number at the end."""
    narrow = drawing.width < NARROW_PX
    left = 0.0 if narrow else min(max((width_of(name) for name in counts), default=0.0) + 14, 0.34 * drawing.width)
    y = drawing.key(series, 0.0) if len(series) > 1 else 4.0
    most = max((sum(parts.values()) for parts in counts.values()), default=0) or 1
    room = drawing.width - left - 64
    for name, parts in counts.items():
        if narrow:
            drawing.text(0, y + 12, shortened(name, drawing.width))
            y += 17
        else:
            drawing.text(left - 12, y + 15, shortened(name, left - 12), "end")
        x = left
        for number, one in enumerate(series):
            width = parts.get(one, 0) / most * room
            if width:
                drawing.rect(x, y + 4, width, 15, f"s{number % SERIES} block", f"{name}, {one}: {parts[one]}")
            x += width
        drawing.text(x + 7, y + 15, f"{sum(parts.values()):,}".replace(",", "\u2009"), "small num")
        y += _PITCH_PX
    drawing.height = y + 6


def ranges(drawing: Drawing, percentiles: Mapping[str, Sequence[float]]) -> None:
    """Draw a range of milliseconds per name: its first percentile as a dot, the others as ticks, the last in words.

    The scale is logarithmic and begins at 1 ms, which also stands for all that was shorter.
    """
    narrow = drawing.width < NARROW_PX
    widest = max((width_of(name) for name in percentiles), default=0.0)
    left = 8.0 if narrow else min(widest + 18, 0.38 * drawing.width)
    right = drawing.width - 62
    longest = max((points[-1] for points in percentiles.values()), default=0.0)
    powers = max(1, ceil(log10(max(longest, 10.0))))
    pitch = 44.0 if narrow else 28.0
    bottom = 4 + pitch * len(percentiles)
    for power in range(powers + 1):
        x = left + power / powers * (right - left)
        drawing.line(x, 2, x, bottom, "grid" if power else "axis")
        drawing.text(x, bottom + 16, latency(10.0**power), "soft small mid")
    y = 4.0
    for name, points in percentiles.items():
        if narrow:
            drawing.text(0, y + 13, shortened(name, drawing.width))
        else:
            drawing.text(left - 14, y + 18, shortened(name, left - 14), "end")
        middle = y + (29 if narrow else 14)
        places = [left + log10(max(1.0, ms)) / powers * (right - left) for ms in points]
        drawing.line(places[0], middle, places[-1], middle, "bar s0")
        for x in places[1:]:
            drawing.line(x, middle - 4.5, x, middle + 4.5, "bar s0")
        drawing.mark(places[0], middle, 0, f"{name}: {', '.join(short_latency(ms) for ms in points)}")
        drawing.text(places[-1] + 9, middle + 4, short_latency(points[-1]), "small num")
        y += pitch
    drawing.height = bottom + 24


def short_latency(ms: float) -> str:
    """Spell a latency; the shortest there is stands for all below it."""
    return latency(ms) if ms > 1 else "≤ 1 ms"
