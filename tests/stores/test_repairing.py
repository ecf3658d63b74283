"""Repairing: nothing deleted, all that journals or damaged files still hold is back, and the rest is named."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from sample_runs import row
from sound_stores import content, corrupt, sound_store

from stores.findings import ASIDE, DAMAGED, INCOMPLETE, LOST, UNTIDY
from stores.parts import PartWriter, part_paths, read_part, read_tables
from stores.repairing import repair_store
from stores.results import open_store, read_store
from stores.verifying import check_store
from trials.errors import StoreError, UsageError

CYCLES = int(os.environ.get("VERIFY_CYCLES", "16")) // 2
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=["parquet", "json"])
def store(request, work):
    return open_store(work.results, simulated=True, form=request.param)


def repaired(store):
    return repair_store(store.path, store.path.parent / "logs")


def findings(store):
    return check_store(store.path, store.path.parent / "logs").findings


def rows(store) -> dict[str, list[str]]:
    """What a store holds, whatever parts it is in."""
    store = read_store(store.path)
    forms = {"trials": store.form, "history": store.form, "conversations": "parquet"}
    return {
        name: sorted(repr(one) for part in part_paths(store.path / name, form) for one in read_part(part))
        for name, form in forms.items()
    }


def bytes_of(store) -> dict:
    return {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}


def three_merges(work, store):
    run = work.run()
    for name in "abc":
        work.end(run, 1, *(row(f"{name}{n}") for n in range(4)))
        store.merge([run])
    return run


def spoil(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    return bytes(data)


def test_a_sound_store_is_left_as_it_is(work, store):
    three_merges(work, store)
    before = bytes_of(store)
    done = repaired(store)
    assert (done.moved, done.rows, done.conversations, done.lost_rows) == ([], 0, 0, 0)
    assert bytes_of(store) == before


@pytest.mark.parametrize("folder", ["trials", "conversations"])
def test_a_middle_part_comes_back_from_the_journals_where_a_merge_would_pass_it_over(work, store, folder):
    run = three_merges(work, store)
    before = rows(store)
    part = sorted((store.path / folder).iterdir())[1]
    damaged = spoil(part)
    done = repaired(store)
    assert done.moved == [str(part)]
    assert done.lost_rows == 0
    assert rows(store) == before
    assert findings(store) == ()
    (aside,) = (store.path / ASIDE).iterdir()
    assert (aside / folder / part.name).read_bytes() == damaged
    assert str(part) in (aside / "notes.jsonl").read_text()
    assert store.merge([run]) == 0


def test_a_deleted_middle_part_comes_back_too(work, store):
    run = three_merges(work, store)
    before = rows(store)
    store.trial_parts()[1].unlink()
    assert store.merge([run]) == 0
    assert repaired(store).rows == 4
    assert rows(store) == before
    assert findings(store) == ()


def test_without_journals_readable_lines_and_row_groups_are_salvaged_and_the_rest_named(work, store, monkeypatch):
    run = work.run()
    work.end(run, 1, *(row(f"k{n}") for n in range(6)))
    store.merge([run])
    (part,) = store.trial_parts()
    with PartWriter(part) as again:  # in Parquet: a row group for each row
        again._waiting_bytes = 1 << 30
        for table in list(read_tables(part)):
            for place in range(table.num_rows):
                again.write(table.slice(place, 1))
                again._waiting_bytes = 1 << 30
    shutil.rmtree(run.path)
    data = bytearray(part.read_bytes())
    place = data.find(b"k3")
    data[place + 1] ^= 8
    part.write_bytes(data)
    done = repaired(store)
    assert done.lost_rows == 1
    assert done.lost_keys == ["k3"]
    assert sorted(one["trial_key"] for one in read_store(store.path).rows()) == ["k0", "k1", "k2", "k4", "k5"]
    told = findings(store)
    assert {one.severity for one in told} == {INCOMPLETE}
    assert any("k3" in one.what for one in told)
    noted = [orjson.loads(line) for path in store.path.glob(f"{ASIDE}/*/{LOST}") for line in path.open("rb")]
    assert [one["trial_key"] for one in noted if one.get("lost") == "row"] == ["k3"]
    before = bytes_of(store)
    assert repaired(store).lost_rows == 0
    assert bytes_of(store) == before
    monkeypatch.chdir(store.path)
    assert {one.severity for one in check_store(Path(), Path("../logs")).findings} == {INCOMPLETE}


def test_what_is_lost_for_good_hides_no_new_damage(work, store):
    run = three_merges(work, store)
    shutil.rmtree(run.path)
    store.trial_parts()[1].unlink()
    repaired(store)
    assert {one.severity for one in findings(store)} == {INCOMPLETE}
    store.trial_parts()[0].unlink()
    assert DAMAGED in {one.severity for one in findings(store)}


def test_a_replaced_row_counts_again_when_its_better_is_lost(work, store):
    run = work.run()
    work.end(run, 1, row("a", status="provider_error"), row("b"))
    store.merge([run])
    work.end(run, 1, row("a", ended_at=2.0))
    store.merge([run])
    shutil.rmtree(run.path)
    store.trial_parts()[-1].unlink()
    assert repaired(store).lost_rows == 1
    assert {one["trial_key"]: one["status"] for one in store.rows()} == {"a": "provider_error", "b": "scored"}
    assert store.history_parts() == []
    assert DAMAGED not in {one.severity for one in findings(store)}


def test_swapped_files_are_sorted_out_without_journals(work, store):
    run = three_merges(work, store)
    before = rows(store)
    shutil.rmtree(run.path)
    one, other = store.trial_parts()[0], store.path / "conversations" / "part-000002.parquet"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert repaired(store).lost_rows == 0
    assert rows(store) == before
    assert findings(store) == ()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema":1,"kind":"simulatfd","form":"parquet"}', None])
def test_a_damaged_head_is_written_again(work, store, content):
    three_merges(work, store)
    head = store.path / "store.json"
    before = head.read_bytes()
    head.unlink() if content is None else head.write_bytes(content)
    repaired(store)
    assert head.read_bytes() == before
    assert findings(store) == ()


def test_a_head_of_a_later_version_is_not_touched(work, store):
    three_merges(work, store)
    (store.path / "store.json").write_text('{"schema":99,"kind":"simulated","form":"parquet"}')
    before = bytes_of(store)
    with pytest.raises(StoreError, match="another version"):
        repaired(store)
    assert bytes_of(store) == before


def test_rights_of_others_and_leftovers_go(work, store):
    run = three_merges(work, store)
    leftover = store.trials_dir / ".part-000009.parquet.tmp"
    leftover.write_bytes(b"half")
    (run.path / "run.json").chmod(0o644)
    assert {one.severity for one in findings(store)} == {UNTIDY}
    assert repaired(store).moved == [str(leftover)]
    assert findings(store) == ()


def test_nothing_is_repaired_while_a_run_is_worked_on(work, store):
    run = three_merges(work, store)
    spoil(store.trial_parts()[0])
    before = bytes_of(store)
    lock = run.lock()
    with pytest.raises(UsageError, match="is being worked on"):
        repaired(store)
    lock.release()
    assert bytes_of(store) == before


def test_a_copy_of_a_store_takes_nothing_from_runs_that_are_not_its_own(work, store):
    run = three_merges(work, store)
    copy = read_store(shutil.copytree(store.path, store.path.parent / "copy"))
    work.end(run, 1, row("later"))
    spoil(copy.trial_parts()[1])
    repaired(copy)
    assert len(list(copy.rows())) == 12
    assert findings(copy) == ()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_after_any_corruption_all_is_back_if_the_journals_are_there(tmp_path):
    for seed in range(CYCLES):
        root = tmp_path / str(seed)
        root.mkdir()
        _, store = sound_store(root, seed)
        journals = {path.parent.parent.parent.name for path in root.glob("logs/*/shards/*/journal.jsonl")}
        parts = (*store.trial_parts(), *store.history_parts())
        whole = {one["run_id"] for part in parts for one in read_part(part, ("run_id",))} <= journals
        before, files = rows(store), bytes_of(store)
        how = corrupt(random.Random(seed), store)
        broken = {path: path.read_bytes() for path in content(store)}
        repaired(store)
        after = findings(store)
        assert DAMAGED not in {one.severity for one in after}, f"seed {seed}: {how}: {after}"
        if whole:
            assert rows(store) == before, f"seed {seed}: {how}"
            assert after == (), f"seed {seed}: {how}"
        kept = set(bytes_of(store).values())
        gone = [path for path, data in broken.items() if files.get(path) != data and data not in kept]
        assert gone == [], f"seed {seed}: {how}: deleted {gone}"
        state = bytes_of(store)
        repaired(store)
        assert bytes_of(store) == state, f"seed {seed}: {how}: a second repair changed something"
        shutil.rmtree(root)


@pytest.mark.slow
def test_a_repair_that_is_killed_is_finished_by_the_next(tmp_path):
    points = range(1, 60) if CYCLES >= 100 else (2, 5, 9, 14)
    died = 0
    for at in points:
        root = tmp_path / str(at)
        root.mkdir()
        work, store = sound_store(root, 11)
        run = work.run()
        work.end(run, 1, *(row(f"z{n}") for n in range(9)))
        store.merge([run])
        before = rows(store)
        spoil(store.trial_parts()[0])
        spoil(part_paths(store.path / "conversations", "parquet")[-1])
        (store.path / "summary.json").unlink()
        (store.path / "store.json").write_bytes(b"{")
        command = [sys.executable, str(Path(__file__).with_name("dying_repair.py")), store.path, root / "logs", str(at)]
        code = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        died += code != 0
        repaired(store)
        assert rows(store) == before, f"killed at {at}"
        assert [one for one in findings(store) if one.severity != UNTIDY] == [], f"killed at {at}"
        if code == 0:
            break
    assert died >= 3
