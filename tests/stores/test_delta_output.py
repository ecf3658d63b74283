"""A Delta table gets every row that counts exactly once, whatever is killed, repeated or done at the same time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from sample_runs import row

from stores import delta_output, delta_table, output
from stores.delta_table import Target
from stores.output import check_output, parse_output, write_output
from stores.results import open_store
from trials.errors import StoreError, UsageError

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import os, signal, sys
from pathlib import Path
from stores import delta_output, delta_table, output
from stores.results import read_store
from stores.run_directory import open_run
url, store, run, batch, die_at = sys.argv[1:]
delta_output.BATCH_ROWS = delta_output._PIECE_ROWS = int(batch)
delta_table._LONGEST_WAIT_S = 0.1
steps = 0
def dying(act):
    def step(*given, **named):
        global steps
        for when in ("before", "after"):
            done = act(*given, **named) if when == "after" else None
            steps += 1
            if str(steps) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return done
    return step
delta_output._append = dying(delta_output._append)
delta_output._merge = dying(delta_output._merge)
delta_output._create = dying(delta_output._create)
print("ready", flush=True)
sys.stdin.readline()
print(output.write_output(url, read_store(Path(store)), open_run(Path(run)), environment=os.environ, tell=print))
"""


def writing(url, store, run, *, batch=7, die_at="never", environment=None) -> subprocess.Popen:
    """Start a process that writes the output in small batches, and waits for its first line of input to begin."""
    command = [sys.executable, "-c", WRITER, url, str(store.path), str(run.path), str(batch), die_at]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | (environment or {}),
    )


def read(place, names=("trial_key", "status", "run_id", "shard", "journal_offset")) -> list[tuple]:
    return sorted(DeltaTable(str(place)).to_pyarrow_table(columns=list(names)).to_pylist(), key=lambda one: str(one))


def counting(store, run, names=("trial_key", "status", "run_id", "shard", "journal_offset")) -> list[tuple]:
    return sorted(store.counting(run, names), key=lambda one: str(one))


@pytest.fixture
def store(work):
    return open_store(work.results, simulated=True, form="parquet")


@pytest.fixture
def write(store, tmp_path):
    """Write a run's output into one table and return how many rows were new."""

    def write(run, place=tmp_path / "table", **more):
        return write_output(f"delta:{place}", store, run, environment={}, tell=lambda _: None, **more)

    return write


def rows(store, work, run, *some):
    work.end(run, 1, *some)
    store.merge([run])


def test_id_answer_and_latency_come_first_and_every_column_follows(work, store, write, tmp_path):
    run = work.run()
    called = row("a") | {"answer": "42", "provider_ms": 1500.0, "cache_hits": 0}
    hit = row("b") | {"answer": "43", "provider_ms": 0.0, "cache_hits": 1}
    failed = row("c", status="provider_error") | {"provider_ms": 0.0}
    rows(store, work, run, called, hit, failed)
    assert write(run) == 3
    table = DeltaTable(tmp_path / "table").to_pyarrow_table().sort_by("trial_key")
    assert table.column_names[:4] == ["id", "answer", "latency", "trial_key"]
    assert table.select(["id", "answer", "latency"]).to_pylist() == [
        {"id": "task a", "answer": "42", "latency": 1.5},
        {"id": "task b", "answer": "43", "latency": None},
        {"id": "task c", "answer": None, "latency": None},
    ]
    assert table.select(list(store.rows().__next__())).to_pylist() == sorted(
        store.rows(), key=lambda one: one["trial_key"]
    )


def test_polars_and_duckdb_read_it_after_appends_and_merges(work, store, write, tmp_path):
    import duckdb

    run = work.run()
    rows(store, work, run, row("a", status="provider_error"), row("b"))
    write(run)
    rows(store, work, run, row("a", ended_at=2.0), row("c", status="provider_error"))
    write(run)
    lazy = polars.scan_delta(tmp_path / "table").filter(polars.col("status") == "scored")
    assert sorted(lazy.collect()["trial_key"]) == ["a", "b"]
    files = duckdb.read_parquet(DeltaTable(tmp_path / "table").file_uris())
    assert files.filter("status = 'scored'").order("trial_key").project("id").fetchall() == [("task a",), ("task b",)]


def test_writing_again_adds_nothing_and_commits_nothing(work, store, write, tmp_path):
    for fresh in (False, True):
        run = work.run(fresh=fresh)
        rows(store, work, run, row("a", ended_at=5.0 + fresh), row("b", ended_at=5.0 + fresh))
        assert write(run) == 2
        version = DeltaTable(tmp_path / "table").version()
        assert write(run) == 0
        assert DeltaTable(tmp_path / "table").version() == version
        assert read(tmp_path / "table") == counting(store, run)


