from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.columns import Column, cells, clip, fit, lay_out, shorten, styled, text_of, wrap

TEXT = st.text(st.characters(exclude_categories=["C", "M", "Z"]), max_size=30)


def test_columns_line_up_names_left_and_numbers_right() -> None:
    columns = [Column(title="name", left=True), Column(title="n")]
    lines = lay_out(columns, [[("a", ""), ("100", "")], [("密钥钥", ""), ("7", "")]], None)
    assert [text_of(line) for line in lines] == ["name      n", "a       100", "密钥钥    7"]


def test_columns_go_by_rank_and_numbers_are_never_cut() -> None:
    columns = [
        Column(title="#"),
        Column(title="deployment", left=True, shrink_to=8),
        Column(title="done"),
        Column(title="extra", rank=2),
        Column(title="eta", rank=1),
    ]
    row = [[("1", ""), ("qwen-key-number-0", ""), ("12345", ""), ("1", ""), ("0:12", "")]]
    shown = [text_of(lay_out(columns, row, room, gap=1)[1]) for room in (40, 31, 21, 16)]
    assert shown == [
        "1 qwen-key-number-0 12345     1 0:12",
        "1 qwen-key…r-0 12345     1 0:12",
        "1 qwen-…-0 12345 0:12",
        "1 qwen-…-0 12345",
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 30), st.sampled_from([0, 5])), min_size=1))
def test_what_is_kept_fits_unless_only_the_indispensable_is_left(made: list[tuple[int, int, int]]) -> None:
    columns = [Column(title="", rank=rank, shrink_to=shrink_to) for rank, _, shrink_to in made]
    widths = [width for _, width, _ in made]
    chosen = fit(columns, widths, 50, 1)
    indispensable = {place for place, column in enumerate(columns) if column.rank == 0}
    assert indispensable <= chosen.keys()
    assert sum(chosen.values()) + len(chosen) - 1 <= 50 or chosen.keys() == indispensable
    assert all(width == widths[place] or columns[place].shrink_to for place, width in chosen.items())


@given(TEXT, st.integers(0, 40))
def test_shortened_names_fit_and_keep_both_ends(text: str, width: int) -> None:
    short = shorten(text, width)
    assert cells(short) <= width
    if cells(text) <= width:
        assert short == text
    elif width >= 7 and text.isascii():
        assert (short[0], short[-1]) == (text[0], text[-1])


@given(st.lists(st.tuples(TEXT, st.just(""))), st.integers(0, 60))
def test_clipped_lines_fit_and_are_the_beginning(parts: list[tuple[str, str]], width: int) -> None:
    clipped = "".join(text for text, _ in clip(tuple(parts), width))
    assert cells(clipped) <= width
    assert "".join(text for text, _ in parts).startswith(clipped)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1), st.integers(14, 40))
def test_wrapped_sentences_lose_no_word(words: list[str], width: int) -> None:
    lines = wrap(" ".join(words), width, indent=2, most=1000)
    assert " ".join(text_of(line) for line in lines).split() == words
    assert all(cells(text_of(line)) <= width for line in lines)


def test_markup_in_a_cell_stays_text() -> None:
    assert styled((("[red]x[/]", "bold"),)).plain == "[red]x[/]"
