"""The auditor complains of each thing it is there to see, and of nothing else."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import auditor
import pytest
from campaign import FAULTS, draw_fault
from power_cut import cut

Rows = list[dict[str, Any]]
KEYS = ("a", "b", "c")


def row(key: str, place: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = dict.fromkeys(auditor.SCORES)
    told = {"status": "scored", "trial_key": key, "task_type": "t", "task_id": f"task-{key}", "epoch": 0}
    return made | told | {"coverage": 0.5, "error_message": "", "run_id": "run", "shard": 1, "journal_offset": place}


def line(event: dict[str, Any]) -> bytes:
    body = json.dumps(event).encode()
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


class Left:
    """What a run has left: a store, and a journal that says the same."""

    def __init__(self, path: Path) -> None:
        self.logs, self.results = path / "logs", path / "results"
        self.journal = self.logs / "run" / "shards" / "01" / "journal.jsonl"
        for folder in (self.journal.parent, self.results / "trials"):
            folder.mkdir(parents=True)
        self.rows: Rows = []
        text = b""
        for key in KEYS:
            self.rows.append(row(key, len(text)))
            text += line({"kind": "ended", "row": row(key)})
        self.journal.write_bytes(text)
        self.expected = auditor.scores(self.rows)

    def complaints(self) -> list[str]:
        (self.results / "store.json").write_text("{}")
        (self.results / "trials" / "part-1.jsonl").write_text("".join(json.dumps(one) + "\n" for one in self.rows))
        planned = {"m": {"cell": {"planned": len(KEYS)}}}
        (self.results / "summary.json").write_text(json.dumps({"results": planned}))
        return [
            *auditor.audit_rows(self.results, self.expected),
            *auditor.audit_summary(self.results),
            *auditor.audit_journals(self.logs, self.results, whole=True),
            *auditor.audit_secrets(self.logs.parent, {"KEY": "sk-secret"}),
        ]


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path)


def test_there_is_nothing_to_complain_of_in_what_is_sound(left: Left) -> None:
    assert left.complaints() == []


SPOILT: dict[str, Callable[[Left], Any]] = {
    "trials are lost": lambda left: left.rows.pop(),
    "more than one row": lambda left: left.rows.append(left.rows[0]),
    "no place in the plan": lambda left: left.rows.append(row("d")),
    "scores differ": lambda left: left.rows[1].update(score=1.0),
    "not scored": lambda left: left.rows[1].update(status="provider_error"),
    "are in no row": lambda left: left.rows.pop(1),
    "something else than their journal line": lambda left: left.rows[1].update(coverage=0.7),
    "journal lines are damaged": lambda left: left.journal.write_bytes(
        left.journal.read_bytes().replace(b"0.5", b"0.6")
    ),
    "the summary tells of 3 trials, the store holds 2": lambda left: left.rows.pop(),
    "the secret KEY stands in": lambda left: (left.logs / "a.log").write_text("asked with sk-secret"),
}


@pytest.mark.parametrize("complaint", SPOILT)
def test_what_is_spoilt_is_complained_of(left: Left, complaint: str) -> None:
    SPOILT[complaint](left)
    assert any(complaint in one for one in left.complaints()), left.complaints()


def test_a_traceback_is_complained_of() -> None:
    assert list(auditor.audit_said("error: the disk is full\n")) == []
    assert list(auditor.audit_said("Traceback (most recent call last):\n  File"))


def test_every_fault_is_drawn_before_any_is_drawn_again() -> None:
    drawn = [draw_fault(3, number) for number in range(1, 2 * len(FAULTS))]
    assert {fault.title for fault in drawn} == {fault.title for fault in FAULTS}
    assert drawn == [draw_fault(3, number) for number in range(1, 2 * len(FAULTS))]
    assert drawn != [draw_fault(4, number) for number in range(1, 2 * len(FAULTS))]


def test_a_power_cut_keeps_what_was_synced_and_loses_what_was_not(tmp_path: Path) -> None:
    """A file synced with its name, one of which half was synced, and one whose name was not."""
    root, stash, log = tmp_path / "logs", tmp_path / "stash", tmp_path / "log"
    for folder in (root, stash):
        folder.mkdir()
    inode = {}
    lines = []
    for name in ("safe", "half", "loose"):
        (root / name).write_bytes(b"0123456789")
        inode[name] = (root / name).stat().st_ino
        lines.append(f"create\t{inode[name]}\t{root.stat().st_ino}\t{root / name}\t\t0")
        size = {"safe": 10, "half": 5, "loose": 10}[name]
        lines += [f"syncing\t{inode[name]}\t{size}\t\t\t{len(lines)}", f"synced\t{inode[name]}\t0\t\t\t{len(lines)}"]
        if name == "half":
            number = len(lines)
            lines += [
                f"syncing\t{root.stat().st_ino}\t0\t\t\t{number}",
                f"synced\t{root.stat().st_ino}\t0\t\t\t{number}",
            ]
    seen = set()
    for seed in range(60):
        for name in inode:
            (root / name).write_bytes(b"0123456789")
        fresh = {name: (root / name).stat().st_ino for name in inode}
        text = "\n".join(lines) + "\n"
        for name, number in fresh.items():
            text = text.replace(f"\t{inode[name]}\t", f"\t{number}\t")
        log.write_text(text)
        cut(log, stash, (root,), Random(seed))
        assert (root / "safe").read_bytes() == b"0123456789"
        assert (root / "half").read_bytes()[:5] == b"01234"
        seen.add((len((root / "half").read_bytes().rstrip(b"\0")), (root / "loose").exists()))
    assert {there for _, there in seen} == {True, False}
    assert len({size for size, _ in seen}) > 3
