"""Verifying: every damage is told, and nothing else is. More cycles: ``VERIFY_CYCLES=200 pytest …``."""

from __future__ import annotations

import os
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_runs import row
from sound_stores import content, corrupt, sound_store

from stores.findings import DAMAGED, INCOMPLETE, NOTE, UNTIDY
from stores.parts import next_part_path, part_paths, read_tables
from stores.results import open_store
from stores.verifying import check_store
from trials.errors import StoreError

CYCLES = int(os.environ.get("VERIFY_CYCLES", "16"))


@pytest.fixture(params=["parquet", "json"])
def store(request, work):
    return open_store(work.results, simulated=True, form=request.param)


def told(store) -> list[tuple[str, str]]:
    found = check_store(store.path, store.path.parent / "logs").findings
    return [(one.severity, f"{one.path}: {one.what}") for one in found]


def merged(work, store, *rows, shard: int = 1):
    run = work.run()
    work.end(run, shard, *rows)
    store.merge([run])
    return run


def unsealed(path) -> None:
    """Write a part anew as an earlier version did."""
    rows = pa.concat_tables(read_tables(path))
    if path.suffix == ".parquet":
        pq.write_table(rows, path, compression="zstd")
    else:
        lines = (line.rpartition(b',"seal"')[0] or line.rpartition(b',"crc"')[0] for line in path.open("rb"))
        path.write_bytes(b"".join(line + b"}\n" for line in list(lines)))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_corruption_is_told_and_sound_stores_raise_no_alarm(tmp_path):
    for seed in range(CYCLES):
        root = tmp_path / str(seed)
        root.mkdir()
        _, store = sound_store(root, seed)
        assert told(store) == [], f"false alarm with seed {seed}"
        how = corrupt(random.Random(seed), store)
        assert any(severity == DAMAGED for severity, _ in told(store)), f"missed with seed {seed}: {how}"
        shutil.rmtree(root)


def test_checking_changes_nothing(work, store):
    merged(work, store, row("a"), row("b"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in content(store)}
    assert told(store) == []
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in content(store)} == before


def test_every_bit_of_a_small_part_counts(work):
    store = open_store(work.results, simulated=True, form="json")
    merged(work, store, row("a"))
    (part,) = store.trial_parts()
    whole = part.read_bytes()
    draw = random.Random(1)
    for bit in draw.sample(range(8 * len(whole)), 60):
        part.write_bytes(bytes(byte ^ (1 << bit % 8) if at == bit // 8 else byte for at, byte in enumerate(whole)))
        assert any(severity == DAMAGED for severity, _ in told(store)), f"bit {bit}"


def test_parts_of_an_earlier_version_are_unverifiable_not_damaged(work, store):
    merged(work, store, row("a"), row("b", status="provider_error"))
    for path in (*store.trial_parts(), *part_paths(store.path / "conversations", "parquet")):
        unsealed(path)
    findings = told(store)
    assert {severity for severity, _ in findings} == {NOTE}
    assert all("unverifiable" in what for _, what in findings)
    assert len(findings) == 2


def test_an_unsealed_part_that_contradicts_its_journal_is_damaged(work, store):
    merged(work, store, row("a"), row("b"))
    (part,) = store.trial_parts()
    unsealed(part)
    (table,) = read_tables(part)
    if part.suffix == ".jsonl":
        part.write_bytes(part.read_bytes().replace(b'"variant":"v"', b'"variant":"w"', 1))
    else:
        place = table.schema.get_field_index("variant")
        pq.write_table(table.set_column(place, "variant", pa.array(["w", "v"])), part, compression="zstd")
    assert any(severity == DAMAGED and "say something else" in what for severity, what in told(store))


def test_a_journal_line_that_stored_rows_came_from_may_be_damaged_without_loss(work, store):
    run = merged(work, store, row("a"), row("b"))
    journal = run.journal_path(1)
    journal.write_bytes(journal.read_bytes().replace(b'"variant":"v"', b'"variant":"w"', 1))
    ((severity, what),) = told(store)
    assert severity == NOTE
    assert "1 lines are damaged" in what


def test_a_damaged_journal_line_that_no_row_came_from_is_damage(work, store):
    run = merged(work, store, row("a"))
    work.end(run, 2, row("b"))
    journal = run.journal_path(2)
    journal.write_bytes(journal.read_bytes().replace(b'"variant":"v"', b'"variant":"w"', 1))
    ((severity, what),) = told(store)
    assert severity == DAMAGED
    assert "shards/02" in what


@pytest.mark.parametrize(("tail", "word"), [(b'{"v":1,"kind":"beg', "no whole line"), (b"\0" * 300, "300 zeros")])
def test_a_torn_tail_is_untidy_and_no_damage(work, store, tail, word):
    run = merged(work, store, row("a"))
    with run.journal_path(1).open("ab") as file:
        file.write(tail)
    ((severity, what),) = told(store)
    assert severity == UNTIDY
    assert word in what


def test_a_cut_or_lost_journal_is_told_and_the_rows_with_it(work, store):
    run = merged(work, store, row("a"), row("b"))
    journal = run.journal_path(1)
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]))
    assert any(severity == DAMAGED and "1 rows of the store came from lines" in what for severity, what in told(store))
    journal.unlink()
    assert any(severity == DAMAGED and "2 rows of the store came from it" in what for severity, what in told(store))


