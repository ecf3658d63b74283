"""The results store: nothing lost, nothing counted twice, whatever is merged, cut off or converted."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections import Counter

import pytest
from sample_runs import row

from stores.results import open_store, read_store
from trials.errors import StoreError, UsageError


def keys(store) -> list[str]:
    return sorted(one["trial_key"] for one in store.rows())


@pytest.fixture(params=["parquet", "json"])
def store(request, work):
    return open_store(work.results, simulated=True, form=request.param)


def test_merging_twice_changes_nothing(work, store):
    run = work.run()
    work.end(run, 1, row("a"), row("b"))
    assert store.merge([run]) == 2
    before = {path: path.read_bytes() for path in work.results.rglob("*") if path.is_file()}
    assert store.merge([run]) == 0
    assert {path: path.read_bytes() for path in work.results.rglob("*") if path.is_file()} == before


def test_only_what_is_new_is_added(work, store):
    run = work.run()
    work.end(run, 1, row("a"))
    store.merge([run])
    work.end(run, 1, row("b"))
    work.end(run, 2, row("c"))
    assert store.merge([run]) == 2
    assert keys(store) == ["a", "b", "c"]


def test_both_forms_hold_the_same_rows_and_convert_without_loss(work, store):
    run = work.run()
    work.end(run, 1, row("a"), row("b", status="provider_error"))
    store.merge([run])
    rows = list(store.rows())
    assert rows[0]["error_message"] == "größer als 0, 错误\n"
    assert rows[0]["recovered"] is True
    assert rows[0]["recovery"] is None
    other = store.convert("json" if store.form == "parquet" else "parquet")
    assert list(other.rows()) == rows
    assert list(other.convert(store.form).rows()) == rows
    assert len(list(store.trials_dir.iterdir())) == 1


def test_pandas_and_duckdb_read_the_parquet_form(work):
    import duckdb
    import pandas

    store = open_store(work.results, simulated=True, form="parquet")
    run = work.run()
    work.end(run, 1, row("a"), row("b"))
    store.merge([run])
    assert sorted(pandas.read_parquet(store.trials_dir)["trial_key"]) == ["a", "b"]
    assert duckdb.sql(f"select count(*) from '{store.trials_dir}/*.parquet'").fetchall() == [(2,)]


def test_a_later_score_replaces_an_error_and_history_stays(work, store):
    run = work.run()
    work.end(run, 1, row("a", status="provider_error"), row("b"))
    store.merge([run])
    work.end(run, 1, row("a", ended_at=2.0))
    store.merge([run])
    assert Counter((one["trial_key"], one["status"]) for one in store.rows()) == {
        ("a", "scored"): 1,
        ("b", "scored"): 1,
    }
    assert len(list(store.all_rows())) == 3


def test_an_error_never_replaces_a_score(work, store):
    first, second = work.run(), work.run(fresh=True)
    work.end(first, 1, row("a"))
    work.end(second, 1, row("a", status="provider_error", ended_at=9.0))
    store.merge([first])
    store.merge([second])
    assert [one["status"] for one in store.rows()] == ["scored"]
    assert store.counting_rows(second, {"a"}.__contains__)["a"]["status"] == "provider_error"


def test_a_fresh_run_counts_only_what_it_asked_itself(work, store):
    first, second = work.run(), work.run(fresh=True)
    assert second.run_id == f"{first.run_id}-r2"
    work.end(first, 1, row("a"), row("b"))
    store.merge([first])
    assert store.counting_rows(second, {"a", "b"}.__contains__) == {}
    work.end(second, 1, row("a", ended_at=5.0, outcome="failure"))
    store.merge([first, second])
    assert store.counting_rows(second, {"a", "b"}.__contains__)["a"]["outcome"] == "failure"
    assert {one["trial_key"]: one["outcome"] for one in store.rows()} == {"a": "failure", "b": "full"}


def merge_in_process(results, logs_dir):
    from stores.run_directory import runs_in

    read_store(results).merge(list(runs_in(logs_dir)))


def test_merges_at_once_lose_and_double_nothing(work, store):
    run = work.run()
    for shard in (1, 2, 3):
        work.end(run, shard, *(row(f"{shard}-{n}") for n in range(50)))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=merge_in_process, args=(work.results, work.root / "logs")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(keys(store)) == len(set(keys(store))) == 150


def test_a_merge_cut_off_before_tidying_is_mended_by_the_next(work, store):
    run = work.run()
    work.end(run, 1, row("a", status="provider_error"))
    store.merge([run])
    cut_off = shutil.copytree(work.results, work.root / "copy")
    work.end(run, 1, row("a", ended_at=2.0))
    store.merge([run])
    # The state after the commit and before the tidying: the old part beside the new one.
    (old,) = (cut_off / "trials").iterdir()
    shutil.copy(old, store.trials_dir / old.name.replace("000001", "000000"))
    assert len(list(store.rows())) == 2
    store.merge([run])
    assert [one["status"] for one in store.rows()] == ["scored"]
    assert len(list(store.all_rows())) == 2


def test_compacting_keeps_every_row(work, store):
    run = work.run()
    for n in range(5):
        work.end(run, 1, row(f"k{n}"))
        store.merge([run])
    assert len(list(store.trials_dir.iterdir())) == 5
    store.compact()
    assert len(list(store.trials_dir.iterdir())) == 1
    assert keys(store) == [f"k{n}" for n in range(5)]
    assert store.merge([run]) == 0


def test_conversations_are_found_by_the_beginning_of_the_key(work, store):
    run = work.run()
    work.end(run, 1, row("abc1"), row("abd2"))
    store.merge([run])
    found = store.find("abd")
    assert found["trial_key"] == "abd2"
    assert store.conversation(found)["conversation"] == [{"role": "user", "content": "about abd2"}]


@pytest.mark.parametrize(("beginning", "words"), [("zzz", "zzz"), ("ab", "2 trial keys"), ("", "2 trial keys")])
def test_a_beginning_of_no_key_or_of_several_is_told(work, store, beginning, words):
    run = work.run()
    work.end(run, 1, row("abc1"), row("abd2"))
    store.merge([run])
    with pytest.raises(UsageError, match=words):
        store.find(beginning)


def test_summary_is_derived_from_the_rows(work, store):
    run = work.run()
    work.end(run, 1, row("a"), row("b", outcome="failure"), row("c", status="provider_error"))
    store.merge([run])
    summary = json.loads((work.results / "summary.json").read_text())
    leaf = summary["results"]["m"]["optimal"]["0.8"]["easy"]["simple_task"]
    assert summary["kind"] == "simulated"
    assert json.dumps(leaf).count("provider_error") >= 1


def test_real_and_simulated_results_are_never_mixed(work, store):
    with pytest.raises(UsageError, match="never mixed"):
        open_store(work.results, simulated=False, form=store.form)


def test_a_damaged_journal_line_is_told_and_the_rest_merged(work, store):
    run = work.run()
    work.end(run, 1, row("a"), row("b"), row("c"))
    path = run.journal_path(1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(b'"b"', b'"B"', 1), *lines[4:]]))
    told = []
    assert store.merge([run], lambda *what: told.append(what)) == 2
    assert keys(store) == ["a", "c"]
    assert [(one[0], one[2]) for one in told] == [(path, "checksum does not match")]


def test_a_damaged_part_is_named(work, store):
    run = work.run()
    work.end(run, 1, row("a"))
    store.merge([run])
    (part,) = store.trials_dir.iterdir()
    part.write_bytes(b"not a part")
    with pytest.raises(StoreError, match=part.name):
        list(store.rows())


def test_files_are_for_the_user_alone(work, store):
    run = work.run()
    work.end(run, 1, row("a"))
    store.merge([run])
    for path in [*work.results.rglob("*"), *run.path.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