def test_only_what_is_new_since_is_sent(work, store, write, tmp_path):
    run = work.run()
    rows(store, work, run, row("a"))
    write(run)
    rows(store, work, run, row("b"))
    assert write(run) == 1
    assert read(tmp_path / "table") == counting(store, run)


def test_a_score_replaces_an_error_and_never_the_other_way_round(work, store, write, tmp_path):
    first, second = work.run(), work.run(fresh=True)
    rows(store, work, first, row("a", status="provider_error"), row("b"))
    assert write(first) == 2
    rows(store, work, first, row("a", ended_at=2.0))
    assert write(first) == 1
    rows(store, work, second, row("a", status="provider_error", ended_at=9.0), row("b", ended_at=9.0))
    assert write(second) == 1
    found = {(one["trial_key"], one["status"], one["run_id"]) for one in read(tmp_path / "table")}
    assert found == {("a", "scored", first.run_id), ("b", "scored", second.run_id)}
    assert DeltaTable(tmp_path / "table").count() == 2


def test_runs_that_share_rows_of_one_journal_each_bring_all_of_theirs(work, store, write, tmp_path):
    one, other = work.run(), work.run(num_instances=4)
    rows(store, work, one, *(row(key) for key in "abcdef"))
    assert write(one, wanted=lambda keys: [key in "bf" for key in keys]) == 2
    assert write(other, wanted=lambda keys: [key in "abc" for key in keys]) == 2
    assert [found["trial_key"] for found in read(tmp_path / "table")] == ["a", "b", "c", "f"]


def test_a_run_that_was_thrown_away_and_begun_again_loses_nothing(work, store, write, tmp_path):
    import shutil

    run = work.run()
    rows(store, work, run, row("a"), row("b"), row("c"))
    write(run)
    shutil.rmtree(work.root / "logs")
    shutil.rmtree(work.results)
    store = open_store(work.results, simulated=True, form="parquet")
    again = work.run()
    assert again.run_id == run.run_id
    rows(store, work, again, row("d"))
    assert write(again) == 1
    assert [found["trial_key"] for found in read(tmp_path / "table")] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_cut_off_the_table_ends_as_the_store(work, store, write, tmp_path, monkeypatch, seed):
    dice = random.Random(seed)
    monkeypatch.setattr(delta_output, "BATCH_ROWS", 3)
    monkeypatch.setattr(delta_output, "_PIECE_ROWS", 1)
    properties = delta_output._properties

    def cut_off_sometimes(*given):
        if dice.random() < 0.3:
            raise KeyboardInterrupt
        return properties(*given)

    monkeypatch.setattr(delta_output, "_properties", cut_off_sometimes)
    run, older = work.run(), work.run(num_instances=9)
    for clock in range(8):
        for one in (run, older):
            status = dice.choice(["scored", "provider_error"])
            ended = [row(key, status=status, ended_at=float(clock)) for key in dice.sample("abcdefghij", 4)]
            work.end(one, dice.choice([1, 2]), *ended)
        store.merge([run, older] if dice.random() < 0.5 else [run])
        with contextlib.suppress(KeyboardInterrupt):
            write(run)
    store.merge([run, older])
    monkeypatch.setattr(delta_output, "_properties", properties)
    write(run)
    assert read(tmp_path / "table") == counting(store, run)


def test_a_process_killed_between_any_two_steps_leaves_what_the_next_one_finishes(work, store, tmp_path):
    run = work.run()
    rows(store, work, run, *(row(f"{n:02}", status="provider_error" if n % 9 == 0 else "scored") for n in range(30)))
    for die_at in range(1, 8):  # before and after making the table, then before and after commits
        place = tmp_path / f"table {die_at}"
        killed = writing(f"delta:{place}", store, run, batch=12, die_at=str(die_at))
        killed.communicate("go\n")
        assert killed.returncode == -signal.SIGKILL
        write_output(f"delta:{place}", store, run, environment={}, tell=print)
        assert read(place) == counting(store, run)


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.5])
def test_a_process_killed_at_any_time_leaves_what_the_next_one_finishes(work, store, tmp_path, seconds):
    run = work.run()
    rows(store, work, run, *(row(f"{n:04}") for n in range(600)))
    process = writing(f"delta:{tmp_path / 'table'}", store, run, batch=3)
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    while not (tmp_path / "table" / "_delta_log").is_dir():
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    write_output(f"delta:{tmp_path / 'table'}", store, run, environment={}, tell=print)
    assert read(tmp_path / "table") == counting(store, run)