def test_ended_trials_that_are_not_merged_are_incomplete_unless_the_run_is_worked_on(work, store):
    run = merged(work, store, row("a"))
    work.end(run, 1, row("b"), row("c"))
    assert [(severity, "2 ended trials are not merged" in what) for severity, what in told(store)] == [
        (INCOMPLETE, True)
    ]
    lock = run.lock()
    assert told(store) == []
    lock.release()


def test_leftovers_and_strangers_are_told_as_such(work, store):
    merged(work, store, row("a"))
    (store.trials_dir / ".part-000002.parquet.tmp").write_bytes(b"half")
    (store.path / "notes of mine.txt").write_text("hello")
    store.trials_dir.joinpath("part-000001.csv").write_text("a")
    for path in store.path.rglob("*"):
        path.chmod(0o600 if path.is_file() else 0o700)
    findings = told(store)
    assert {severity for severity, _ in findings} == {UNTIDY}
    assert sum("unknown" in what for _, what in findings) == 2
    assert sum("killed process" in what for _, what in findings) == 1


def test_what_others_may_read_is_told(work, store):
    run = merged(work, store, row("a"))
    (store.path / "summary.json").chmod(0o644)
    (run.path / "run.json").chmod(0o640)
    assert [severity for severity, _ in told(store)] == [UNTIDY, UNTIDY]


def test_a_merge_that_was_cut_off_is_no_damage(work, store):
    run = merged(work, store, row("a", status="provider_error"))
    parts = {path: path.read_bytes() for path in store.trial_parts()}
    summary = (store.path / "summary.json").read_bytes()
    work.end(run, 1, row("a", ended_at=2.0))
    store.merge([run])
    # As it was after the commit, before the loser moved to the history and the summary was written:
    shutil.rmtree(store.path / "history")
    for path, before in parts.items():
        path.write_bytes(before)
    (store.path / "summary.json").write_bytes(summary)
    assert {severity for severity, _ in told(store)} == {UNTIDY}
    store.merge([run])
    assert told(store) == []


def test_a_merge_that_was_cut_off_between_conversations_and_rows_is_incomplete(work, store):
    run = merged(work, store, row("a"))
    summary = (store.path / "summary.json").read_bytes()
    work.end(run, 1, row("b"))
    store.merge([run])
    store.trial_parts()[-1].unlink()
    (store.path / "summary.json").write_bytes(summary)
    assert {severity for severity, _ in told(store)} == {INCOMPLETE}


def test_rows_that_no_writer_of_ours_would_write_are_told(work, store):
    merged(work, store, row("a"))
    odd = {**row("b"), "status": "great", "score": 2.0, "simulated": False, "run_id": "elsewhere", "shard": 1}
    from stores.parts import PartWriter, schema_of
    from trials.rows import FIELDS

    with PartWriter(next_part_path(store.trials_dir, store.form)) as part:
        part.write(pa.Table.from_pylist([{**odd, "journal_offset": 5}], schema=schema_of(FIELDS)))
    words = " ".join(what for _, what in told(store))
    for expected in ("a status that is none", "score outside [0, 1]", "the other kind of result"):
        assert expected in words


def test_run_names_in_rows_lead_to_no_file_outside(work, store, tmp_path):
    from stores.verify_journals import journal_of

    assert journal_of(tmp_path, "../elsewhere", 1) is None
    assert journal_of(tmp_path, "/etc", 1) is None
    assert journal_of(tmp_path, "..", 1) is None
    assert journal_of(tmp_path, "run", 1) is not None


def test_a_head_of_a_later_version_is_left_to_that_version(work, store):
    merged(work, store, row("a"))
    (store.path / "store.json").write_text('{"schema":99,"kind":"simulated","form":"parquet"}')
    ((severity, what),) = told(store)
    assert severity == DAMAGED
    assert "another version" in what


def test_where_there_is_no_store_that_is_said(tmp_path):
    with pytest.raises(StoreError, match="no results store here"):
        check_store(tmp_path, tmp_path)
    with pytest.raises(StoreError, match="no results store here"):
        check_store(tmp_path / "nothing", tmp_path)
