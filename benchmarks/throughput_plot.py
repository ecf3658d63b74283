"""Draws what a sample costs each program, and how many a second it gets through. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

OURS = "this runner"


class Cost(Protocol):
    """The figures of a program that are drawn."""

    samples_per_s: float
    cpu_us: float


def save_plot(found: Mapping[str, Cost], title: str, path: Path) -> None:
    """Save the picture of all programs, the leanest first; both scales are logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "throughput"  # the same picture each time
    from matplotlib import pyplot

    names = sorted(found, key=lambda name: -found[name].cpu_us)
    colours = ["tab:blue" if OURS in name else "silver" for name in names]
    figure, places = pyplot.subplots(1, 2, sharey=True, figsize=(9, 0.4 * len(names) + 1.2), layout="constrained")
    for place, what, values in (
        (places[0], "client CPU µs a sample", [found[name].cpu_us for name in names]),
        (places[1], "samples a second", [found[name].samples_per_s for name in names]),
    ):
        bars = place.barh([name.strip("*") for name in names], values, color=colours)
        place.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=3, fontsize=8)
        place.set(xscale="log", xlabel=what, xlim=(min(values) / 2, max(values) * 4))
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, metadata={"Date": None})