def test_two_processes_at_once_into_one_table_are_exact(work, store, tmp_path):
    one, other = work.run(), work.run(num_instances=4)
    work.end(one, 1, *(row(f"{n:02}", status="provider_error" if n % 5 == 0 else "scored") for n in range(60)))
    work.end(other, 1, *(row(f"{n:02}", ended_at=2.0) for n in range(30, 90)))
    store.merge([one, other])
    processes = [writing(f"delta:{tmp_path / 'table'}", store, run) for run in (one, other)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    written = [int(process.communicate()[0].splitlines()[-1]) for process in processes]
    assert sum(written) == 90
    assert read(tmp_path / "table") == counting(store, one)


def test_what_another_process_commits_between_look_and_commit_is_not_doubled(work, store, write, tmp_path, monkeypatch):
    one, other = work.run(), work.run(num_instances=4)
    rows(store, work, one, row("a"), row("b"), row("c"))
    write(other, wanted=lambda keys: [key == "c" for key in keys])
    look, waited = delta_output._there, []

    def look_and_wait(*given):
        found = look(*given)
        if not waited:
            waited.append(1)
            assert write(work.run(num_instances=5)) == 2
        return found

    monkeypatch.setattr(delta_output, "_there", look_and_wait)
    assert write(one, wanted=lambda keys: [key != "c" for key in keys]) == 0
    assert read(tmp_path / "table") == counting(store, one)


def test_rows_of_a_fresh_run_that_older_ones_beat_are_not_passed_over(work, store, write, tmp_path, monkeypatch):
    monkeypatch.setattr(delta_output, "BATCH_ROWS", 1)
    monkeypatch.setattr(delta_output, "_PIECE_ROWS", 1)
    older, fresh = work.run(), work.run(fresh=True)
    rows(store, work, older, row("a", ended_at=9.0))
    rows(store, work, fresh, row("a", status="provider_error"), row("b"))  # "a" goes to history/, and comes last
    properties, commits = delta_output._properties, []

    def cut_off_at_the_second(*given):
        commits.append(1)
        if len(commits) == 2:
            raise KeyboardInterrupt
        return properties(*given)

    monkeypatch.setattr(delta_output, "_properties", cut_off_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write(fresh)
    assert [found["trial_key"] for found in read(tmp_path / "table")] == ["b"]
    assert write(fresh) == 1
    assert read(tmp_path / "table") == counting(store, fresh)


def test_what_was_committed_is_not_sent_again_even_if_it_was_deleted_there(work, store, write, tmp_path):
    run = work.run()
    rows(store, work, run, row("a"), row("b"))
    write(run)
    DeltaTable(tmp_path / "table").delete("trial_key = 'b'")
    rows(store, work, run, row("c"))
    assert write(run) == 1
    assert [found["trial_key"] for found in read(tmp_path / "table")] == ["a", "c"]


def test_endless_conflicts_end_with_what_to_do(work, store, write, monkeypatch):
    monkeypatch.setattr(delta_table, "COMMIT_ATTEMPTS", 2)
    run = work.run()
    rows(store, work, run, row("a"))
    tries = []

    def beaten(*given, **named):
        tries.append(1)
        raise CommitFailedError("Concurrent transaction failed")

    monkeypatch.setattr(delta_output, "_properties", beaten)
    with pytest.raises(StoreError, match=r"2 attempts.*rows are safe in .*same command"):
        write(run)
    assert len(tries) == 3


def test_a_table_of_another_schema_is_refused_with_the_columns_named(work, store, write, tmp_path):
    import pyarrow as pa

    run = work.run()
    rows(store, work, run, row("a"))
    write_deltalake(tmp_path / "foreign", pa.table({"a": [1]}))
    write(run)
    rows_there = DeltaTable(tmp_path / "table").to_pyarrow_table()
    place = rows_there.schema.get_field_index("epoch")
    write_deltalake(tmp_path / "wrong", rows_there.set_column(place, "epoch", pa.array(["0"])))
    strict = rows_there.append_column(pa.field("must", pa.string(), nullable=False), pa.array(["x"]))
    write_deltalake(tmp_path / "strict", strict)
    for name, told in [
        ("foreign", "trial_key is not there"),
        ("wrong", "epoch is string, not long"),
        ("strict", "must may not be null"),
    ]:
        for act in (
            lambda name: check_output(f"delta:{tmp_path / name}", {}),
            lambda name: write(run, tmp_path / name),
        ):
            with pytest.raises(UsageError, match=told):
                act(name)
        with pytest.raises(UsageError, match=r"^--output: "):
            check_output(f"delta:{tmp_path / name}", {})
        assert DeltaTable(tmp_path / name).version() == 0


def test_a_table_with_fewer_or_more_columns_takes_part(work, store, write, tmp_path):
    import pyarrow as pa

    run = work.run()
    rows(store, work, run, row("a", status="provider_error"), row("b"))
    write(run, tmp_path / "first")
    old = DeltaTable(tmp_path / "first").to_pyarrow_table().drop_columns(["cache_hits", "answer"])
    for name in ("append", "merge"):
        write_deltalake(tmp_path / name, old.append_column("reviewed_by", pa.array(["me", "me"])))
        check_output(f"delta:{tmp_path / name}", {})
    rows(store, work, run, row("c") | {"answer": "x"})
    write(run, tmp_path / "append")
    rows(store, work, run, row("a", ended_at=2.0) | {"answer": "y"})
    write(run, tmp_path / "merge")
    found = DeltaTable(tmp_path / "append").to_pyarrow_table().sort_by("trial_key").to_pylist()
    assert [(one["answer"], one["reviewed_by"]) for one in found] == [(None, "me"), (None, "me"), ("x", None)]
    found = DeltaTable(tmp_path / "merge").to_pyarrow_table().sort_by("trial_key").to_pylist()
    assert [one["answer"] for one in found] == ["y", None, "x"]
    assert [one["reviewed_by"] for one in found] == ["me", "me", None]


def test_files_of_others_stay_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    for name, told in [("file", "file"), ("file/below", "file"), ("folder", r"notes\.txt")]:
        with pytest.raises(UsageError, match=told):
            check_output(f"delta:{tmp_path / name}", {})


def test_a_table_whose_making_was_cut_off_is_made(work, store, write, tmp_path):
    (tmp_path / "table" / "_delta_log").mkdir(parents=True)
    check_output(f"delta:{tmp_path / 'table'}", {})
    run = work.run()
    rows(store, work, run, row("a"))
    assert write(run) == 1


def test_odd_names_of_directories_are_taken_as_they_are(work, store, write, tmp_path):
    run = work.run()
    rows(store, work, run, row("a"))
    place = tmp_path / "a b#1?x=y 表"
    write(run, place)
    check_output(f"delta:{place}", {})
    assert read(place) == counting(store, run)
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith("a")) == [place.name]


def test_a_damaged_table_is_told(tmp_path):
    (tmp_path / "table" / "_delta_log").mkdir(parents=True)
    (tmp_path / "table" / "_delta_log" / f"{0:020}.json").write_text("{not json")
    with pytest.raises(UsageError, match="table cannot be read"):
        check_output(f"delta:{tmp_path / 'table'}", {})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "delta",
        "delta:",
        "delta:50%25",
        "delta: ",
        "parquet:x",
        "gs://b/x",
        "delta:gs://b/x",
        "openai-batch:",
        "openai-batch:s3://b/x",
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/a?b",
        "s3://bucket/a#b",
        "s3://bucket/../x",
        "s3://bucket/a//b",
    ],
)
def test_other_outputs_are_refused(url):
    with pytest.raises(UsageError, match="--output"):
        check_output(url, {})


def test_a_key_in_the_url_is_not_repeated():
    with pytest.raises(UsageError) as refused:
        parse_output("s3://AKIAKEY:hush@bucket/x")
    assert "hush" not in str(refused.value)
    assert "AKIAKEY" not in str(refused.value)


def test_a_missing_package_is_named_with_the_command_that_mends_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(UsageError, match="pip install deltalake"):
        check_output(f"delta:{tmp_path / 'table'}", {})


def test_the_store_is_not_locked_while_rows_are_sent(work, store, write):
    run = work.run()
    rows(store, work, run, row("a"))
    with output._spool(store, run, None) as spooled:
        work.end(run, 1, row("b"))
        assert store.merge([run]) == 1
        assert sum(table.num_rows for table in output._tables(spooled)) == 1
    assert not [each for each in store.path.iterdir() if each.name.startswith("tmp")]


def test_errors_that_are_ours_to_mend_are_not_swallowed(tmp_path):
    def wrong(_):
        raise TypeError("a mistake of the program")

    with pytest.raises(TypeError):
        Target(place=str(tmp_path / "table")).attempt(wrong)
