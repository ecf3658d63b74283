"""Remembers the last time a rate limit was lowered, and why: the first thing one wants to know of a slow run."""

from __future__ import annotations

from collections.abc import Iterable

from telemetry.wording import clean, duration
from trials.progress import ShardView

_NO_SLOWDOWNS = ("raised", "start value", "fixed")


def slowdown_of(shard: ShardView) -> str:
    """Say in words why a shard was slowed down, if that is how its limit last changed; else an empty string."""
    reason = clean(shard.progress.limit_reason)
    words = reason.removeprefix("tokens ")
    if not words or words.startswith(_NO_SLOWDOWNS):
        return ""
    return f"{clean(shard.deployment)} {reason}"


class Slowdowns:
    """The last slowdown of any shard. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}
        self._latest = ""
        self._at_s = 0.0

    def latest(self, shards: Iterable[ShardView], elapsed_s: float) -> str:
        """Return what is to be said of it, with how long ago it was; an empty string if there was none."""
        for shard in shards:
            reason = slowdown_of(shard)
            if reason and reason != self._known.get(shard.number):
                self._latest, self._at_s = reason, elapsed_s
            self._known[shard.number] = reason
        if not self._latest:
            return ""
        return f"slowed down {duration(max(0.0, elapsed_s - self._at_s))} ago: {self._latest}"
