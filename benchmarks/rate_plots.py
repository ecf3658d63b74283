"""Draws how a limit is found and kept: limit, rate and 429s over time. Needs matplotlib (pip install matplotlib)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rate_simulation import Scenario, Seen

SHOWN = (
    "limit 20 → 6 → 30 rps",
    "bogus Retry-After 60 s",
    "400 rps, short run",
    "fixed minute, begun half",
    "key dead for 60 s",
    "drift ± 40 % in 600 s",
)


def save_plots(scenarios: Sequence[Scenario], play: Callable[[Scenario, str, int], Seen], directory: Path) -> None:
    """Save one picture of some scenarios under this controller, and one of a step under all of them."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "rates"  # the same picture each time
    from matplotlib import pyplot

    by_name = {scenario.name: scenario for scenario in scenarios}
    chosen = [by_name[name] for name in SHOWN if name in by_name]
    figure, places = pyplot.subplots(len(chosen), 1, figsize=(9, 2.4 * len(chosen)), layout="constrained")
    for scenario, place in zip(chosen, places, strict=True):
        _draw(place, scenario, play(scenario, "this one", 1), scenario.name)
    figure.savefig(directory / "rate-control.svg", metadata={"Date": None})
    step = by_name[SHOWN[0]]
    rivals = ("backoff, 64 workers", "AIMD on connections", "AWS adaptive", "this one")
    figure, places = pyplot.subplots(len(rivals), 1, figsize=(9, 2.4 * len(rivals)), layout="constrained")
    for rival, place in zip(rivals, places, strict=True):
        _draw(place, step, play(step, rival, 1), rival)
    figure.savefig(directory / "rate-control-others.svg", metadata={"Date": None})


def _draw(place: Any, scenario: Scenario, seen: Seen, title: str) -> None:
    server = scenario.server()
    seconds = range(int(scenario.seconds))
    admitted, refused = Counter[int](), Counter[int]()
    for time, ok in zip(seen.times, seen.admitted, strict=True):
        (admitted if ok else refused)[int(time)] += 1
    most = 2.2 * max(server.usable(second) for second in seconds)
    place.plot(seconds, [server.usable(second) for second in seconds], color="black", lw=1, label="hidden limit")
    place.plot(*zip(*seen.limits, strict=True), color="tab:blue", lw=0.8, label="limit in use")
    place.plot(seconds, [admitted[second] for second in seconds], color="tab:green", lw=0.8, label="admitted a second")
    bad = [second for second in seconds if refused[second]]
    place.vlines(bad, 0, [min(refused[second], most) for second in bad], color="tab:red", lw=1.2, label="429s a second")
    place.set(title=title, ylim=(0, most), xlim=(0, scenario.seconds), ylabel="1/s")
    place.title.set_fontsize(9)
    place.legend(loc="upper right", fontsize=6, ncols=4)
