"""Checking prepared banks: what their rows give must be what their names say."""

from __future__ import annotations

import random

import pytest

from questions.bank import BankSource, prepare_bank
from questions.checking import check_banks


@pytest.fixture
def bank(tmp_path):
    lines = (f'{{"question": "{n} + 1?", "answer": "{n + 1}", "subject": "s{n % 3}"}}' for n in range(50))
    (tmp_path / "bank.jsonl").write_text("\n".join(lines))
    made = prepare_bank(BankSource(path=str(tmp_path / "bank.jsonl")), tmp_path / "banks", print)
    return tmp_path / "banks" / f"{made.digest}.arrow"


def damaged(path) -> list[str]:
    return [why for _, why in check_banks(path.parent)]


def test_a_bank_as_it_was_prepared_is_sound(bank):
    assert damaged(bank) == []


@pytest.mark.parametrize(("was", "now"), [(b"7 + 1?", b"7 + 2?"), (b'"s1"', b'"s2"')])
def test_changed_rows_are_told(bank, was, now):
    content = bank.read_bytes()
    assert was in content
    bank.write_bytes(content.replace(was, now, 1))
    assert len(damaged(bank)) == 1


def test_a_bank_under_another_name_is_told(bank):
    bank.rename(bank.with_name(f"{'0' * 32}.arrow"))
    assert len(damaged(bank)) == 1


def test_torn_and_zeroed_banks_are_told_and_never_end_the_check(bank):
    content, draw = bank.read_bytes(), random.Random(3)
    for _ in range(40):
        size = draw.randrange(len(content))
        bank.write_bytes(content[:size])
        assert len(damaged(bank)) == 1
        start = draw.randrange(len(content) // 2)
        bank.write_bytes(content[:start] + bytes(300) + content[start + 300 :])
        assert len(damaged(bank)) <= 1
