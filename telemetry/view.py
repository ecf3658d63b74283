"""Draws a run at one moment as lines: a row per shard, totals, what adds up to what, and what to press.

Pure: a view and a size in, lines out. Beside bold and dim only those basic colours are used that dark and light
terminals both show well (no yellow, no white); no meaning is carried by colour alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from telemetry.columns import Line, Part, cells, clip, shorten, styled, text_of, wrap
from telemetry.shard_table import (
    ASCII,
    BREADTH,
    DRAINING,
    RUNNING,
    STARTING,
    TROUBLE,
    WAITING,
    Glyphs,
    bar,
    shard_table,
    style_of,
)
from telemetry.wording import as_ascii, clean, dollars, duration, per_second
from trials.progress import RunView, ShardView

if TYPE_CHECKING:
    from rich.console import RenderableType

HINTS = (
    "Ctrl-C once: take in what is in flight, then stop; twice: stop at once; the same command goes on",
    "Ctrl-C once: end what is in flight, then stop; twice: stop at once",
    "Ctrl-C once: drain, twice: stop",
)
DRAINING_HINTS = (
    "draining: what is in flight is taken in, the rest is left for the next start; Ctrl-C stops at once",
    "draining: what is in flight is taken in; Ctrl-C stops at once",
    "draining; Ctrl-C stops at once",
)
WATCHING_HINTS = ("q or Ctrl-C leaves; the run goes on", "q or Ctrl-C leaves")
"""What to press, in more words or fewer: the first that fits is said."""

_LIVELY = (WAITING, STARTING, RUNNING, DRAINING)
_MOST_MESSAGE = 8


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
    hints: Sequence[str] | None = None,
) -> list[Line]:
    """Return the lines of a run's picture, none wider than ``width`` nor more than ``height``.

    ``reason`` says why the run was last slowed down, where the view does not. ``hints`` say what to press while the run
    goes on, in more words or fewer; None stands for what stops it.
    """
    glyphs = Glyphs() if unicode else ASCII
    told = [*_spent(view, width, glyphs), *_told(view, width, view.slowdown or reason)]
    if hints is None:
        hints = DRAINING_HINTS if view.state == DRAINING else HINTS
    if hints and view.state in _LIVELY:
        told.append(((next((hint for hint in hints if cells(hint) <= width), hints[-1]), "dim"),))
    room = None if height is None else max(0, height - len(told) - 6)
    shown, hidden = _chosen(view.shards, room)
    table = shard_table(view, shown, width, glyphs)
    if hidden:
        table.insert(1 + len(shown), ((f"{glyphs.ellipsis} {_states(hidden)}", "dim"),))
    # All is as wide as the table, so that the eye need not travel over an empty half of a wide terminal.
    breadth = min(width, max(BREADTH, *(cells(text_of(line)) for line in table)))
    rule: Line = ((glyphs.rule * breadth, "dim"),)
    picture = [_title(view, breadth, glyphs), table[0], rule, *table[1:], rule]
    lines = [*picture, _total_bar(view, breadth, glyphs), *told]
    if not unicode:
        lines = [tuple((as_ascii(text), style) for text, style in line) for line in lines]
    if height is not None and len(lines) > height:
        # The totals at the end matter most.
        lines = lines[len(lines) - max(height, 1) :]
    return [clip(line, width) for line in lines]


def equation(view: RunView) -> str:
    """Spell out that every planned trial is accounted for."""
    return (
        f"{view.planned} planned = {view.scored} scored + {view.provider_errors} provider_error"
        f" + {view.harness_errors} harness_error + {view.pending} pending"
    )


def ended(view: RunView) -> int:
    """Return how many planned trials have ended, whatever their status."""
    return view.scored + view.provider_errors + view.harness_errors


def _title(view: RunView, width: int, glyphs: Glyphs) -> Line:
    models = list(dict.fromkeys(clean(shard.model) for shard in view.shards))
    named: list[Part] = [(clean(view.state), style_of(view.state))]
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


def cost(view: RunView) -> str:
    """Say what the run has cost so far, and may; empty where no price is known."""
    if view.cost_usd is None:
        return ""
    least = "at least " if any(shard.cost_usd is None for shard in view.shards) else ""
    bound = f" of {dollars(view.max_cost_usd)}" if view.max_cost_usd is not None else ""
    return f"cost {least}{dollars(view.cost_usd)}{bound}"


def hits(view: RunView) -> str:
    """Say how many requests the cache has answered; empty if none."""
    return f"{view.cache_hits:,} cache hits" if view.cache_hits else ""


def deadline(view: RunView) -> str:
    """Say when nothing more will begin; empty where there is no such time, or it has come."""
    return f"deadline in {duration(view.deadline_s)}" if view.deadline_s else ""


def _spent(view: RunView, width: int, glyphs: Glyphs) -> list[Line]:
    words = [part for part in (cost(view), deadline(view), hits(view)) if part]
    return wrap(glyphs.dot.join(words), width) if words else []


def _told(view: RunView, width: int, reason: str) -> list[Line]:
    lines = wrap(equation(view), width)
    if reason:
        lines += wrap(reason, width, "magenta", indent=2, most=2)
    if view.message:
        lines += wrap(clean(view.message), width, "bold", indent=2, most=_MOST_MESSAGE)
    troubled = [shard for shard in view.shards if shard.progress.message]
    for shard in troubled[:3]:
        text = f"shard {shard.number} {clean(shard.deployment)}: {clean(shard.progress.message)}"
        lines += wrap(text, width, "magenta", indent=2, most=2)
    return lines


def _total_bar(view: RunView, width: int, glyphs: Glyphs) -> Line:
    done = ended(view) / view.planned if view.planned else 1.0
    figures = f"  {ended(view)}/{view.planned}  {int(100 * done)} %"
    if view.state in _LIVELY:
        # Trials, not requests: what the cache answers is no request, and no standstill either.
        pace = f"  {per_second(view.trials_per_s)} trials/s"
        figures += f"{pace if width >= BREADTH else ''}  eta {duration(view.eta_s)}"
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
    if shard.progress.message or state in TROUBLE:
        return 0, shard.number
    return (3 if state == "done" else 2 if state == WAITING else 1), shard.number


def _states(hidden: Sequence[ShardView]) -> str:
    states = Counter(clean(shard.progress.state) for shard in hidden)
    return f"{len(hidden)} more: " + ", ".join(f"{count} {state}" for state, count in states.most_common())
