"""What a check of stored files finds, as records; and which of it a repair has found to be lost for good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

DAMAGED, INCOMPLETE, UNTIDY, NOTE = "damaged", "incomplete", "untidy", "note"
SEVERITIES = (DAMAGED, INCOMPLETE, UNTIDY, NOTE)
"""From what must be mended, over what the next merge or run completes and what only looks wrong, to what is good to know."""

ASIDE = "damaged"
"""The folder, in a store or a logs directory, to which a repair moves what is damaged."""
LOST = "lost.jsonl"

REPAIR = "run verify with --repair"
MERGE = "run merge, or any run into this store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be: where, what, and what can be done about it."""

    severity: str
    path: str
    what: str
    todo: str

    def to_json(self) -> dict[str, str]:
        """Return the fields as a dict."""
        return asdict(self)


def told_as_lost(store: Path) -> dict[tuple[str, str], str]:
    """Return (path, what) → the name of the repair that could not mend it, of all repairs of a store."""
    told: dict[tuple[str, str], str] = {}
    for path in sorted((store / ASIDE).glob(f"*/{LOST}")):
        for line in path.read_bytes().splitlines():
            try:
                known = orjson.loads(line)
                told[known["path"], known["what"]] = path.parent.name
            except (ValueError, TypeError, KeyError):
                continue  # a torn last line: what it said is told as damage again
    return told


def without_told(findings: Iterable[Finding], told: dict[tuple[str, str], str]) -> Iterator[Finding]:
    """Yield findings; damage that a repair has already given up is no longer news."""
    for one in findings:
        repair = told.get((one.path, one.what)) if one.severity == DAMAGED else None
        if repair is None:
            yield one
        else:
            todo = f"nothing: the repair of {repair} could not mend it"
            yield replace(one, severity=INCOMPLETE, todo=todo)
