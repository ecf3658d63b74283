"""Numbers of trials by their keys."""

from __future__ import annotations

from stores.trial_index import BATCH, TrialIndex, batched


def test_every_key_has_its_number_and_a_foreign_one_none():
    index = TrialIndex(f"key-{number}" for number in range(BATCH + 10))
    assert index.numbers(["key-3", "nobody's", f"key-{BATCH + 9}", "key-3"]) == [3, None, BATCH + 9, 3]
    assert TrialIndex([]).numbers(["key-0"]) == [None]


def test_batches_hold_everything_in_order():
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []
