"""What single parts cannot tell: rows, conversations, history and summary of a store against each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from stores import ranking
from stores.findings import DAMAGED, INCOMPLETE, MERGE, REPAIR, UNTIDY, Finding
from stores.parts import CONVERSATIONS, ID, read_tables
from stores.results import ResultsStore
from stores.verify_parts import HISTORY, TRIALS, Contents
from stores.verify_places import Places
from trials.digest import digest
from trials.errors import StoreError
from trials.rows import Row

_TOLERANCE = 1e-9
"""Sums of the same numbers in another order differ by less."""
_NAMED = 3


def check_rows(store: ResultsStore, contents: Contents) -> Iterator[Finding]:
    """Yield what is wrong between the sound parts of a store."""
    trials, history = store.path / TRIALS, store.path / HISTORY
    rows = contents.rows()
    if count := rows.repeated():
        yield _cut_off(trials, f"{count:,} rows are there twice")
    if count := contents.places[CONVERSATIONS].repeated():
        yield _cut_off(store.path / CONVERSATIONS, f"{count:,} conversations are there twice", todo="nothing; no harm")
    if count := ranking.beaten(contents.sound[TRIALS]).num_rows - contents.places[TRIALS].repeated():
        yield _cut_off(trials, f"{count:,} rows stand beside a better one of their trial")
    if count := sum(table.num_rows for table in without_winner(contents)):
        what = f"{count:,} replaced rows have no row in trials/ that replaced them"
        yield Finding(severity=DAMAGED, path=str(history), what=what, todo=REPAIR)


def check_conversations(store: ResultsStore, contents: Contents, endings: Places) -> Iterator[Finding]:
    """Yield rows without their conversation, and conversations without their row.

    ``endings`` are those that journals hold. A merge puts conversations in place before rows: what is there of it
    behind the last row of its journal, is the trace of one that was cut off.
    """
    rows, conversations = contents.rows(), contents.places[CONVERSATIONS]
    for folder in (TRIALS, HISTORY):
        if missing := contents.places[folder].minus(conversations):
            keys = keys_of(contents.sound[folder], missing)
            what = f"{len(missing):,} rows have no conversation ({', '.join(keys)})"
            yield Finding(severity=DAMAGED, path=str(store.path / folder), what=what, todo=REPAIR)
    orphans = conversations.minus(rows)
    later = behind(orphans, rows)
    coming = later.minus(later.minus(endings))
    if coming:
        what = f"{len(coming):,} conversations have no row yet: a merge was cut off"
        yield Finding(severity=INCOMPLETE, path=str(store.path / CONVERSATIONS), what=what, todo=MERGE)
    if lost := orphans.minus(coming):
        keys = keys_of(contents.sound[CONVERSATIONS], lost)
        what = f"{len(lost):,} conversations have lost their row ({', '.join(keys)})"
        yield Finding(severity=DAMAGED, path=str(store.path / CONVERSATIONS), what=what, todo=REPAIR)


def check_summary(store: ResultsStore, contents: Contents) -> Iterator[Finding]:
    """Yield where ``summary.json`` is not what the rows give."""
    path = store.path / "summary.json"
    total = len(contents.rows()) - contents.rows().repeated()
    try:
        found = read_summary(path)
        known = sum(found["rows"].values()) if "digest" in found else None
    except FileNotFoundError:
        if total:
            yield Finding(severity=DAMAGED, path=str(path), what="is not there", todo=REPAIR)
        return
    except (OSError, ValueError) as problem:
        yield Finding(severity=DAMAGED, path=str(path), what=f"cannot be trusted: {problem}", todo=REPAIR)
        return
    if known is not None and known > total:
        what = f"tells of {known - total:,} rows more than there are"
        yield Finding(severity=DAMAGED, path=str(path), what=what, todo=REPAIR)
    elif contents.damaged:
        return  # what the rest gives is another figure, and that is told already
    elif "digest" not in found or known != total or not _figures_fit(store, found):
        yield from _stale(store, path, found, same_rows=known == total)


def read_summary(path: Path) -> dict[str, Any]:
    """Read a summary; one of an earlier version has no ``digest``. Raises ValueError for a damaged one, OSError."""
    found = orjson.loads(path.read_bytes())
    if not isinstance(found, dict) or "results" not in found:
        raise ValueError("it is no summary")
    if "digest" in found or "rows" in found:
        body = {name: value for name, value in found.items() if name != "digest"}
        if found.get("digest") != digest(body):
            raise ValueError("it is not what was written")
    return found


def _figures_fit(store: ResultsStore, found: dict[str, Any]) -> bool:
    try:
        return _alike(found.get("results"), orjson.loads(orjson.dumps(store.summary()))["results"])
    except StoreError:
        return False


def _stale(store: ResultsStore, path: Path, found: dict[str, Any], *, same_rows: bool) -> Iterator[Finding]:
    if "digest" not in found and _figures_fit(store, found):
        return  # of an earlier version
    severity = DAMAGED if same_rows or "digest" not in found else UNTIDY
    yield Finding(severity=severity, path=str(path), what="is not what the rows give", todo=REPAIR)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return type(one) is type(other) and bool(one == other)


def without_winner(contents: Contents) -> Iterator[pa.Table]:
    """Yield key and place of the rows of history/ whose key has no row in trials/."""
    for part in contents.sound[HISTORY]:
        for table in read_tables(part, ("trial_key", "status", *ID)):
            for rows in contents.sound[TRIALS]:
                for winners in read_tables(rows, ("trial_key",)):
                    known = pc.is_in(table["trial_key"], value_set=winners["trial_key"])
                    table = table.filter(pc.invert(known))
                    if not table.num_rows:
                        break
            if table.num_rows:
                yield table


def behind(places: Places, rows: Places) -> Places:
    """Return the places that come after the last row of their journal."""
    return _split(places, rows, after=True)


def before(places: Places, rows: Places) -> Places:
    """Return the places that do not."""
    return _split(places, rows, after=False)


def _split(places: Places, rows: Places, *, after: bool) -> Places:
    chosen = Places()
    for journal in places.journals():
        offsets = places.offsets(journal)
        last = pc.max(rows.offsets(journal)).as_py()
        later = pc.greater(offsets, -1 if last is None else last)
        if len(some := offsets.filter(later if after else pc.invert(later))):
            chosen.put(journal, some)
    return chosen


def keys_of(parts: list[Path], places: Places) -> list[str]:
    """Return the trial keys of the first few rows of parts that have such a place."""
    keys = [str(row["trial_key"]) for row in islice(keyed(parts, places), _NAMED)]
    return [*keys, "…"] if len(places) > _NAMED else keys


def keyed(parts: list[Path], places: Places) -> Iterator[Row]:
    """Yield key and place of the rows of parts that have such a place."""
    for part in parts:
        for table in read_tables(part, ("trial_key", *ID)):
            yield from table.filter(places.of(table)).to_pylist()


def _cut_off(folder: Path, what: str, todo: str = MERGE) -> Finding:
    return Finding(severity=UNTIDY, path=str(folder), what=f"{what}: a merge was cut off before it tidied", todo=todo)
