"""Which rows count, held against a plain dictionary of rows."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st
from sample_runs import row

from stores import ranking
from stores.parts import ID, PartWriter, parse_rows, read_part, schema_of
from trials.rows import FIELDS

one_row = st.builds(
    lambda key, status, ended_at, run_id, shard, offset: (
        row(key, status=status, ended_at=ended_at) | {"run_id": run_id, "shard": shard, "journal_offset": offset}
    ),
    st.sampled_from("abcd"),
    st.sampled_from(["scored", "provider_error"]),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from(["run", "run-r2"]),
    st.sampled_from([1, 2]),
    st.integers(0, 20),
)


def identity(one: dict) -> tuple:
    return tuple(one[name] for name in ID)


def rank(one: dict) -> tuple:
    return (one["status"] == "scored", one["ended_at"], *identity(one))


def written(folder, *parts):
    paths = [folder / f"part-{place:06d}.parquet" for place in range(len(parts))]
    for path, rows in zip(paths, parts, strict=True):
        with PartWriter(path) as part:
            part.write(parse_rows([orjson.dumps(one) for one in rows], schema_of(FIELDS)))
    return paths


def best(rows) -> dict:
    found: dict = {}
    for one in rows:
        if one["trial_key"] not in found or rank(one) > rank(found[one["trial_key"]]):
            found[one["trial_key"]] = one
    return found


several = st.lists(st.lists(one_row, min_size=1, max_size=6, unique_by=identity), min_size=1, max_size=3)


@given(several)
def test_the_rows_that_count_are_those_a_dictionary_would_keep(tmp_path_factory, parts):
    # One journal line tells of one trial only.
    keys = {}
    parts = [[one | {"trial_key": keys.setdefault(identity(one), one["trial_key"])} for one in rows] for rows in parts]
    known: dict = {}
    parts = [[known.setdefault(identity(one), one) for one in rows] for rows in parts]
    paths = written(tmp_path_factory.mktemp("store") / "trials", *parts)
    every = [one for rows in parts for one in rows]
    for run_id in (None, "run"):
        expected = best(one for one in every if run_id in (None, one["run_id"]))
        found = [one for table in ranking.counting(paths, ("trial_key", *ID), run_id) for one in table.to_pylist()]
        assert {one["trial_key"]: identity(one) for one in found} == {
            key: identity(one) for key, one in expected.items()
        }
        assert len(found) == len(expected)


def test_beaten_rows_are_told_once_and_copies_as_such(tmp_path):
    def of(offset, **changes):
        return row("a", **changes) | {"run_id": "run", "shard": 1, "journal_offset": offset}

    old, new = of(0, status="provider_error"), of(9)
    other = row("b") | {"run_id": "run", "shard": 1, "journal_offset": 5}
    trials = written(tmp_path / "trials", [old, other], [new, old], [new])
    lost, moving = ranking.leaving(trials, [])
    assert lost.sort_by([("part", "ascending"), ("row", "ascending")]).to_pylist() == [
        {"part": 0, "row": 0},
        {"part": 1, "row": 0},
        {"part": 1, "row": 1},
    ]
    assert moving.to_pylist() == [{"part": 1, "row": 1}]
    assert ranking.leaving(trials, written(tmp_path / "history", [old]))[1].num_rows == 0
    assert ranking.leaving(trials, written(tmp_path / "history", [other]))[1].num_rows == 1
    left = [
        one
        for place, part in enumerate(trials)
        for table in ranking.pick(part, ranking.rows_of(place, lost), but=True)
        for one in table.to_pylist()
    ]
    assert left == [other, new]


def test_keys_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    import pyarrow as pa

    monkeypatch.setattr(ranking, "_hashes", lambda keys: pa.array([7] * len(keys), pa.int64()))
    rows = [row(key) | {"run_id": "run", "shard": 1, "journal_offset": place} for place, key in enumerate("abca")]
    paths = written(tmp_path / "trials", rows)
    assert ranking.beaten(paths).to_pylist() == [{"part": 0, "row": 0}]


def test_many_contested_keys_are_looked_at_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(ranking, "KEYS_AT_A_TIME", 3)
    rows = [row(str(n % 10)) | {"run_id": "x", "shard": 1, "journal_offset": n} for n in range(20)]
    paths = written(tmp_path / "trials", rows[:15], rows[15:])
    lost, moving = ranking.leaving(paths, [])
    assert sorted(lost["row"].to_pylist()) == sorted(moving["row"].to_pylist()) == list(range(10))


def test_last_offsets_are_those_of_each_journal(tmp_path):
    rows = [
        row(str(offset)) | {"run_id": run_id, "shard": shard, "journal_offset": offset}
        for run_id, shard, offset in [("x", 1, 5), ("x", 2, 900), ("y", 1, 7), ("x", 1, 3)]
    ]
    paths = written(tmp_path / "trials", rows[:2], rows[2:])
    assert ranking.last_offsets(paths) == {("x", 1): 5, ("x", 2): 900, ("y", 1): 7}
    assert ranking.last_offsets([]) == {}


def test_places_are_found_across_tables(tmp_path):
    rows = [row(f"k{n}") | {"run_id": "x", "shard": n % 2, "journal_offset": n} for n in range(10)]
    (path,) = written(tmp_path / "trials", rows)
    place = ranking.place_of(path, {"run_id": "x", "shard": 1, "journal_offset": 7})
    assert list(read_part(path))[place]["trial_key"] == "k7"
    assert ranking.place_of(path, {"run_id": "x", "shard": 0, "journal_offset": 7}) is None
    assert ranking.keys_beginning([path], "k") == (10, "k0", "k9")
    assert ranking.keys_beginning([path], "z") == (0, "", "")
