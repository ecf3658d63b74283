"""Looking at a run never gets into the way of working on it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sample_specs import spec_of

from stores.run_directory import RunDirectory, open_or_create
from trials.errors import UsageError


def made(tmp_path: Path) -> RunDirectory:
    return open_or_create(tmp_path / "logs", spec_of(), tmp_path / "results", fresh=False)


def test_a_run_that_others_look_at_all_the_time_can_be_taken(tmp_path):
    run, over = made(tmp_path), threading.Event()

    def look() -> None:
        while not over.is_set():
            run.is_idle()

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for shared in (False, True) * 100:
            run.lock(shared=shared).release()
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()


def test_a_run_that_is_worked_on_is_refused_and_not_idle(tmp_path):
    run = made(tmp_path)
    held = run.lock()
    for shared in (False, True):
        with pytest.raises(UsageError, match="being worked on"):
            run.lock(shared=shared)
    assert not run.is_idle()
    held.release()
    assert run.is_idle()


def test_shards_alone_share_a_run_and_keep_a_supervisor_out(tmp_path):
    run = made(tmp_path)
    held = [run.lock(shared=True), run.lock(shared=True)]
    with pytest.raises(UsageError):
        run.lock()
    assert not run.is_idle()
    for lock in held:
        lock.release()
    run.lock().release()
