"""Run directories: readable safe names, one supervisor at a time, fresh repeats."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from sample_runs import SPEC

from stores.run_directory import open_or_create, open_run, run_name, runs_in
from trials.errors import StoreError, UsageError
from trials.words import Sampling


def test_the_same_spec_finds_the_same_run(work):
    assert work.run().path == work.run().path
    assert work.run(num_instances=4).path != work.run().path
    assert work.run().spec == SPEC


def test_another_results_store_is_another_run(work, tmp_path):
    other = open_or_create(tmp_path / "logs", SPEC, tmp_path / "elsewhere", fresh=False)
    assert other.path != work.run().path


def test_fresh_runs_are_numbered_and_the_newest_is_resumed(work):
    first = work.run()
    second = work.run(fresh=True)
    third = work.run(fresh=True)
    assert [one.run_id.removeprefix(first.run_id) for one in (first, second, third)] == ["", "-r2", "-r3"]
    assert work.run().path == third.path


@pytest.mark.parametrize("model", ["../../etc", "a/b", "x\ny", "-rf", "名字", "." * 300])
def test_no_model_name_becomes_a_path(tmp_path, model):
    spec = replace(SPEC, models=(model,), sampling={model: Sampling()})
    name = run_name(spec, tmp_path)
    assert "/" not in name
    assert not name.startswith(("-", "."))
    assert name.isprintable()
    assert len(name) < 120
    assert open_or_create(tmp_path, spec, tmp_path, fresh=False).path.parent == tmp_path


def test_a_second_supervisor_is_told(work):
    run = work.run()
    lock = run.lock()
    assert not run.is_idle()
    with pytest.raises(UsageError, match="another process"):
        run.lock()
    lock.release()
    assert run.is_idle()


def test_shards_that_run_alone_share_a_run_but_not_with_a_supervisor(work):
    run = work.run()
    locks = [run.lock(shared=True), run.lock(shared=True)]
    with pytest.raises(UsageError):
        run.lock()
    for lock in locks:
        lock.release()
    run.lock().release()


def test_what_is_no_run_is_passed_over_but_named_when_asked_for(work, tmp_path):
    run = work.run()
    broken = tmp_path / "logs" / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{}")
    assert [one.path for one in runs_in(tmp_path / "logs")] == [run.path]
    with pytest.raises(StoreError, match=r"run\.json"):
        open_run(broken)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_directory_is_a_usage_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written"):
        open_or_create(tmp_path / "logs", SPEC, tmp_path / "results", fresh=False)


def test_a_file_in_place_of_a_directory_is_a_usage_error(tmp_path):
    (tmp_path / "logs").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        open_or_create(tmp_path / "logs", SPEC, tmp_path / "results", fresh=False)
