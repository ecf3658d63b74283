"""Columns are found by their names or as the user says, and answers become what they mean."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from questions.columns import find_columns
from questions.rows import RowReader, as_text
from trials.errors import UsageError


def roles(there, **given):
    return find_columns(there, given, "bank.csv").roles


def question_of(row, typed=True, **given):
    columns = find_columns(list(row), given, "bank.csv")
    return RowReader(columns, "bank", typed=typed).question(row, 7)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["question", "answer"], {"question": "question", "answer": "answer"}),
        (["Question", "Correct Answer"], {"question": "Question", "answer": "Correct Answer"}),
        (
            ["problem", "solution", "answer", "subject", "level", "unique_id"],
            {"id": "unique_id", "question": "problem", "answer": "answer", "subject": "subject", "difficulty": "level"},
        ),
        (
            ["question_id", "question", "options", "answer", "answer_index", "cot_content", "category", "src"],
            {
                "id": "question_id",
                "question": "question",
                "answer": "answer",
                "choices": "options",
                "subject": "category",
            },
        ),
        (["instruction", "output"], {"question": "instruction", "answer": "output"}),
        (["messages", "target"], {"messages": "messages", "answer": "target"}),
        (["question", "A", "B", "C", "answer"], {"question": "question", "answer": "answer", "choices": "A+B+C"}),
        (["question", "A", "answer"], {"question": "question", "answer": "answer"}),
    ],
)
def test_columns_are_found_by_name(there, expected):
    assert roles(there) == expected


def test_a_column_that_is_named_goes_before_the_names():
    assert roles(["question", "prompt", "label"], question="PROMPT") == {"question": "prompt", "answer": "label"}


def test_a_role_given_as_nothing_has_no_column():
    assert "subject" not in roles(["question", "type"], subject="")


@pytest.mark.parametrize(
    ("there", "given", "words"),
    [
        (["text1", "y"], {}, ["no column", "'text1', 'y'", "--columns question=NAME"]),
        (["question", "prompt"], {}, ["'question', 'prompt'", "--columns question=question"]),
        (["question", "answer", "label"], {}, ["'answer', 'label'", "--columns answer=answer"]),
        (["question", "messages"], {}, ["--columns question=question or --columns messages=messages"]),
        (["question"], {"answer": "gold"}, ["--columns answer=gold", "no such column", "'question'"]),
        (["question"], {"colour": "question"}, ["no role 'colour'", "simulated_truth"]),
    ],
)
def test_missing_and_ambiguous_columns_are_named_with_the_way_out(there, given, words):
    with pytest.raises(UsageError) as refused:
        roles(there, **given)
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("x", "x"),
        (True, "true"),
        (12345678901234567890123, "12345678901234567890123"),
        (0.5, "0.5"),
        (float("nan"), None),
        (Decimal("1.50"), "1.50"),
        ([1, "é"], '[1, "é"]'),
        ({"b": 1, "a": None}, '{"b": 1, "a": null}'),
        (date(2024, 2, 29), "2024-02-29"),
    ],
)
def test_answers_of_any_type_become_text(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("answer", "target"), [(2, "C"), (2.0, "C"), ("C", "C"), ("(c)", "C"), ("C.", "C"), ("blue", "C"), (None, None)]
)
def test_an_answer_becomes_the_letter_of_its_choice(answer, target):
    question = question_of({"question": "?", "choices": ["red", "green", "blue"], "answer": answer})
    assert question.target == target
    assert question.choices == ("red", "green", "blue")
    assert question.truth == target


@pytest.mark.parametrize("answer", [3, -1, "D", "pink", True, 1.5, [0]])
def test_an_answer_that_is_none_of_the_choices_is_refused(answer):
    with pytest.raises(UsageError, match="none of its 3 choices"):
        question_of({"question": "?", "choices": ["red", "green", "blue"], "answer": answer})


def test_a_text_equal_to_a_choice_is_that_choice_and_not_an_index():
    assert question_of({"question": "2+1?", "choices": ["3", "1", "2"], "answer": "1"}).target == "B"


def test_an_answer_of_a_csv_file_that_could_be_an_index_or_a_text_is_refused():
    row = {"question": "2+1?", "A": "3", "B": "2", "C": "1", "answer": "1"}
    with pytest.raises(UsageError, match="write the letter"):
        question_of(row, typed=False)


def test_choices_may_bring_their_own_labels():
    row = {"question": "?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    assert question_of(row).target == "B"


def test_fewer_choices_in_some_rows_are_fine_and_a_hole_is_not():
    assert question_of({"question": "?", "A": "x", "B": "y", "C": None, "answer": "B"}).choices == ("x", "y")
    with pytest.raises(UsageError, match="one of the choices is empty"):
        question_of({"question": "?", "A": "x", "B": None, "C": "z", "answer": "B"})


def test_a_question_without_an_id_has_its_row_number():
    assert question_of({"question": "?"}).question_id == "7"


def test_the_answer_is_no_field_and_all_else_is():
    question = question_of({"question": "?", "answer": "x", "topic": "t", "hint": [1], "day": date(2024, 1, 2)})
    assert question.fields == {"topic": "t", "hint": [1], "day": "2024-01-02"}
    assert question.subject == "t"


def test_a_simulated_truth_may_differ_from_the_answer():
    question = question_of({"question": "?", "answer": "4", "simulated_truth": 5})
    assert (question.target, question.truth) == ("4", "5")


@pytest.mark.parametrize(("row", "words"), [
    ({"prompt": [{"role": "user", "content": "x"}]}, "--columns messages=prompt"),
    ({"prompt": 5}, "holds a number, where text is expected"),
    ({"prompt": "x", "id": None}, "holds nothing, where an id is expected"),
    ({"prompt": "x", "id": [1]}, "holds a list, where an id is expected"),
    ({"messages": [{"content": "x"}]}, "no role"),
    ({"messages": [{"role": "user", "content": None}]}, "without content"),
    ({"messages": {"role": "user"}}, "a list of messages"),
])  # fmt: skip
def test_values_of_a_wrong_type_are_refused(row, words):
    with pytest.raises(UsageError, match=words):
        question_of(row)


def test_whole_messages_keep_what_they_hold_and_lose_what_parquet_added():
    sent = [
        {"role": "system", "content": "s", "name": None},
        {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "n"},
    ]
    question = question_of({"messages": sent})
    assert question.messages == ({"role": "system", "content": "s"}, sent[1])
    assert question.text == "hi"


@pytest.mark.parametrize(
    ("content", "asks"), [("", False), ("u", True), ([{"type": "image_url", "image_url": {"url": "data:"}}], True)]
)
def test_messages_ask_something_unless_their_last_words_are_empty(content, asks):
    assert (question_of({"messages": [{"role": "user", "content": content}]}) is not None) == asks


def test_of_a_worked_solution_the_label_is_its_answer():
    assert question_of({"question": "?", "answer": "3+4=7 of 9\n#### 7"}).target == "7"
