"""Draws rates with their intervals: a dot with whiskers per series in each group, or lines over a scale of rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from telemetry.report.facts import Rate
from telemetry.report.svg import SERIES, Drawing, shortened, width_of
from telemetry.wording import percent

Groups = Mapping[str, Mapping[str, Rate]]
"""Group → series → rate."""

NARROW_PX = 480.0
_PITCH_PX = 19.0
_GAP_PX = 13.0
_VALUES_PX = 134.0


def spelt(rate: Rate) -> str:
    """Spell a rate with its interval, in percent."""
    return f"{percent(rate.share)} [{percent(rate.interval.low)}, {percent(rate.interval.high)}]"


def dot_plot(drawing: Drawing, groups: Groups, series: Sequence[str], reference: str = "") -> None:
    """Draw a group below the other on a scale from 0 to 100 %, numbers at the right.

    The rates of the group ``reference`` are carried on as a dashed line each. On a narrow drawing a group's name stands
    above its dots, else to the left of them.
    """
    narrow = drawing.width < NARROW_PX
    named = max((width_of(name) for name in groups), default=0.0) + 14
    left = 8.0 if narrow else min(named, 0.34 * drawing.width)
    right = drawing.width - _VALUES_PX
    top = drawing.key(series, 0.0) if len(series) > 1 else 4.0
    y = top + 18
    bottom = y + sum(_GAP_PX + (16 if narrow else 0) + _PITCH_PX * len(rates) for rates in groups.values())
    _scale(drawing, left, right, top + 10, bottom)
    for one, rate in groups.get(reference, {}).items():
        x = left + rate.share * (right - left)
        drawing.line(x, y, x, bottom, f"ref s{series.index(one) % SERIES}")
    for name, rates in groups.items():
        y += _GAP_PX / 2
        if narrow:
            drawing.text(0, y + 10, shortened(name, drawing.width))
            y += 16
        else:
            middle = y + _PITCH_PX * len(rates) / 2 + 4
            drawing.text(left - 12, middle, shortened(name, left - 12), "end")
        for one in (one for one in series if one in rates):
            _dot(drawing, rates[one], series.index(one), (left, right), y + _PITCH_PX / 2, f"{name}, {one}")
            y += _PITCH_PX
        y += _GAP_PX / 2
    drawing.height = bottom + 26


def _scale(drawing: Drawing, left: float, right: float, top: float, bottom: float) -> None:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * (right - left)
        drawing.line(x, top, x, bottom, "axis" if share == 0 else "grid")
        drawing.text(x, bottom + 16, f"{100 * share:.0f}" + (" %" if share == 1 else ""), "soft small mid")


def _dot(drawing: Drawing, rate: Rate, series: int, span: tuple[float, float], y: float, name: str) -> None:
    left, right = span
    low, at, high = (
        left + share * (right - left) for share in (rate.interval.low, min(1.0, rate.share), rate.interval.high)
    )
    css = f"bar s{series % SERIES}"
    drawing.line(low, y, high, y, css)
    for end in (low, high):
        drawing.line(end, y - 3.5, end, y + 3.5, css)
    drawing.mark(at, y, series, f"{name}: {spelt(rate)} %, n = {rate.n}")
    drawing.text(right + 42, y + 4, percent(rate.share), "small end")
    drawing.text(right + 48, y + 4, f"[{percent(rate.interval.low)}, {percent(rate.interval.high)}]", "small soft")


def rate_lines(drawing: Drawing, groups: Groups, series: Sequence[str], axis: str) -> None:
    """Draw a line with whiskers per series over groups whose names are numbers, from the highest at the left down."""
    levels = sorted(groups, key=float, reverse=True)
    top = drawing.key(series, 0.0) if len(series) > 1 else 6.0
    left, right, top, bottom = 34.0, drawing.width - 92, top + 8, top + 268
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - share * (bottom - top)
        drawing.line(left, y, right + 12, y, "axis" if share == 0 else "grid")
        drawing.text(left - 6, y + 4, f"{100 * share:.0f}" + ("%" if share == 1 else ""), "soft small end")
    values = [float(level) for level in levels]
    span = max(values[0] - values[-1], 1e-9)
    inner = left + 26, right - 22
    ends: list[tuple[float, int, Rate]] = []
    places = {level: inner[0] + (values[0] - float(level)) / span * (inner[1] - inner[0]) for level in levels}
    for level, x in places.items():
        drawing.text(x, bottom + 17, level, "soft small mid")
    for number, one in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * 7
        points = [(places[level] + shift, groups[level][one], level) for level in levels if one in groups[level]]
        css = f"s{number % SERIES}"
        drawing.path(((x, bottom - rate.share * (bottom - top)) for x, rate, _ in points), f"line {css}")
        for x, rate, level in points:
            low, at, high = (
                bottom - share * (bottom - top) for share in (rate.interval.low, rate.share, rate.interval.high)
            )
            drawing.line(x, low, x, high, f"bar {css}")
            for end in (low, high):
                drawing.line(x - 3.5, end, x + 3.5, end, f"bar {css}")
            drawing.mark(x, at, number, f"{one} at {level}: {spelt(rate)} %, n = {rate.n}")
        if points:
            ends.append((bottom - points[-1][1].share * (bottom - top), number, points[-1][1]))
    _end_labels(drawing, ends, right + 18)
    drawing.text((left + right) / 2, bottom + 36, axis, "soft small mid")
    drawing.height = bottom + 46


def _end_labels(drawing: Drawing, ends: list[tuple[float, int, Rate]], x: float) -> None:
    """Write the last value of each line beside it, moved down as far as the one above needs."""
    last = float("-inf")
    for y, number, rate in sorted(ends, key=lambda end: end[0]):
        last = max(y, last + 15)
        drawing.mark(x, last, number, size=3.5)
        drawing.text(x + 9, last + 4, f"{percent(rate.share)} %", "small num")
