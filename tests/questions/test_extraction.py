"""Where an answer is found in a reply."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questions.extraction import after_marker, boxed, fences, final_text, first_sentence, segments, worked_answer
from questions.normalising import normalised
from questions.numerals import number_of, numbers, spelt_plainly


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("<think>a</think> b", "b"),
        ("a</think>b", "b"),
        ("<think>a", ""),
        ("b <think>a", "b"),
        ("<think>a</think><think>b</think>c", "c"),
        ("<think>a</think>b<think>c", "b"),
        ("<THINKING>a</THINKING>b", "b"),
        ("I think so", "I think so"),
    ],
)
def test_a_thought_is_no_answer(reply: str, text: str):
    assert final_text(reply) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} \boxed{2}", "2"),
        (r"\boxed{1}, \boxed{2}", "1, 2"),
        (r"\boxed{1} and then \boxed{2", "1"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed 5", "5"),
        (r"\boxed{ } \fbox{3}", "3"),
        ("none", None),
    ],
)
def test_the_last_whole_box_is_the_answer(text: str, answer: str | None):
    assert boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: 5", "5"),
        ("**Answer:** 5", "5"),
        ("The final answer is: **5**", "5"),
        ("### Final Answer\n\n5", "5"),
        ("答案：五", "五"),
        ("答案是五", "五"),
        ("work\n#### 5", "5"),
        ("#### Step 1\nwork", None),
        ("Answer: 4\nNo. Answer: 5", "5"),
        ("<answer> 5 </answer>", "5"),
        ("Answer:\n```\nx\ny\n```", "x\ny"),
        ("nothing", None),
    ],
)
def test_the_last_marker_points_at_the_answer(text: str, answer: str | None):
    assert after_marker(text) == answer


@pytest.mark.parametrize(
    ("label", "answer"),
    [
        ("He has 3+4=<<3+4=7>>7 eggs.\n#### 1,007\n", "1,007"),
        ("He has 7. #### -7", "-7"),
        ("####7", "7"),
        ("#### Step 1\n7", "#### Step 1\n7"),
        ("7\n####", "7\n####"),
        ("7\n##### 8", "7\n##### 8"),
        (" 7 ", " 7 "),
    ],
)
def test_a_worked_solution_ends_with_its_answer(label: str, answer: str):
    assert worked_answer(label) == answer


def test_fences_come_in_order_and_one_cut_off_counts():
    assert fences("```json\n1\n```\nand\n```\n2") == ["1", "2"]


def test_initials_end_no_sentence():
    assert first_sentence("Washington D.C. is it. Yes.") == "Washington D.C. is it"


def test_latex_of_all_four_kinds_is_found():
    assert [content for _, _, content in segments(r"$a$ $$b$$ \(c\) \[d\]")] == ["a", "b", "c", "d"]


@given(st.integers(-(10**12), 10**12))
def test_whole_numbers_are_read_however_they_are_written(number: int):
    for text in (
        str(number),
        f"{number:,}",
        f"${number}$",
        f" {number}. ",
        str(number).translate(str.maketrans("0123456789", "０１２３４５６７８９")),
    ):
        quantity = number_of(text)
        assert quantity is not None, text
        assert quantity.value == number


@given(st.integers(1, 99_999_999))
def test_chinese_number_words_are_read(number: int):
    found = numbers(spelt_plainly(chinese(number)))
    assert [quantity.value for _, _, quantity in found] == [number]


def chinese(number: int) -> str:
    """Spell a number below 10^8 the way it is taught, every step of it."""
    if number >= 10_000:
        high, low = divmod(number, 10_000)
        return chinese(high) + "万" + ("" if not low else "零" + chinese(low) if low < 1000 else chinese(low))
    words, gap = "", False
    for scale, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, scale)
        if digit:
            words += ("零" if gap and words else "") + "零一二三四五六七八九"[digit] + name
        gap = digit == 0
    return words


def test_values_are_exact():
    assert number_of("0.1") is not None
    assert number_of("0.1").value == Fraction(1, 10)  # type: ignore[union-attr]


@given(st.text())
def test_normalising_twice_changes_nothing(text: str):
    assert normalised(normalised(normalised(text))) == normalised(normalised(text))
