"""Parts are there whole or not at all, hold the same rows in both forms, and need little memory whatever their size."""

from __future__ import annotations

import orjson
import pytest
from sample_runs import row

from stores.parts import (
    FORMS,
    GROUP_BYTES,
    SUFFIXES,
    PartWriter,
    parse_rows,
    read_part,
    read_row,
    read_tables,
    schema_of,
)
from trials.errors import StoreError
from trials.rows import FIELDS


def table_of(*rows):
    return parse_rows([orjson.dumps(one) for one in rows], schema_of(FIELDS))


@pytest.fixture(params=FORMS)
def path(request, tmp_path):
    return tmp_path / "trials" / f"part-000001{SUFFIXES[request.param]}"


def test_rows_come_back_in_their_order_whatever_tables_they_came_in(path):
    rows = [row(str(n), ended_at=n / 7) for n in range(20)]
    with PartWriter(path) as part:
        for start in range(0, 20, 6):
            part.write(table_of(*rows[start : start + 6]))
    assert part.rows == 20
    assert list(read_part(path)) == rows
    assert [read_row(path, number) for number in (0, 7, 19)] == [rows[0], rows[7], rows[19]]
    assert [one for table in read_tables(path, ["epoch", "trial_key"]) for one in table.to_pylist()][3] == {
        "epoch": 0,
        "trial_key": "3",
    }


def test_large_parts_are_written_and_read_in_pieces(path):
    long = [row(str(n)) | {"error_message": "x" * (GROUP_BYTES // 4)} for n in range(9)]
    with PartWriter(path) as part:
        for one in long:
            part.write(table_of(one))
    assert max(table.nbytes for table in read_tables(path)) < 2 * GROUP_BYTES
    assert read_row(path, 8) == long[8]


def test_nothing_is_left_of_a_part_that_was_cut_off(path):
    def cut_off():
        with PartWriter(path) as part:
            part.write(table_of(row("a") | {"error_message": "x" * GROUP_BYTES}))
            assert len(list(path.parent.iterdir())) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert list(path.parent.iterdir()) == []


def test_no_rows_leave_no_file_and_what_was_there_stays(path):
    with PartWriter(path) as part:
        part.write(table_of(row("a")))
    with PartWriter(path) as part:
        part.write(table_of(row("b")).slice(1))
    assert part.rows == 0
    assert [one["trial_key"] for one in read_part(path)] == ["a"]


def test_a_part_may_replace_the_one_it_is_made_from(path):
    with PartWriter(path) as part:
        part.write(table_of(row("a"), row("b")))
    with PartWriter(path) as part:
        for table in read_tables(path):
            part.write(table.slice(1))
    assert [one["trial_key"] for one in read_part(path)] == ["b"]


def test_a_column_that_an_older_part_has_not_holds_nothing(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(table_of(row("a")).drop_columns(["origin", "model"]), tmp_path / "part-000001.parquet")
    (tmp_path / "part-000001.jsonl").write_bytes(b'{"trial_key":"a","simulated":true}\n')
    for path in sorted(tmp_path.iterdir()):
        assert list(read_part(path, ["origin", "trial_key", "model"])) == [
            {"origin": None, "trial_key": "a", "model": None}
        ]
        assert read_row(path, 0)["model"] is None


def test_a_damaged_part_is_named(path):
    path.parent.mkdir()
    path.write_bytes(b"not a part")
    with pytest.raises(StoreError, match=path.name):
        list(read_tables(path))
    with pytest.raises(StoreError, match=path.name):
        read_row(path, 0)


def test_a_disk_that_takes_no_more_is_told(path):
    path.parent.mkdir()
    path.with_name(f".{path.name}.tmp").mkdir()
    with pytest.raises(StoreError, match="cannot write"), PartWriter(path) as part:
        part.write(table_of(row("a")))
