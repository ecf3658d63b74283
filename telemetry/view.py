"""Draws a run at one moment as lines: a row per shard, totals, what adds up to what, and what to press.

Pure: a view and a size in, lines out. Beside bold and dim only those basic colours are used that dark and light
terminals both show well (no yellow, no white); no meaning is carried by colour alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.columns import Column, Line, Part, cells, clip, lay_out, shorten, styled, text_of, wrap
from telemetry.wording import as_ascii, clean, duration, latency, memory, per_second
from trials.progress import RunView, ShardView

if TYPE_CHECKING:
    from rich.console import RenderableType

WAITING, STARTING, RUNNING, DRAINING = "waiting", "starting", "running", "draining"
HINT = "Ctrl-C drains, twice stops"
DRAINING_HINT = "draining: trials in hand are finished; Ctrl-C stops at once"

_LIVELY = (WAITING, STARTING, RUNNING, DRAINING)
_STATE_STYLES = {RUNNING: "green", WAITING: "dim", STARTING: "dim", DRAINING: "magenta", "done": "bold green"}
_TROUBLE = ("failed", "died", "crashed")
_ROOMY = 100  # columns from which on cells stand two apart
_BREADTH = 79
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


def render_view(
    view: RunView, width: int, *, height: int | None = None, unicode: bool = True, reason: str = ""
) -> RenderableType:
    """Return the live table for a rich console; see ``view_lines``."""
    from rich.console import Group

    lines = view_lines(view, width, height=height, unicode=unicode, reason=reason)
    return Group(*(styled(line) for line in lines))


def view_lines(
    view: RunView,
    width: int,
    *,
    height: int | None = None,
    unicode: bool = True,
    reason: str = "",
    hint: bool = True,
) -> list[Line]:
    """Return the lines of a run's picture, none wider than ``width`` nor more than ``height``.

    ``reason`` says why a limit changed last; without it, the first shard that tells a reason is quoted. ``hint`` says
    what to press, while there is something to stop.
    """
    glyphs = Glyphs() if unicode else ASCII
    told = _told(view, width, reason or first_reason(view.shards))
    if hint and view.state in _LIVELY:
        told.append(((DRAINING_HINT if view.state == DRAINING else HINT, "dim"),))
    room = None if height is None else max(0, height - len(told) - 6)
    shown, hidden = _chosen(view.shards, room)
    table = _table(view, shown, width, glyphs)
    if hidden:
        table.insert(1 + len(shown), ((f"{glyphs.ellipsis} {_states(hidden)}", "dim"),))
    # All is as wide as the table, so that the eye need not travel over an empty half of a wide terminal.
    breadth = min(width, max(_BREADTH, *(cells(text_of(line)) for line in table)))
    rule: Line = ((glyphs.rule * breadth, "dim"),)
    picture = [_title(view, breadth, glyphs), table[0], rule, *table[1:], rule]
    lines = [*picture, _total_bar(view, breadth, glyphs), *told]
    if not unicode:
        lines = [tuple((as_ascii(text), style) for text, style in line) for line in lines]
    if height is not None and len(lines) > height:
        # The totals at the end matter most.
        lines = lines[len(lines) - max(height, 1) :]
    return [clip(line, width) for line in lines]


def limit_reason(shard: ShardView) -> str:
    """Say in words why a shard's limit last changed; empty when it never did."""
    reason = clean(shard.progress.limit_reason)
    return f"limit of {clean(shard.deployment)}: {reason}" if reason else ""


def first_reason(shards: Iterable[ShardView]) -> str:
    """Return the reason of the first shard that has one."""
    return next((reason for reason in map(limit_reason, shards) if reason), "")


def equation(view: RunView) -> str:
    """Spell out that every planned trial is accounted for."""
    return (
        f"{view.planned} planned = {view.scored} scored + {view.provider_errors} provider_error"
        f" + {view.harness_errors} harness_error + {view.pending} pending"
    )


def ended(view: RunView) -> int:
    """Return how many planned trials have ended, whatever their status."""
    return view.scored + view.provider_errors + view.harness_errors


def requests_per_s(view: RunView) -> float:
    """Return the requests per second of all shards together."""
    return sum(shard.progress.requests_per_s for shard in view.shards)


