"""What a check of stored files finds, as records; and which of it a repair has found to be lost for good."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

DAMAGED, INCOMPLETE, UNTIDY, NOTE = "damaged", "incomplete", "untidy", "note"
SEVERITIES = (DAMAGED, INCOMPLETE, UNTIDY, NOTE)
"""What must be mended; what a merge or run completes, or nothing can; what only looks wrong; what is good to know."""

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


def lost_lines(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what repairs of a store noted as lost for good, each with the repair's name; torn lines are passed over."""
    for path in sorted((root / ASIDE).glob(f"*/{LOST}")):
        for line in path.read_bytes().splitlines():
            try:
                known = orjson.loads(line)
            except ValueError:
                continue
            if isinstance(known, dict):
                yield path.parent.name, known


def with_told(findings: Iterable[Finding], root: Path) -> Iterator[Finding]:
    """Yield findings; damage that a repair of ``root`` has given up is no longer news, and what it lost is added."""
    told = {(known.get("place"), known.get("what")): repair for repair, known in lost_lines(root) if "what" in known}
    always = {(known["place"], known["what"]) for _, known in lost_lines(root) if known.get("always")}
    for place, what in sorted(always):
        yield Finding(severity=INCOMPLETE, path=str(root / place), what=what, todo=_given_up(told[place, what]))
    for one in findings:
        repair = told.get((place_of(root, one.path), one.what)) if one.severity == DAMAGED else None
        yield one if repair is None else replace(one, severity=INCOMPLETE, todo=_given_up(repair))


def place_of(root: Path, path: str | Path) -> str:
    """Return where a file is, seen from a store: the same however the store is called, and when all are moved."""
    return os.path.relpath(Path(path).resolve(), root.resolve())


def _given_up(repair: str) -> str:
    return f"nothing: the repair of {repair} could not mend it"
