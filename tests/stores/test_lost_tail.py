"""A journal that has lost lines which were merged already: what is written from then on is merged as well."""

from __future__ import annotations

import os
import shutil

import pytest
from sample_runs import Work, row

from stores.journal import JournalWriter, never_shorter, read_endings, read_events, replay
from stores.results import ResultsStore, open_store


@pytest.fixture
def work(tmp_path) -> Work:
    return Work(tmp_path)


@pytest.fixture
def store(work) -> ResultsStore:
    return open_store(work.results, simulated=True, form="json")


def keys(store: ResultsStore) -> list[str]:
    return sorted(one["trial_key"] for one in store.rows(("trial_key",)))


@pytest.mark.parametrize("left", [0.0, 0.3, 0.7, 0.95])
def test_lines_written_after_merged_ones_were_lost_are_merged_too(work, store, left):
    run = work.run()
    work.end(run, 1, *(row(f"k{number:02d}") for number in range(10)))
    assert store.merge([run]) == 10
    os.truncate(run.journal_path(1), int(left * run.journal_path(1).stat().st_size))
    store.merge([run])
    work.end(run, 1, row("k10"))
    assert store.merge([run]) == 1
    work.end(run, 1, row("k11"))
    assert store.merge([run]) == 1
    assert store.merge([run]) == 0
    assert keys(store) == [f"k{number:02d}" for number in range(12)]


def test_a_run_whose_directory_was_deleted_begins_behind_what_was_merged(work, store):
    run = work.run()
    work.end(run, 1, row("k00"), row("k01"))
    store.merge([run])
    shutil.rmtree(run.path)
    again = work.run()
    assert again.run_id == run.run_id
    store.merge([again])
    work.end(again, 1, row("k02"))
    assert store.merge([again]) == 1
    assert keys(store) == ["k00", "k01", "k02"]


def test_what_fills_a_gap_tells_nothing_and_is_no_damage(work):
    run, told = work.run(), []
    work.end(run, 1, row("k00"))
    path = run.journal_path(1)
    never_shorter(path, 200_000)
    size = path.stat().st_size
    assert size >= 200_000
    never_shorter(path, 200_000)
    assert path.stat().st_size == size
    writer = JournalWriter(path)
    writer.append({"kind": "ended", "number": 7, "row": row("k07"), "conversation": [], "detail": {}})
    writer.close()
    kinds = [event["kind"] for _, event in read_events(path, 0, lambda *one: told.append(one))]
    assert kinds == ["begun", "ended", *["gap"] * (len(kinds) - 3), "ended"]
    assert [offset for offset, _ in read_endings(path, 100_000, lambda *one: told.append(one))] == [size]
    assert set(replay(path, {0, 7})[0]) == {0, 7}
    assert told == []
