"""The rows of a run's picture: one per shard and their total, in as many columns as fit.

Pure: shards and a width in, lines out. No meaning is carried by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.columns import Column, Line, Part, lay_out
from telemetry.wording import clean, dollars, duration, latency, memory, per_second
from trials.progress import RunView, ShardView

WAITING, STARTING, RUNNING, DRAINING = "waiting", "starting", "running", "draining"
SILENT = "silent"
TROUBLE = ("failed", "died", "crashed", SILENT)
BREADTH = 79
_STATE_STYLES = {RUNNING: "green", WAITING: "dim", STARTING: "dim", DRAINING: "magenta", "done": "bold green"}
_ROOMY = 100  # columns from which on cells stand two apart
_BAR_CELLS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The signs beyond letters and digits."""

    full: str = "━"
    half: str = "╾"
    rest: str = "─"
    rule: str = "─"
    dot: str = " · "
    ellipsis: str = "…"


ASCII = Glyphs(full="#", half="", rest=".", rule="-", dot=" | ", ellipsis="..")


def bar(done: float, width: int, glyphs: Glyphs, style: str = "green") -> Line:
    """Return a progress bar whose parts differ in shape, not only in colour."""
    halves = round(2 * width * min(max(done, 0.0), 1.0))
    if done < 1 and halves == 2 * width:
        halves -= 1  # a bar is full when all is done, not before
    whole, half = divmod(halves, 2)
    filled = glyphs.full * whole + (glyphs.half if half else "")
    return (filled, style), (glyphs.rest * (width - len(filled)), "dim")


def requests_per_s(view: RunView) -> float:
    """Return the requests per second of all shards together."""
    return sum(shard.progress.requests_per_s for shard in view.shards)


def shard_table(view: RunView, shown: Sequence[ShardView], width: int, glyphs: Glyphs) -> list[Line]:
    """Return a heading line, a line for each of the shards ``shown`` and, of several, their total."""
    columns = _columns(view.shards, width)
    rows = [_row(shard, glyphs) for shard in shown]
    if len(view.shards) > 1:
        rows.append(_total_row(view))
    optional = (  # columns that are only there when there is something to tell
        ("harness", any(shard.progress.harness_errors for shard in view.shards)),
        ("restarts", any(shard.restarts for shard in view.shards)),
        ("cost", any(shard.cost_usd is not None for shard in view.shards)),
    )
    absent = {title for title, needed in optional if not needed}
    kept = [place for place, column in enumerate(columns) if column.title not in absent]
    return lay_out(
        [columns[place] for place in kept],
        [[row[place] for place in kept] for row in rows],
        width,
        gap=2 if width >= _ROOMY else 1,
        ellipsis=glyphs.ellipsis,
        header_style="dim",
    )


def _columns(shards: Sequence[ShardView], width: int) -> list[Column]:
    models, deployments = {shard.model for shard in shards}, {shard.deployment for shard in shards}
    needed = len(models) > 1 and len(deployments) < len(shards)
    return [
        Column(title="#", min_width=2),
        Column(title="model", left=True, rank=3 if needed else 13, shrink_to=12),
        Column(title="deployment", left=True, shrink_to=18 if width >= BREADTH else 10),
        Column(title="state", left=True, rank=2, min_width=8),
        Column(title="", left=True, rank=11),
        Column(title="done", min_width=7),
        Column(title="full", rank=3, min_width=4),
        Column(title="part", rank=3, min_width=4),
        Column(title="fail", rank=3, min_width=4),
        Column(title="prov.err", rank=4),
        Column(title="harness", rank=4),
        Column(title="restarts", rank=5),
        Column(title="req/s", rank=5, min_width=5),
        Column(title="limit", rank=8, min_width=5),
        Column(title="429s", rank=6, min_width=4),
        Column(title="p50", rank=9, min_width=6),
        Column(title="p99", rank=7, min_width=6),
        Column(title="workers", rank=10, min_width=7),
        Column(title="memory", rank=12, min_width=6),
        Column(title="cost", rank=9, min_width=7),
        Column(title="eta", rank=1, min_width=6),
    ]


def _row(shard: ShardView, glyphs: Glyphs) -> list[Part]:
    now = shard.progress
    done = shard.earlier + now.done
    short_bar = bar(done / shard.total if shard.total else 1.0, _BAR_CELLS, glyphs)
    return [
        (str(shard.number), "dim"),
        (clean(shard.model), ""),
        (clean(shard.deployment), "bold"),
        (clean(now.state), style_of(now.state)),
        ("".join(text for text, _ in short_bar), "green"),
        (f"{done}/{shard.total}", ""),
        *_outcomes(now.full, now.partial, now.failed),
        _counted(now.provider_errors, "red"),
        _counted(now.harness_errors, "red"),
        _counted(shard.restarts, "magenta"),
        (per_second(now.requests_per_s), ""),
        (per_second(now.qps_limit) if now.qps_limit > 0 else "-", ""),
        _refused(now.rejected_429, now.requests),
        (latency(now.latency_p50_ms), ""),
        (latency(now.latency_p99_ms), ""),
        (f"{now.in_flight}/{now.workers}", ""),
        (memory(shard.rss_bytes), ""),
        (dollars(shard.cost_usd), ""),
        (duration(shard.eta_s), ""),
    ]


def _total_row(view: RunView) -> list[Part]:
    shards = view.shards
    every = [shard.progress for shard in shards]
    parts: list[Part] = [
        ("", ""),
        ("", ""),
        ("total", ""),
        ("", ""),
        ("", ""),
        (
            f"{sum(one.earlier for one in shards) + sum(now.done for now in every)}/{sum(one.total for one in shards)}",
            "",
        ),
        *_outcomes(
            sum(now.full for now in every),
            sum(now.partial for now in every),
            sum(now.failed for now in every),
        ),
        _counted(sum(now.provider_errors for now in every), "red"),
        _counted(sum(now.harness_errors for now in every), "red"),
        _counted(sum(shard.restarts for shard in shards), "magenta"),
        (per_second(requests_per_s(view)), ""),
        ("", ""),
        _refused(sum(now.rejected_429 for now in every), sum(now.requests for now in every)),
        ("", ""),
        ("", ""),
        (f"{sum(now.in_flight for now in every)}/{sum(now.workers for now in every)}", ""),
        (memory(sum(shard.rss_bytes for shard in shards)), ""),
        (dollars(view.cost_usd), ""),
        (duration(view.eta_s), ""),
    ]
    return [(text, f"bold {style}".strip()) for text, style in parts]


def _outcomes(full: int, partial: int, failed: int) -> tuple[Part, Part, Part]:
    return _counted(full, "green"), _counted(partial, ""), _counted(failed, "")


def _counted(count: int, style: str) -> Part:
    return (str(count), style) if count else ("0", "dim")


def _refused(count: int, requests: int) -> Part:
    """Return how many requests were answered 429, and their share."""
    return (f"{count} {100 * count / max(requests, count):.1f}%", "magenta") if count else ("0", "dim")


def style_of(state: str) -> str:
    """Return the style that a state is shown in."""
    return "bold red" if state in TROUBLE else _STATE_STYLES.get(state, "")
