"""One spelling of a value, whichever library spells it: digests of runs and trials must never change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.digest import canonical, digest

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def spelt_by_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@given(VALUES)
def test_every_value_is_spelt_as_json_does(value):
    assert canonical(value) == spelt_by_json(value)


@pytest.mark.parametrize(
    "value",
    [
        "".join(map(chr, range(0x100))) + "\u2028\u2029\uffff\U0001f600",
        {"\uffff": 1, "\U0001f600": 2, "é": 3, "e": 4, "": 5},
        [2**63, 2**64, -(2**63), 2**200],
        [True, False, None, 0, -0.0, 1e16, 1e-7, float("inf"), 0.1],
        {1: "a", 2: "b"},
        ((), [], {}, [[]], [{}]),
    ],
    ids=["controls", "keys", "integers", "floats", "numbers as keys", "empty"],
)
def test_what_the_libraries_might_spell_differently(value):
    assert canonical(value) == spelt_by_json(value)


@pytest.mark.parametrize("value", ["\ud800", ["a", "\ud800"], {"\udfff": 1}])
def test_half_a_surrogate_pair_is_no_text(value):
    with pytest.raises(UnicodeEncodeError):
        canonical(value)


def test_what_was_stored_under_a_digest_is_found_under_it():
    assert digest(["a", {"k": [1, 2.5, None]}, "é"], 8) == "d0d860c45f3f0438"
