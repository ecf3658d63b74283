"""Reads the changes of a rate limit off the lines of a shard's log, where each stands with its moment and reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

_CHANGE = re.compile(r"^(\S+) INFO +\S+ \S+ limit ([0-9.]+)/s: (.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """From ``at`` (Unix seconds) on a deployment may be asked ``rate`` times a second. ``cut`` if it was lowered."""

    deployment: str
    at: float
    rate: float
    reason: str

    @property
    def cut(self) -> bool:
        """Whether the limit was lowered, which 429s and overload do."""
        return self.reason.startswith("cut ")


def limit_changes(deployment: str, lines: Iterable[str]) -> Iterator[LimitChange]:
    """Yield the changes that log lines tell of; all other lines are passed over."""
    for line in lines:
        found = _CHANGE.match(line) if " limit " in line else None
        if found is None:
            continue
        try:
            at, rate = datetime.fromisoformat(found[1]).timestamp(), float(found[2])
        except ValueError:
            continue
        yield LimitChange(deployment=deployment, at=at, rate=rate, reason=found[3].strip())
