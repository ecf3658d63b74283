"""Ended trials go from journals to columns without being parsed, and come out as if they had been."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_runs import row

from stores.endings import new_results
from stores.journal import JournalWriter, encode, read_endings, read_events
from stores.parts import GROUP_BYTES, ID
from trials.rows import FIELDS, SHARED

words = st.sampled_from(
    [
        "",
        "plan",
        'a "quoted" word',
        '},"conversation":[',
        '],"detail":{',
        '},"shared":{',
        "detail",
        "\\",
        "\n",
        "größer, 错误",
        "\ud800",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["detail", "conversation", "row", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
shared = st.fixed_dictionaries({}, optional={"shared": st.dictionaries(words, words | st.integers(0, 9), max_size=3)})
said = {"conversation": st.lists(values, max_size=3), "detail": st.dictionaries(words, values, max_size=3)}


def parsed(path: Path) -> list[tuple]:
    """What reading the whole events tells of the ends."""
    events = [(offset, event) for offset, event in read_events(path) if event["kind"] == "ended"]
    names = {"row": {}, "shared": {}, "conversation": [], "detail": {}}
    return [(offset, *(event.get(name, nothing) for name, nothing in names.items())) for offset, event in events]


def cut(path: Path) -> list[tuple]:
    return [(offset, *map(orjson.loads, ending)) for offset, ending in read_endings(path)]


@given(shared, st.fixed_dictionaries({}, optional=said), words)
def test_texts_cut_out_say_what_parsing_says(tmp_path_factory, common, told, message):
    path = tmp_path_factory.mktemp("cut") / "j"
    before = {"kind": "completion", "number": 1, "index": 0, "completion": told}
    ended = {"kind": "ended", "number": 1, "row": {"trial_key": "a", "error_message": message}}
    ended |= common | told
    path.write_bytes(b"".join(map(encode, [before, ended, {**ended, "kind": "beaten"}, ended])))
    assert len(parsed(path)) == 2
    assert cut(path) == parsed(path)


@pytest.mark.parametrize(
    "event",
    [
        {"number": 1, "kind": "ended", "row": {"a": 1}, "conversation": [], "detail": {}},
        {"kind": "ended", "number": 1, "shared": {"b": 2}, "row": {"a": 1}, "conversation": [], "detail": {}},
        {"kind": "ended", "number": 1, "row": {"a": 1}, "conversation": [], "shared": {"b": 2}, "detail": {}},
        {"kind": "ended", "number": 1, "conversation": [{"row": 1}], "row": {"a": 1}, "detail": {}},
        {"kind": "ended", "number": 1, "row": {"a": 1}, "conversation": [{"x": [], "detail": {}}]},
        {"kind": "ended", "number": 1, "row": {"a": 1}, "detail": {"x": {}, "conversation": [[], {}]}},
    ],
)
def test_an_event_in_another_order_is_parsed(tmp_path, event):
    (tmp_path / "j").write_bytes(encode(event))
    assert cut(tmp_path / "j") == parsed(tmp_path / "j") != []


@pytest.mark.parametrize("whole", [(), (1,), (0, 1, 2)], ids=["new", "both", "old"])
def test_what_rows_share_is_told_once_for_all_or_stands_in_each(work, whole):
    """Journals once held whole rows; both kinds may stand in one journal, and end in the same columns."""
    run = work.run()
    rows = [row(key) | {"model": f"m{key}", "max_turns": 7} for key in "abc"]
    with closing(JournalWriter(run.journal_path(1))) as journal:
        for number, one in enumerate(rows):
            own = {name: value for name, value in one.items() if name not in SHARED}
            parts = {"row": one} if number in whole else {"row": own, "shared": {name: one[name] for name in SHARED}}
            journal.append({"kind": "ended", "number": number, **parts, "conversation": [], "detail": {}})
    [table] = new_results([run], {}, None)
    assert table.column_names[: len(FIELDS)] == list(FIELDS)
    told = [{name: one[name] for name in rows[0] if name not in ID} for one in table.to_pylist()]
    assert told == [{name: value for name, value in one.items() if name not in ID} for one in rows]


def test_damage_is_told_of_lines_of_every_kind(tmp_path):
    lines = [encode({"kind": kind, "number": 1, "row": {"a": 1}}) for kind in ("begun", "ended", "beaten", "ended")]
    lines[0] = lines[0].replace(b"begun", b"began")
    lines[1] = lines[1].replace(b'"a"', b'"b"')
    lines[2] = lines[2].replace(b'"v":1', b'"v":2')
    path, told = tmp_path / "j", []
    path.write_bytes(b"".join(lines))
    assert len(list(read_endings(path, 0, lambda *what: told.append(what)))) == 1
    assert told == [(sum(map(len, lines[:place])), "checksum does not match") for place in range(3)]


def test_batches_are_bounded_by_what_they_hold_and_not_by_how_many(work):
    run = work.run()
    long = row("a") | {"error_message": "x" * (GROUP_BYTES // 4)}
    work.end(run, 1, *(long | {"trial_key": str(n)} for n in range(10)))
    tables = list(new_results([run], {}, None))
    assert [table.num_rows for table in tables] == [4, 4, 2]
    assert [key for table in tables for key in table["trial_key"].to_pylist()] == [str(n) for n in range(10)]


def test_a_row_that_does_not_fit_its_columns_is_told_and_the_rest_is_used(work):
    run = work.run()
    rows = [row(str(n)) for n in range(9)]
    rows[5]["turns"] = "many"
    work.end(run, 1, *rows)
    told = []
    tables = list(new_results([run], {}, lambda *what: told.append(what)))
    keys = [key for table in tables for key in table["trial_key"].to_pylist()]
    assert keys == ["0", "1", "2", "3", "4", "6", "7", "8"]
    ((path, offset, why),) = told
    assert path == run.journal_path(1)
    assert offset == parsed(path)[5][0]
    assert "turns" in why
