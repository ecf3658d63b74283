"""A journal that has lost lines which were merged already: what is written from then on is merged as well."""

from __future__ import annotations

import os
import shutil

import pytest
from sample_specs import spec_of

from stores.journal import JournalWriter, never_shorter, read_endings, read_events, replay
from stores.results import ResultsStore, open_store
from stores.run_directory import RunDirectory, open_or_create

PATH = "logs"


def ended(number: int, key: str) -> dict:
    row = {"trial_key": key, "status": "scored", "error_category": "", "outcome": "full", "ended_at": float(number)}
    return {"kind": "ended", "number": number, "row": row, "conversation": [], "detail": {}}


def write(run: RunDirectory, *events: dict) -> None:
    writer = JournalWriter(run.journal_path(1))
    for event in events:
        writer.append(event)
    writer.close()


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return open_or_create(tmp_path / "logs", spec_of(), tmp_path / "results", fresh=False)


@pytest.fixture
def store(tmp_path) -> ResultsStore:
    return open_store(tmp_path / "results", simulated=True, form="json")


def keys(store: ResultsStore) -> list[str]:
    return sorted(row["trial_key"] for row in store.rows(("trial_key",)))


@pytest.mark.parametrize("left", [0.0, 0.3, 0.7, 0.95])
def test_lines_written_after_merged_ones_were_lost_are_merged_too(run, store, left):
    write(run, *(ended(number, f"k{number:02d}") for number in range(10)))
    assert store.merge([run]) == 10
    os.truncate(run.journal_path(1), int(left * run.journal_path(1).stat().st_size))
    store.merge([run])
    write(run, ended(10, "k10"))
    assert store.merge([run]) == 1
    write(run, ended(11, "k11"))
    assert store.merge([run]) == 1
    assert store.merge([run]) == 0
    assert keys(store) == [f"k{number:02d}" for number in range(12)]


def test_a_run_whose_directory_was_deleted_begins_behind_what_was_merged(run, store, tmp_path):
    write(run, ended(0, "k00"), ended(1, "k01"))
    store.merge([run])
    shutil.rmtree(run.path)
    again = open_or_create(tmp_path / "logs", spec_of(), tmp_path / "results", fresh=False)
    assert again.run_id == run.run_id
    store.merge([again])
    write(again, ended(2, "k02"))
    assert store.merge([again]) == 1
    assert keys(store) == ["k00", "k01", "k02"]


def test_what_fills_a_gap_tells_nothing_and_is_no_damage(run):
    write(run, ended(0, "k00"))
    path, told = run.journal_path(1), []
    never_shorter(path, 200_000)
    size = path.stat().st_size
    assert size >= 200_000
    never_shorter(path, 200_000)
    assert path.stat().st_size == size
    write(run, ended(1, "k01"))
    assert [event["kind"] for _, event in read_events(path, 0, lambda *one: told.append(one))][0] == "ended"
    assert [offset for offset, _ in read_endings(path, 1000, lambda *one: told.append(one))] == [size]
    assert replay(path, {0, 1})[0] == {0: "full", 1: "full"}
    assert told == []
