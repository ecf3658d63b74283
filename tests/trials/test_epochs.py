from __future__ import annotations

from itertools import combinations

import pytest

from trials.epochs import EpochFigures, majority, pass_at_k, summary


@pytest.mark.parametrize(("n", "right", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 4), (6, 6, 2), (7, 1, 7)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(n: int, right: int, k: int) -> None:
    draws = list(combinations([True] * right + [False] * (n - right), k))
    assert pass_at_k(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("n", "right", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_impossible_counts_are_refused(n: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="no pass@"):
        pass_at_k(n, right, k)


def counted(**questions: str) -> EpochFigures:
    """A letter per epoch: upper case is right, a dash is no answer."""
    figures = EpochFigures()
    for question, letters in questions.items():
        for letter in letters:
            figures.add(question, None if letter == "-" else letter.lower(), letter.isupper())
    return figures


def test_figures_are_those_by_hand() -> None:
    found = counted(sure="AAAA", torn="AbAb", lost="bbbA", mute="----").figures()
    assert (found.questions, found.epochs) == (4, 4)
    assert found.pass_at[1] == pytest.approx((1 + 0.5 + 0.25 + 0) / 4)
    assert found.pass_at[4] == pytest.approx(3 / 4)
    assert found.majority == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert found.consistency == pytest.approx((1 + 2 / 6 + 3 / 6 + 1) / 4)


def test_questions_with_fewer_epochs_stand_behind_fewer_figures() -> None:
    found = counted(whole="Abb", part="A").figures()
    assert dict(found.behind) == {1: 2, 2: 1, 3: 1}
    assert found.pass_at[3] == 1.0
    assert found.consistency == pytest.approx(1 / 3)


def test_replies_without_an_answer_do_not_vote() -> None:
    assert counted(q="--A").figures().majority == 1.0


def test_an_answer_that_is_sometimes_right_counts_as_often_as_it_is() -> None:
    assert majority({"a": (4, 3), "b": (1, 0)}) == 0.75


def test_nothing_gives_nothing() -> None:
    found = EpochFigures().figures()
    assert (found.questions, found.majority, found.consistency, found.pass_at) == (0, None, None, {})


def test_parts_add_up_to_the_whole() -> None:
    whole = counted(p="Abb", q="AA-", r="bcd").figures()
    assert summary([counted(p="Abb"), counted(q="AA-", r="bcd")]) == whole


def test_counts_per_question_are_given_for_intervals() -> None:
    assert sorted(counted(p="Abb", q="AA").counts()) == [(1, 3), (2, 2)]
