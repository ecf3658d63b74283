from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.wording import as_ascii, clean, dollars, duration, latency, memory, per_second, percent


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("one\r\ntwo\tthree", "one two three"),
        ("[bold]kept[/]", "[bold]kept[/]"),
        ("a\u202eb\u200bc\x00d\x7f", "abcd"),
        ("密钥无效", "密钥无效"),
        ("cut \x1b", "cut"),
    ],
)
def test_strangers_text_becomes_one_harmless_line(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text() | st.text(alphabet="\x1b[]0;m\x07\x9bPX^_\\ a\n"))
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    assert not [one for one in clean(text) if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")]


def test_endless_text_is_cut() -> None:
    assert len(clean("x" * 1_000_000, limit=50)) == 50


def test_signs_of_ours_have_a_likeness_in_ascii() -> None:
    assert as_ascii("10 → 5 · a… ≤ 密") == "10 -> 5 | a... <= ?"


@pytest.mark.parametrize(
    ("seconds", "spelt"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (-3, "-"),
        (0, "0:00"),
        (59.6, "1:00"),
        (3599.6, "1:00:00"),
        (86_399.7, "1d 00h"),
        (183_600, "2d 03h"),
        (float("inf"), ">99d"),
    ],
)
def test_durations(seconds: float | None, spelt: str) -> None:
    assert duration(seconds) == spelt


def test_figures_keep_three_digits() -> None:
    assert [latency(ms) for ms in (0, 87.4, 999.4, 999.6, 75_000, 150_000)] == [
        "-",
        "87 ms",
        "999 ms",
        "1.0 s",
        "75.0 s",
        "150 s",
    ]
    assert [per_second(rate) for rate in (0, 9.96, 99.94, 99.96, 1200.4)] == ["0.0", "10.0", "99.9", "100", "1200"]
    assert [memory(size) for size in (0, 88 * 2**20, 1500 * 2**20)] == ["-", "88 MB", "1.5 GB"]
    assert [percent(share) for share in (None, 0, 1 / 3, 1)] == ["-", "0.0", "33.3", "100.0"]


@pytest.mark.parametrize(
    ("usd", "spelt"),
    [
        (None, "-"),
        (0.0, "$0.00"),
        (0.00421, "$0.0042"),
        (0.99, "$0.9900"),
        (0.996, "$1.00"),
        (12.3, "$12.30"),
        (999.4, "$999.40"),
        (999.6, "$1,000"),
        (1_204_000.0, "$1,204,000"),
    ],
)
def test_amounts_of_money_are_short_and_an_unknown_one_is_none(usd: float | None, spelt: str) -> None:
    assert dollars(usd) == spelt
