"""Remembers when and why a rate limit was last lowered: the first thing one wants to know of a slow run."""

from __future__ import annotations

from collections.abc import Iterable

from telemetry.wording import clean, duration
from trials.progress import ShardView

_NO_SLOWDOWNS = ("raised", "start value", "fixed")


def slowdown_of(shard: ShardView) -> str:
    """Say in words why a shard was slowed down, if that is how its limit last changed; else an empty string."""
    reason = clean(shard.progress.limit_reason)
    if not reason or reason.removeprefix("tokens ").startswith(_NO_SLOWDOWNS):
        return ""
    return f"{clean(shard.deployment)} {reason}"


class Slowdowns:
    """The last slowdown of any shard: ``reason`` says which and why. Not thread-safe."""

    def __init__(self) -> None:
        self.reason = ""
        self._at_s = 0.0
        self._known: dict[int, str] = {}

    def latest(self, shards: Iterable[ShardView], elapsed_s: float) -> str:
        """Take note of what is new, and return the last one with how long ago it was; empty if there was none."""
        for shard in shards:
            reason = slowdown_of(shard)
            if reason and reason != self._known.get(shard.number):
                self.reason, self._at_s = reason, elapsed_s
            self._known[shard.number] = reason
        return f"slowed down {duration(max(0.0, elapsed_s - self._at_s))} ago: {self.reason}" if self.reason else ""