def bar(done: float, width: int, glyphs: Glyphs, style: str = "green") -> Line:
    """Return a progress bar whose parts differ in shape, not only in colour."""
    halves = round(2 * width * min(max(done, 0.0), 1.0))
    if done < 1 and halves == 2 * width:
        halves -= 1  # a bar is full when all is done, not before
    whole, half = divmod(halves, 2)
    filled = glyphs.full * whole + (glyphs.half if half else "")
    return (filled, style), (glyphs.rest * (width - len(filled)), "dim")


def _title(view: RunView, width: int, glyphs: Glyphs) -> Line:
    models = list(dict.fromkeys(clean(shard.model) for shard in view.shards))
    named: list[Part] = [(clean(view.state), _style_of(view.state))]
    if view.simulated:
        named.append(("SIMULATED", "bold magenta"))
    if len(models) == 1 and models[0] not in view.run_id:
        named.append((models[0], ""))
    right = f"elapsed {duration(view.elapsed_s)}"
    taken = sum(len(glyphs.dot) + cells(text) for text, _ in named) + len(right) + 2
    if width - taken < 12:
        taken -= len("elapsed ")
        right = right.removeprefix("elapsed ")
    left: list[Part] = [(shorten(clean(view.run_id), max(width - taken, 8), glyphs.ellipsis), "bold")]
    for part in named:
        left += [(glyphs.dot, "dim"), part]
    space = width - sum(cells(text) for text, _ in left) - len(right)
    return (*left, (" " * max(space, 2), ""), (right, ""))


def _told(view: RunView, width: int, reason: str) -> list[Line]:
    lines = wrap(equation(view), width)
    if reason:
        lines += wrap(reason, width, "magenta", indent=2, most=2)
    if view.message:
        lines += wrap(clean(view.message), width, "bold", indent=2)
    troubled = [shard for shard in view.shards if shard.progress.message]
    for shard in troubled[:3]:
        text = f"shard {shard.number} {clean(shard.deployment)}: {clean(shard.progress.message)}"
        lines += wrap(text, width, "magenta", indent=2, most=2)
    return lines


def _total_bar(view: RunView, width: int, glyphs: Glyphs) -> Line:
    done = ended(view) / view.planned if view.planned else 1.0
    figures = f"  {ended(view)}/{view.planned}  {int(100 * done)} %"
    if view.state in _LIVELY:
        figures += f"  eta {duration(view.eta_s)}"
    return (*bar(done, max(width - len(figures), 4), glyphs), (figures, "bold"))


def _chosen(shards: Sequence[ShardView], room: int | None) -> tuple[list[ShardView], list[ShardView]]:
    """Split the shards into those with a row and those that only count, the telling ones first."""
    if room is None or len(shards) <= room:
        return list(shards), []
    ranked = sorted(shards, key=_telling)
    shown = {shard.number for shard in ranked[: max(0, room - 1)]}
    return [one for one in shards if one.number in shown], [one for one in shards if one.number not in shown]


def _telling(shard: ShardView) -> tuple[int, int]:
    state = shard.progress.state
    if shard.progress.message or state in _TROUBLE:
        return 0, shard.number
    return (3 if state == "done" else 2 if state == WAITING else 1), shard.number


def _states(hidden: Sequence[ShardView]) -> str:
    states = Counter(clean(shard.progress.state) for shard in hidden)
    return f"{len(hidden)} more: " + ", ".join(f"{count} {state}" for state, count in states.most_common())


def _table(view: RunView, shown: Sequence[ShardView], width: int, glyphs: Glyphs) -> list[Line]:
    columns = _columns(view.shards, width)
    rows = [_row(shard, glyphs) for shard in shown]
    if len(view.shards) > 1:
        rows.append(_total_row(view))
    optional = (  # columns that are only there when there is something to tell
        ("harness", any(shard.progress.harness_errors for shard in view.shards)),
        ("restarts", any(shard.restarts for shard in view.shards)),
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
        Column(title="deployment", left=True, shrink_to=18 if width >= _BREADTH else 10),
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
        (clean(now.state), _style_of(now.state)),
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


def _style_of(state: str) -> str:
    return "bold red" if state in _TROUBLE else _STATE_STYLES.get(state, "")
