"""The plot of what happened over time: throughput, repeated attempts, limits and latency.

429s are in no row, only how many attempts a request took; where a log tells of limits, each cut is marked.
"""

from __future__ import annotations

from collections.abc import Sequence

from telemetry.report.facts import Facts
from telemetry.report.figures import Figure
from telemetry.report.limits import LimitChange
from telemetry.report.panels import Curve, Panel, Point, draw_panels
from telemetry.report.timeline import Sitting, Slot
from telemetry.wording import latency, per_second

_MOST_LIMITS = 6


def course_figure(facts: Facts, changes: Sequence[LimitChange]) -> Figure | None:
    """Return the plot, or None if no row has its times."""
    sittings = facts.timeline.sittings()
    if not sittings:
        return None
    repeated = any(slot.repeats for one in sittings for slot in one.slots)
    panels = [_throughput(sittings)]
    if repeated:
        panels.append(_repeats(sittings))
    if changes:
        panels.append(_limits(changes))
    panels.append(_latency(sittings))
    return Figure(
        name="over-time",
        title="What happened when",
        caption=_caption(facts.timeline.slot_s, len(sittings), repeated=repeated, limits=bool(changes)),
        draw=lambda drawing: draw_panels(drawing, sittings, panels),
    )


def _caption(slot_s: float, sittings: int, *, repeated: bool, limits: bool) -> str:
    told = [f"Each point stands for {slot_s:g} s; a trial's requests are spread evenly over its duration."]
    if sittings > 1:
        told.append(f"Idle time between {sittings} stretches of work is cut out.")
    if repeated:
        told.append("Repeated attempts are those beyond one per request: 429s and whatever else was tried again.")
    else:
        told.append("No attempt had to be repeated, so none met a 429.")
    if limits:
        told.append("Marks on the axis of the limit: cuts, mostly after 429s.")
    else:
        told.append("Limits are not shown: the run directories with the shards' logs were not there.")
    told.append("Latency per request is a trial's waits and exchanges over its requests.")
    return " ".join(told)


def _throughput(sittings: Sequence[Sitting]) -> Panel:
    requests = _per_second(sittings, "requests")
    ended = _per_second(sittings, "ended")
    return Panel(
        title="Throughput, per second",
        curves=[
            Curve(name="requests", points=requests, series=0, area=True),
            Curve(name="trials ended", points=ended, series=1),
        ],
        spell=per_second,
    )


def _repeats(sittings: Sequence[Sitting]) -> Panel:
    points = _per_second(sittings, "repeats")
    return Panel(
        title="Repeated attempts, per second",
        curves=[Curve(name="repeats", points=points, series=1, area=True)],
        spell=per_second,
    )


def _per_second(sittings: Sequence[Sitting], name: str) -> list[Point]:
    return [(at, getattr(slot, name) / one.slot_s) for one in sittings for at, slot in _middles(one)]


def _middles(one: Sitting) -> list[tuple[float, Slot]]:
    return [(one.start + (number + 0.5) * one.slot_s, slot) for number, slot in enumerate(one.slots)]


def _latency(sittings: Sequence[Sitting]) -> Panel:
    def points(q: float) -> list[Point]:
        return [(at, slot.latency.percentile(q)) for one in sittings for at, slot in _middles(one) if len(slot.latency)]

    return Panel(
        title="Latency per request, waits included",
        curves=[
            Curve(name="median", points=points(50), series=0),
            Curve(name="95th percentile", points=points(95), series=1),
        ],
        spell=lambda ms: latency(ms) if ms else "0",
    )


def _limits(changes: Sequence[LimitChange]) -> Panel:
    by: dict[str, list[Point]] = {}
    for one in sorted(changes, key=lambda change: change.at):
        by.setdefault(one.deployment, []).append((one.at, one.rate))
    if len(by) > _MOST_LIMITS:
        by = {f"all {len(by)} deployments together": _total(changes)}
    curves = [Curve(name=name, points=points, series=n, step=True) for n, (name, points) in enumerate(by.items())]
    marks = [(one.at, f"{one.deployment}: {one.reason}") for one in changes if one.cut]
    return Panel(title="Rate limit, requests per second", curves=curves, spell=per_second, marks=marks)


def _total(changes: Sequence[LimitChange]) -> list[Point]:
    rates: dict[str, float] = {}
    points = []
    for one in sorted(changes, key=lambda change: change.at):
        rates[one.deployment] = one.rate
        points.append((one.at, sum(rates.values())))
    return points
