"""Checks from outside what a run has left: shares no code with the product, and believes none of its summaries.

Reads journals byte by byte, result parts with pyarrow alone, and what the simulator has served. Every complaint is one
line; no complaints means that the invariants hold.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SCORES = (
    "status",
    "outcome",
    "error_category",
    "coverage",
    "order",
    "execution",
    "recovery",
    "efficiency",
    "followed_flaw",
    "recovered",
    "turns",
    "tool_calls",
    "tool_failures",
    "deviations",
    "plan_diff",
    "answer",
    "target",
    "score",
)
Row = dict[str, Any]
Key = tuple[str, str, int]
Expected = Mapping[Key, tuple[Any, ...]]


def store_in(results: Path) -> Path:
    """Return the one results store below a directory."""
    (head,) = results.rglob("store.json")
    return head.parent


def rows_of(folder: Path) -> list[Row]:
    """Return all rows of the parts in a folder, whatever their form."""
    found: list[Row] = []
    for part in sorted(folder.glob("part-*.parquet")):
        found += pq.read_table(part).to_pylist()
    for part in sorted(folder.glob("part-*.jsonl")):
        found += [json.loads(line) for line in part.read_bytes().splitlines()]
    return found


def scores(rows: Iterable[Row]) -> dict[Key, tuple[Any, ...]]:
    """Return what was scored, by what was asked."""
    return {key_of(row): tuple(row[name] for name in SCORES) for row in rows}


def key_of(row: Row) -> Key:
    """Return what a row is about, whatever the endpoint was."""
    return (row["task_type"] or "", row["task_id"], row["epoch"])


def asked(rows: Iterable[Row]) -> int:
    """Return how many requests these rows have needed."""
    return sum(row["requests"] - row["cache_hits"] for row in rows)


def audit_rows(results: Path, expected: Expected) -> Iterator[str]:
    """Every planned trial has one row that counts, scored as in a run to which nothing happened."""
    rows = rows_of(store_in(results) / "trials")
    counts = Counter(map(key_of, rows))
    keys = Counter(row["trial_key"] for row in rows)
    yield from _few("trials are lost", [key for key in expected if key not in counts])
    yield from _few("trials have no place in the plan", [key for key in counts if key not in expected])
    yield from _few("trials have more than one row", [key for key, count in counts.items() if count > 1])
    yield from _few("trial keys have more than one row", [key for key, count in keys.items() if count > 1])
    yield from _few("rows are not scored", [(row["status"], row["error_message"]) for row in rows if not _scored(row)])
    found = scores(rows)
    different = [
        (key, name, was, found[key][place])
        for key, told in expected.items()
        if key in found
        for place, (name, was) in enumerate(zip(SCORES, told, strict=True))
        if found[key][place] != was
    ]
    yield from _few("scores differ from those of an undisturbed run", different)


def audit_failures(results: Path, categories: Collection[str]) -> Iterator[str]:
    """What an endpoint fails at is filed as its failure, under one of these categories, and never scored."""
    failed = [row for row in rows_of(store_in(results) / "trials") if not _scored(row)]
    wrong = [row for row in failed if row["status"] != "provider_error" or row["error_category"] not in categories]
    told = [(row["status"], row["error_category"], row["error_message"]) for row in wrong]
    yield from _few(f"failures are filed as something else than {sorted(categories)}", told)
    yield from _few("failures have a score", [row["trial_key"] for row in failed if row["coverage"] or row["score"]])


def audit_summary(results: Path) -> Iterator[str]:
    """The summary says how many rows there are."""
    store = store_in(results)
    summary = json.loads((store / "summary.json").read_bytes())["results"]
    told = _planned(summary)
    rows = len(rows_of(store / "trials"))
    if told != rows:
        yield f"the summary tells of {told} trials, the store holds {rows}"


def _planned(node: Any) -> int:
    """Add up ``planned`` over the innermost cells of the summary."""
    if not isinstance(node, dict):
        return 0
    inner = sum(_planned(one) for one in node.values())
    return inner or int(node.get("planned", 0))


def audit_journals(logs: Path, results: Path, *, whole: bool) -> Iterator[str]:
    """Every row came from a journal line that says the same; every scored ending in a journal has its row.

    ``whole`` says that no journal was tampered with: then a line that cannot be read is a complaint as well.
    """
    store = store_in(results)
    counting = rows_of(store / "trials")
    every = [*counting, *rows_of(store / "history")]
    by_place = {(row["run_id"], row["shard"], row["journal_offset"]): row for row in every}
    scored_keys = {row["trial_key"] for row in counting if _scored(row)}
    lost, wrong, damaged = [], [], []
    for journal in sorted(logs.glob("*/shards/*/journal.jsonl")):
        run, shard = journal.parents[2].name, int(journal.parent.name)
        for offset, event in _events(journal):
            if event is None:
                damaged.append(f"{journal.parent.name}@{offset}")
            elif event["kind"] == "ended":
                row, said = by_place.get((run, shard, offset)), event["row"]
                if said["status"] == "scored" and said["trial_key"] not in scored_keys:
                    lost.append(said["trial_key"])
                if row is not None and any(row[name] != said.get(name) for name in ("trial_key", "status", "coverage")):
                    wrong.append(said["trial_key"])
    yield from _few("scored endings of a journal are in no row", lost)
    yield from _few("rows say something else than their journal line", wrong)
    if whole:
        yield from _few("journal lines are damaged", damaged)


def _events(journal: Path) -> Iterator[tuple[int, Any]]:
    """Yield (offset, event) of every whole line, the event None where its checksum does not match."""
    offset = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        body, _, tail = line[:-1].rpartition(b',"crc":')
        try:
            sound = int(json.loads(tail[:-1]), 16) == zlib.crc32(body + b"}")
            yield offset, json.loads(body + b"}") if sound else None
        except (ValueError, TypeError):
            yield offset, None
        offset += len(line)


def audit_secrets(house: Path, secrets: Mapping[str, str]) -> Iterator[str]:
    """No secret stands in any file but ``.env``, compressed columns included."""
    for path in sorted(house.rglob("*")):
        if not path.is_file() or path.name == ".env":
            continue
        text = path.read_bytes()
        if path.suffix == ".parquet":
            with suppress(OSError, ValueError):  # a torn temporary file: its bytes are looked at all the same
                text += repr(pq.read_table(path).to_pylist()).encode()
        for name, value in secrets.items():
            if value.encode() in text:
                yield f"the secret {name} stands in {path.relative_to(house)}"


def audit_said(text: str) -> Iterator[str]:
    """Nobody is shown a traceback."""
    for sign in ("Traceback (most recent call last)", "Exception ignored in", "Fatal Python error"):
        if sign in text:
            yield f"the user was shown a traceback: {text[text.index(sign) :][-600:]!r}"
            return


def _scored(row: Row) -> bool:
    return bool(row["status"] == "scored")


def _few(what: str, found: list[Any]) -> Iterator[str]:
    if found:
        shown = ", ".join(map(str, found[:3]))
        yield f"{len(found)} {what}: {shown}"
