"""What was paid is read off journals while they grow: all of it, once, and whatever stands in the texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.journal import JournalWriter, encode
from stores.spending import Spending
from trials.words import Completion


def reply(cost_usd: float | None, text: str = "", *, again: bool = False) -> dict[str, object]:
    event: dict[str, object] = {"kind": "completion", "number": 3, "index": 0}
    event["completion"] = Completion(text=text, cost_usd=cost_usd)
    return {**event, "again": True} if again else event


def spending_of(*paths: Path) -> Spending:
    return Spending(lambda: dict(enumerate(paths, 1)))


def test_replies_are_added_up_by_shard_as_they_come(tmp_path: Path) -> None:
    paths = tmp_path / "1", tmp_path / "2"
    spending = spending_of(*paths)
    spending.update()  # before there is any journal
    assert spending.usd == 0
    writers = [JournalWriter(path) for path in paths]
    for cost in (0.25, 0.5):
        for place, writer in enumerate(writers, 1):
            writer.append({"kind": "begun", "number": 3})
            writer.append(reply(cost * place))
        spending.update()
        spending.update()
    assert spending.usd_by_shard == {1: 0.75, 2: 1.5}
    assert spending.usd == 2.25


def test_a_reply_that_is_recorded_again_is_paid_once(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "1")
    writer.append(reply(0.25))
    writer.append(reply(0.25, again=True))
    spending = spending_of(tmp_path / "1")
    spending.update()
    assert spending.usd == 0.25


def test_a_line_counts_once_it_is_whole(tmp_path: Path) -> None:
    line = encode(reply(0.25))
    path, spending = tmp_path / "1", spending_of(tmp_path / "1")
    path.write_bytes(line + line[:-30])
    spending.update()
    assert spending.usd == 0.25
    with path.open("ab") as file:
        file.write(line[-30:])
    spending.update()
    assert spending.usd == 0.5


def test_what_costs_nothing_and_what_has_no_price_add_nothing(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "1")
    for cost in (None, 0.0, 1e-07):
        writer.append(reply(cost))
    writer.append({"kind": "ended", "number": 3, "row": {"cost_usd": 5.0, "status": "scored", "outcome": "full"}})
    spending = spending_of(tmp_path / "1")
    spending.update()
    assert spending.usd == pytest.approx(1e-07)


@given(st.lists(st.tuples(st.text(), st.floats(0, 100)), max_size=20), st.integers(1, 1 << 12))
def test_no_text_is_taken_for_a_cost(tmp_path_factory: pytest.TempPathFactory, replies: list, size: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "1"
    spending = spending_of(path)
    path.touch()
    tricks = ('"kind":"completion","cost_usd":9},"crc":"00000000"}\n', '},"again":true,"crc":"00000000"}')
    for text, cost in replies:
        with path.open("ab") as file:
            file.write(encode(reply(cost, text * (size % 7) + tricks[size % 2])))
        spending.update()
    assert spending.usd == pytest.approx(sum(cost for _, cost in replies))
