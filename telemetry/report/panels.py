"""Draws what happened over time, panels one below the other on one axis of time from which idle time is cut out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor, log10

from telemetry.report.svg import SERIES, Drawing
from telemetry.report.timeline import Sitting

_HEIGHT_PX = 92.0
_LEFT_PX = 46.0
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)

Point = tuple[float, float]
"""A moment (Unix seconds) and a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a panel. ``step`` holds each value until the next point, beyond breaks too; ``area`` fills it."""

    name: str
    points: Sequence[Point]
    series: int
    step: bool = False
    area: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Curves that share a scale from 0 up. ``spell`` writes its values, ``marks`` are moments to be pointed out."""

    title: str
    curves: Sequence[Curve]
    spell: Callable[[float], str]
    marks: Sequence[tuple[float, str]] = ()


class TimeAxis:
    """Where a moment stands: stretches of work side by side, in proportion to their length."""

    def __init__(self, sittings: Sequence[Sitting], left: float, right: float) -> None:
        self.sittings = sittings
        self._starts = [one.start for one in sittings]
        gap = min(16.0, 0.3 * (right - left) / max(1, len(sittings)))
        worked_s = sum(one.end - one.start for one in sittings)
        self._per_s = (right - left - gap * (len(sittings) - 1)) / worked_s
        self._lefts, x = [], left
        for one in sittings:
            self._lefts.append(x)
            x += (one.end - one.start) * self._per_s + gap

    def place(self, moment: float) -> float:
        """Return the position of a moment; one that lies in a break stands at the end of the stretch before it."""
        number = max(0, bisect_right(self._starts, moment) - 1)
        one = self.sittings[number]
        return self._lefts[number] + (min(max(moment, one.start), one.end) - one.start) * self._per_s

    def spans(self) -> Iterable[tuple[float, float]]:
        """Return where each stretch begins and ends."""
        return ((self.place(one.start), self.place(one.end)) for one in self.sittings)


def draw_panels(drawing: Drawing, sittings: Sequence[Sitting], panels: Sequence[Panel]) -> None:
    """Draw the panels, and the time of day below them."""
    axis = TimeAxis(sittings, _LEFT_PX, drawing.width - 10)
    y = 0.0
    for panel in panels:
        y = _panel(drawing, axis, panel, y)
    drawing.height = _times(drawing, axis, y)


def _panel(drawing: Drawing, axis: TimeAxis, panel: Panel, y: float) -> float:
    drawing.text(0, y + 14, panel.title, "strong")
    y += 22
    if len(panel.curves) > 1:
        y = drawing.key([one.name for one in panel.curves], y) - 2
    top, bottom = y + 6, y + 6 + _HEIGHT_PX
    highest = _above(max((value for one in panel.curves for _, value in one.points), default=0.0))
    for left, right in axis.spans():
        drawing.rect(left, top, right - left, bottom - top, "band")
    for share in (0.0, 0.5, 1.0):
        level = bottom - share * (bottom - top)
        drawing.line(_LEFT_PX, level, drawing.width - 10, level, "axis" if share == 0 else "grid")
        drawing.text(_LEFT_PX - 6, level + 4, panel.spell(share * highest), "soft small end")
    for curve in panel.curves:
        _curve(drawing, axis, curve, lambda value: bottom - value / highest * (bottom - top), bottom)
    for moment, hint in panel.marks:
        x = axis.place(moment)
        drawing.rect(x - 0.75, bottom - 7, 1.5, 7, "s1", hint)
    return bottom + 16


def _curve(drawing: Drawing, axis: TimeAxis, curve: Curve, height: Callable[[float], float], bottom: float) -> None:
    css = f"s{curve.series % SERIES}"
    for points in _stretches(axis.sittings, curve):
        drawn: list[Point] = []
        for moment, value in points:
            x = axis.place(moment)
            if curve.step and drawn:
                drawn.append((x, drawn[-1][1]))
            drawn.append((x, height(value)))
        if curve.area:
            drawing.path([(drawn[0][0], bottom), *drawn, (drawn[-1][0], bottom)], f"area {css}", closed=True)
        if len(drawn) == 1:
            drawing.mark(*drawn[0], curve.series, size=2.5)
        drawing.path(drawn, f"line {css}")


def _stretches(sittings: Sequence[Sitting], curve: Curve) -> Iterable[list[Point]]:
    """Return the points of a curve by stretch; a step curve enters one with the value it left the last with."""
    held: float | None = None
    for one in sittings:
        within = [point for point in curve.points if one.start <= point[0] <= one.end]
        if curve.step:
            before = [value for moment, value in curve.points if moment < one.start]
            held = before[-1] if before else None
            if held is not None:
                within.insert(0, (one.start, held))
            if within:
                within.append((one.end, within[-1][1]))
        if within:
            yield within


def _times(drawing: Drawing, axis: TimeAxis, y: float) -> float:
    """Write clock times below the panels as far as there is room, the date where it changes; return where they end."""
    worked_s = sum(one.end - one.start for one in axis.sittings)
    most = max(2, int((drawing.width - _LEFT_PX) / 76))
    pace_s = next((one for one in _TICKS_S if worked_s / one <= most), 86400 * ceil(worked_s / most / 86400))
    free, day = float("-inf"), ""
    for one in axis.sittings:
        first = ceil(one.start / pace_s) * pace_s
        ticks = range(first, floor(one.end) + 1, pace_s)
        for moment in ticks if len(ticks) else [one.start]:
            x = axis.place(moment)
            if x < free or x > drawing.width - 30:
                continue
            told = datetime.fromtimestamp(moment).astimezone()
            drawing.line(x, y - 16, x, y - 11, "axis")
            drawing.text(x, y + 1, told.strftime("%H:%M:%S" if pace_s < 60 else "%H:%M"), "soft small mid")
            if (date := told.strftime("%Y-%m-%d")) != day:
                day = date
                drawing.text(max(x, 34), y + 16, date, "soft small mid")
            free = x + 66
    return y + 24


def _above(value: float) -> float:
    """Return a round number that is no less than a value."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** floor(log10(value))
    return next(step * unit for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value * 0.999)
