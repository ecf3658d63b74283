"""The results store: nothing lost, nothing counted twice, whatever is merged, cut off or converted."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sample_runs import row

from stores.journal import JournalWriter
from stores.parts import part_paths, read_part
from stores.results import open_store, read_store
from trials.errors import StoreError, UsageError


def keys(store) -> list[str]:
    return sorted(one["trial_key"] for one in store.rows())


def all_rows(store):
    folders = ("trials", "history")
    return (row for name in folders for part in part_paths(store.path / name, store.form) for row in read_part(part))


def counting(store, run) -> dict:
    return {row["trial_key"]: row for row in store.counting(run)}


def standings(store, run):
    return ((row["trial_key"], row["status"]) for row in store.counting(run, ("trial_key", "status")))


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
    assert len(list(all_rows(store))) == 3


def test_an_error_never_replaces_a_score(work, store):
    first, second = work.run(), work.run(fresh=True)
    work.end(first, 1, row("a"))
    work.end(second, 1, row("a", status="provider_error", ended_at=9.0))
    store.merge([first])
    store.merge([second])
    assert [one["status"] for one in store.rows()] == ["scored"]
    assert counting(store, second)["a"]["status"] == "provider_error"


def test_a_fresh_run_counts_only_what_it_asked_itself(work, store):
    first, second = work.run(), work.run(fresh=True)
    assert second.run_id == f"{first.run_id}-r2"
    work.end(first, 1, row("a"), row("b"))
    store.merge([first])
    assert counting(store, second) == {}
    work.end(second, 1, row("a", ended_at=5.0, outcome="failure"))
    store.merge([first, second])
    assert counting(store, second)["a"]["outcome"] == "failure"
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
    assert len(list(all_rows(store))) == 2


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


def test_the_standings_of_a_run_are_the_statuses_of_the_rows_that_count(work, store):
    first, second = work.run(), work.run(fresh=True)
    work.end(first, 1, row("a"), row("b", status="provider_error"), row("c", status="harness_error"))
    store.merge([first])
    everything = {"a": "scored", "b": "provider_error", "c": "harness_error"}
    assert dict(standings(store, first)) == everything
    assert dict(standings(store, second)) == {}
    work.end(second, 1, row("a", status="provider_error", ended_at=5.0), row("b", ended_at=5.0))
    work.end(second, 2, row("b", status="provider_error", ended_at=6.0))
    store.merge([second])
    assert dict(standings(store, first)) == {**everything, "b": "scored"}
    found = sorted(standings(store, second))
    assert found == [("a", "provider_error"), ("b", "scored")]
    rows = counting(store, second)
    assert found == sorted((key, one["status"]) for key, one in rows.items())


def test_standings_name_a_trial_once_while_two_of_its_rows_are_there(work, store):
    run = work.run()
    work.end(run, 1, row("a", status="provider_error"), row("b"))
    store.merge([run])
    (part,) = store.trials_dir.iterdir()
    old = part.read_bytes()
    work.end(run, 1, row("a", ended_at=2.0))
    store.merge([run])
    part.with_name(part.name.replace("000001", "000009")).write_bytes(old)
    assert sorted(standings(store, run)) == [("a", "scored"), ("b", "scored")]


def test_a_store_is_free_again_after_standings_were_left_early(work, store):
    run = work.run()
    work.end(run, 1, row("a"), row("b"))
    store.merge([run])
    found = standings(store, run)
    next(found)
    found.close()
    assert store.merge([run]) == 0


@pytest.mark.parametrize("allowed", range(8))
def test_a_merge_cut_off_after_any_step_is_mended_by_the_next(work, store, monkeypatch, allowed):
    run = work.run()
    for n in range(3):
        work.end(run, 1, row(f"k{n}", status="provider_error"))
        store.merge([run])
    work.end(run, 1, row("new"), *(row(f"k{n}", ended_at=2.0) for n in range(3)))
    steps = []

    def cut_off(step):
        def once(path, *rest, **more):
            if store.path in path.parents:
                steps.append(path)
                if len(steps) > allowed:
                    raise KeyboardInterrupt
            return step(path, *rest, **more)

        return once

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink"):
            patched.setattr(Path, name, cut_off(getattr(Path, name)))
        with contextlib.suppress(KeyboardInterrupt):
            store.merge([run])
    store.merge([run])
    assert store.merge([run]) == 0
    assert sorted((one["trial_key"], one["status"]) for one in store.rows()) == [
        *((f"k{n}", "scored") for n in range(3)),
        ("new", "scored"),
    ]
    told = [(one["run_id"], one["shard"], one["journal_offset"]) for one in all_rows(store)]
    assert len(told) == len(set(told)) == 7
    for one in all_rows(store):
        assert store.conversation(one)["conversation"] == [{"role": "user", "content": f"about {one['trial_key']}"}]


def test_a_compaction_cut_off_is_mended_by_the_next_merge(work, store):
    run = work.run()
    for n in range(3):
        work.end(run, 1, row(f"k{n}"))
        store.merge([run])
    rest = {path: path.read_bytes() for path in sorted(store.trials_dir.iterdir())[1:]}
    store.compact()
    for path, content in rest.items():
        path.write_bytes(content)
    assert store.merge([run]) == 0
    assert keys(store) == ["k0", "k1", "k2"]
    assert len(list(all_rows(store))) == 3


def test_what_is_beaten_is_recorded_and_never_counted(work, store):
    run = work.run()
    journal = JournalWriter(run.journal_path(1))
    for number, (kind, key) in enumerate([("beaten", "a"), ("ended", "b")]):
        journal.append({"kind": kind, "number": number, "row": row(key), "conversation": [], "detail": {}})
    journal.close()
    assert store.merge([run]) == 1
    assert keys(store) == ["b"]


def test_a_trial_without_a_conversation_has_an_empty_one(work, store):
    run = work.run()
    journal = JournalWriter(run.journal_path(1))
    journal.append({"kind": "ended", "number": 0, "row": row("a", status="provider_error")})
    journal.close()
    store.merge([run])
    found = store.conversation(store.find("a"))
    assert (found["conversation"], found["detail"]) == ([], {})


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_merged(work):
    program = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from stores.results import open_store\nfrom stores.run_directory import open_run\n"
        "store, run = open_store(Path(sys.argv[1]), simulated=True, form='parquet'), open_run(Path(sys.argv[2]))\n"
        "print(store.merge([run]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    run = work.run()
    long = {"error_message": "x" * 50_000}
    peaks = []
    for shard, many in ((1, 1_000), (2, 8_000)):
        work.end(run, shard, *(row(f"{shard}-{n}") | long for n in range(many)))
        command = [sys.executable, "-c", program, str(work.results), str(run.path)]
        added, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(added) == many
        peaks.append(int(peak))
    assert run.journal_path(2).stat().st_size > 4e8
    assert peaks[1] < 1.5 * peaks[0]
