"""Answers of simulated models: right as often as their skill says, and wrong ones that cannot pass for right."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.answering import FORMS, P_UNSURE, answer, expected_accuracy, judge
from simulator.asked import STYLES, Identity, Question
from simulator.dice import all_outcomes
from simulator.mistakes import mistaken, mistaken_json, mistaken_text
from simulator.models import SimulatedModel, Skill, load_models
from workflows.dialects import DIALECTS

DRAWS = 20_000
SKILL = Skill(p_right=0.5, p_follow=0.5, p_recover=0.5, p_arguments=0.5, p_answer=0.8, p_judge=0.9)
MODEL = SimulatedModel(skill=SKILL, dialect="tag")
CITIES = ("Paris", "London", "Rome", "Bern")
READ = {
    "plain": re.compile(r"(?:^|answer is |Answer: |Answer:\*\* |答案：)\**(-?[\d.]+?)\**[.。]?$"),
    "bare": re.compile(r"^(-?[\d.]+)$"),
    "boxed": re.compile(r"\\boxed\{([^}]*)\}"),
    "letter": re.compile(r"(?:^|answer is |Answer: |答案：)[*(]*([A-D])\b"),
    "json": re.compile(r'```json\n\{"answer": ([^}]*)\}\n```'),
}


def identity(number: int, model: str = "m", key: str = "k") -> Identity:
    return Identity(trial_key=key, task_id=f"q{number}", epoch=0, seed=42, model=model)


def question(number: int, style: str) -> Question:
    if style == "letter":
        return Question(answer="ABCD"[number % 4], choices=CITIES, style=style)
    return Question(answer=str(number * 7 % 500), style=style)


def reply(number: int, style: str, model: str = "m") -> str:
    return answer(identity(number, model), question(number, style), MODEL).text


def read(text: str, style: str) -> str | None:
    found = READ[style].search(text)
    return found[1] if found else None


def assert_share(count: int, share: float, draws: int) -> None:
    """Assert that a count is within three standard deviations of what a binomial draw gives."""
    assert abs(count - draws * share) < 3 * math.sqrt(draws * share * (1 - share))


@pytest.mark.parametrize("model", ["m", "qwen-m"])
def test_models_answer_right_as_often_as_their_skill_says_in_every_style(model: str) -> None:
    right = unread = 0
    for number in range(DRAWS):
        style = STYLES[number % len(STYLES)]
        said = read(reply(number, style, model), style)
        right += said == question(number, style).answer
        unread += said is None
    assert_share(right, expected_accuracy(SKILL), DRAWS)
    assert_share(unread, P_UNSURE, DRAWS)


def test_expected_accuracy_is_skill_times_the_share_of_readable_answers() -> None:
    assert expected_accuracy(SKILL) == pytest.approx(0.8 * 0.98)
    unsaid = Skill(p_right=0.6, p_follow=0, p_recover=0, p_arguments=0)
    assert expected_accuracy(unsaid) == pytest.approx(0.6 * 0.98)


def test_models_of_equal_skill_err_independently_of_each_other() -> None:
    def wrong(number: int, model: str) -> bool:
        return read(reply(number, "letter", model), "letter") != question(number, "letter").answer

    both = sum(wrong(number, "one") and wrong(number, "other") for number in range(DRAWS))
    assert_share(both, (1 - expected_accuracy(SKILL)) ** 2, DRAWS)


HOPELESS = SimulatedModel(skill=Skill(p_right=0, p_follow=0, p_recover=0, p_arguments=0), dialect="tag")


def test_wrong_letters_are_spread_evenly_over_the_other_choices() -> None:
    asked = Question(answer="B", choices=CITIES, style="bare")
    said = Counter(answer(identity(number), asked, HOPELESS).text for number in range(DRAWS))
    assert said["B"] == 0
    for letter in "ACD":
        assert_share(said[letter], (1 - P_UNSURE) / 3, DRAWS)


def test_answer_belongs_to_the_trial_and_another_epoch_or_seed_draws_anew() -> None:
    def said(**changes: Any) -> list[str]:
        who = {"trial_key": "k", "epoch": 0, "seed": 42, "model": "m", **changes}
        return [answer(Identity(task_id=f"q{n}", **who), question(n, "plain"), MODEL).text for n in range(50)]

    assert said() == said() == said(trial_key="another")
    assert len({tuple(said(**one)) for one in ({}, {"epoch": 1}, {"seed": 1}, {"model": "other"})}) == 4


def test_every_form_of_a_style_is_said_and_each_model_has_its_habit() -> None:
    habits = set()
    for model in ("a", "b", "c", "d", "e", "f"):
        said = [re.sub(r"[-\d.]*\d", "N", reply(number, "plain", model)) for number in range(500)]
        (habit, times), *_ = Counter(said).most_common()
        assert times > 250
        assert {form.format("N") for form in FORMS["plain"]} <= set(said)
        habits.add(habit)
    assert len(habits) > 1


def test_only_qwen_models_answer_in_chinese_and_only_now_and_then() -> None:
    counts = {model: sum("答案" in reply(n, "boxed", model) for n in range(500)) for model in ("qwen2.5-7b", "m")}
    assert counts["m"] == 0
    assert 0 < counts["qwen2.5-7b"] < 250


def test_choice_is_never_shown_with_a_text_that_could_be_read_as_another_letter() -> None:
    asked = Question(answer="C", choices=("Bread", "Wine", "Both A and B"), style="letter")
    shown = {answer(identity(number), asked, MODEL).text for number in range(500)}
    assert "A. Bread" in shown
    assert not any("Both" in text for text in shown)


NUMBERS = st.one_of(st.integers().map(str), st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str))


@given(NUMBERS)
def test_wrong_number_is_off_by_a_hundredth_at_least_and_does_not_hold_the_right_one(number: str) -> None:
    right = Decimal(number)
    slips = all_outcomes(lambda dice: mistaken_text(number, dice))
    assert slips
    for _, slip in slips:
        assert abs(Decimal(slip) - right) >= abs(right) / 100
        assert Decimal(slip) != right
        assert number not in slip


@given(st.text(max_size=30))
def test_wrong_text_differs_in_more_than_case_and_does_not_hold_the_right_one(text: str) -> None:
    for _, slip in all_outcomes(lambda dice: mistaken_text(text, dice)):
        assert slip.strip().casefold() != text.strip().casefold()
        assert not text.strip() or text.strip() not in slip


SLIPS = [
    ("42", {"52", "32", "43", "41", "44", "40", "84", "4.2"}),
    ("0", {"1", "-1", "2", "-2"}),
    ("1,234", {"2234", "234", "2468", "123.4"}),
    ("-5", {"5", "-6", "-4", "-7", "-3", "-10", "-0.5"}),
    ("0.25", {"0.35", "0.15", "1.25", "-0.75", "2.25", "-1.75", "0.5", "0.025", "2.5"}),
    ("5 m^2", {"6 m^2", "4 m^2", "7 m^2", "3 m^2", "10 m^2"}),
    ("\\frac{1}{2}", {f"\\frac{{1}}{{{n}}}" for n in (1, 3, 4)}),
    ("Apollo 11", {f"Apollo {n}" for n in (21, 1, 12, 10, 13, 9, 22)}),
    ("Yes", {"No"}),
    ("FALSE", {"TRUE"}),
    ("是", {"否"}),
    ("Ann", {"nAn"}),
    ("aa", {"ba"}),
    ("+", {"none"}),
    ("", {"none"}),
]


@pytest.mark.parametrize(("right", "wrong"), SLIPS)
def test_plausible_mistakes(right: str, wrong: set[str]) -> None:
    assert {slip for _, slip in all_outcomes(lambda dice: mistaken_text(right, dice))} == wrong


@pytest.mark.parametrize("answer_", ["9" * 60_000, "1" + "0" * 6_000, "0." + "3" * 6_000, "[" * 8_000, "x" * 60_000])
def test_very_long_answers_have_wrong_ones_too(answer_: str) -> None:
    for style in STYLES:
        for number in range(30):
            assert answer(identity(number), Question(answer=answer_, style=style), MODEL).text


def test_lone_or_lower_case_letter_answers_are_handled() -> None:
    lower = {slip for _, slip in all_outcomes(lambda dice: mistaken(Question(answer="b", choices=CITIES), dice))}
    assert lower == {"a", "c", "d"}
    lone = {slip for _, slip in all_outcomes(lambda dice: mistaken(Question(answer="A", choices=("x",)), dice))}
    assert "A" not in lone


DOCUMENT = {"name": "Ann", "ages": [3, 4.5], "well": True, "more": {"none": None}}


def test_wrong_json_document_differs_in_one_value_and_is_still_json() -> None:
    outcomes = [wrong for _, wrong in all_outcomes(lambda dice: mistaken_json(DOCUMENT, dice))]
    for wrong in outcomes:
        assert sum(wrong[name] != DOCUMENT[name] for name in DOCUMENT) == 1
    assert {name for wrong in outcomes for name in DOCUMENT if wrong[name] != DOCUMENT[name]} == set(DOCUMENT)
    asked = Question(answer=json.dumps(DOCUMENT), style="json")
    said = [answer(identity(number), asked, MODEL).text for number in range(1000)]
    read_back = [json.loads(text.split("```json\n")[1].split("\n```")[0]) for text in said if "```" in text]
    assert_share(sum(value == DOCUMENT for value in read_back), expected_accuracy(SKILL), len(said))


@pytest.mark.parametrize("right", ["answer", "no", "The", "sure", "hard", "I", "4"])
def test_words_around_a_wrong_answer_or_instead_of_one_do_not_hold_the_right_one(right: str) -> None:
    texts = [answer(identity(number), Question(answer=right), HOPELESS).text for number in range(1000)]
    assert not any(right.casefold() in text.casefold() for text in texts)


def test_judge_says_what_a_perfect_one_would_as_often_as_its_skill_says() -> None:
    for correct in (True, False):
        texts = [judge(identity(0, key=str(number)), correct, MODEL).text for number in range(DRAWS)]
        verdicts = Counter(text.splitlines()[-1] for text in texts)
        assert set(verdicts) == {"VERDICT: CORRECT", "VERDICT: INCORRECT"}
        assert_share(verdicts["VERDICT: CORRECT" if correct else "VERDICT: INCORRECT"], 0.9, DRAWS)
        assert all("CORRECT" not in text.rpartition("\n")[0] for text in texts)


def ask(server: Any, model: str, told: dict[str, Any], text: str = "How many?") -> Any:
    """Ask over HTTP as the runner does."""
    who = {"key": "k", "task": "q", "epoch": 0, "seed": 42, "model": model, **told}
    headers = {"Authorization": "Bearer k", "x-simulated-trial": json.dumps(who)}
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return server.send("POST", "/v1/chat/completions", body, headers)


@pytest.fixture
def perfect(launch: Callable[..., Any], tmp_path: Path) -> Any:
    """A simulator of models that are always right: in tags, thinking in tags, and thinking in a field."""
    path = tmp_path / "models.toml"
    dialects = {"plain": "tag", "thinker": "think", "fielder": "tag", "both": "think"}
    entries = {name: f'[{name}]\np_answer = 1\np_judge = 1\ndialect = "{one}"\n' for name, one in dialects.items()}
    entries["fielder"] += 'reasoning = "field"\n'
    entries["both"] += 'reasoning = "field"\n'
    path.write_text("".join(entries.values()))
    return launch("--model-file", str(path))


def test_thoughts_come_in_tags_or_in_a_field_and_answers_alone_without(perfect: Any) -> None:
    told = {"question": {"answer": "42", "choices": [], "style": "bare"}}
    messages, tokens = {}, {}
    for model in ("plain", "thinker", "fielder", "both"):
        value = ask(perfect, model, told).value
        messages[model] = value["choices"][0]["message"]
        tokens[model] = value["usage"]["completion_tokens"]
    assert messages["plain"] == {"role": "assistant", "content": "42"}
    assert re.fullmatch(r"<think>\n[^<]+\n</think>\n\n42", messages["thinker"]["content"])
    for model in ("fielder", "both"):
        assert messages[model]["content"] == "42"
        assert "<think>" not in messages[model]["reasoning_content"]
        assert tokens[model] > tokens["plain"] + 5


def test_answer_as_long_as_a_header_may_be_is_read(perfect: Any) -> None:
    long = "é" * 9_000  # six characters each in ASCII JSON
    reply = ask(perfect, "plain", {"question": {"answer": long, "style": "bare"}})
    assert reply.value["choices"][0]["message"]["content"] == long


def test_each_text_that_is_judged_is_a_request_of_its_own(perfect: Any) -> None:
    ask(perfect, "plain", {"question": {"answer": "42"}})
    for text in ("reference first", "answer first"):
        for correct in (True, False):
            reply = ask(perfect, "plain", {"judge": {"correct": correct}}, text)
            content = reply.value["choices"][0]["message"]["content"]
            assert content.endswith("\nVERDICT: CORRECT") == correct
    stats = perfect.stats()
    assert (stats["served"], stats["trials"], stats["repeated"]) == (5, 3, 2)


MALFORMED = [
    {"question": None},
    {"question": "x"},
    {"question": {}},
    {"question": {"answer": "1", "style": "sung"}},
    {"question": {"answer": "1", "choices": "ABCD"}},
    {"judge": None},
    {"judge": {"correct": "yes"}},
]


@pytest.mark.parametrize("told", MALFORMED)
def test_malformed_question_is_told_as_400(plain: Any, told: dict[str, Any]) -> None:
    assert ask(plain, "m", told).status == 400


def test_every_simulated_model_answers_and_judges_with_a_skill_of_its_own() -> None:
    models = load_models(None, DIALECTS)
    skills = {name: models.get(name).skill for name in models.names}
    assert len({skill.answering for skill in skills.values()}) == len(skills)
    assert all(0.55 <= skill.answering <= 0.97 and skill.p_judge < 1 for skill in skills.values())
    assert skills["deepseek-v3.1"].answering == 0.93


def test_model_of_a_file_answers_by_its_p_right_unless_the_file_says_more(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text('[one]\np_right = 0.3\n[two]\np_right = 0.3\np_answer = 0.7\n["kimi-k2"]\np_right = 0.1\n')
    models = load_models(path, DIALECTS)
    assert (models.get("one").skill.answering, models.get("one").skill.p_judge) == (0.3, 0.95)
    assert models.get("two").skill.answering == 0.7
    assert models.get("kimi-k2").skill.answering == load_models(None, DIALECTS).get("kimi-k2").skill.answering
