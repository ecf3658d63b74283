"""Templates render questions, always the same way, and cannot reach what is none of their business."""

from __future__ import annotations

import pytest

from questions.question import Question
from questions.templates import BUILT_IN, Prompt, example_of
from trials.errors import UsageError


def a_question(text="How much is 6 · 7?", choices=(), target="42", **fields):
    return Question(
        question_id="q", text=text, messages=(), target=target, choices=choices, subject="sums", difficulty="easy",
        truth=target, fields=fields,
    )  # fmt: skip


def rendered(template, question=None, **settings):
    prompt = Prompt(template=template, name="my.j2", **settings)
    return prompt.messages(question or a_question())[-1]["content"]


def test_the_plain_template_is_the_question_as_it_is():
    assert rendered(BUILT_IN["plain"], a_question("{{ no }} <template>\n")) == "{{ no }} <template>\n"


def test_the_math_template_asks_for_a_box():
    assert rendered(BUILT_IN["math"]).startswith("How much is 6 · 7?\n")
    assert "\\boxed{}" in rendered(BUILT_IN["math"])


def test_the_choice_template_letters_the_choices():
    text = rendered(BUILT_IN["choice"], a_question("Which?", ("red & white", "blue")))
    assert text.startswith("Which?\n\nA. red & white\nB. blue\n\n")
    assert "Answer: X" in text
    assert "A, B" in text


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_template_shows_examples_before_the_question(name):
    example = example_of(a_question("How much is 1 + 1?", ("2", "3"), "A"))
    text = rendered(BUILT_IN[name], a_question(choices=("41", "42")), examples=[example])
    assert 0 <= text.index("How much is 1 + 1?") < text.index("Answer: ") < text.index("How much is 6 · 7?")
    assert rendered(BUILT_IN["math"], examples=[example]).count("\\boxed{A}") == 1


def test_a_template_knows_the_row_and_not_its_answer():
    template = "{{ subject }}/{{ difficulty }}/{{ hint }}/{{ question }}/{{ letters | join }}/{{ choices[1] }}"
    assert rendered(template, a_question("?", ("x", "y"), hint=3)) == "sums/easy/3/?/AB/y"
    with pytest.raises(UsageError, match="'answer' is undefined"):
        rendered("{{ answer }}")


def test_a_template_may_call_the_question_by_its_column():
    assert rendered("{{ problem }}", columns={"question": "problem"}) == "How much is 6 · 7?"


def test_a_system_text_goes_first():
    messages = Prompt(template=BUILT_IN["plain"], name="plain", system="Be brief.").messages(a_question())
    assert [message["role"] for message in messages] == ["system", "user"]


def test_a_missing_variable_is_named_with_its_line_and_what_there_is():
    with pytest.raises(UsageError, match=r"template my\.j2, line 2: 'nam' is undefined; there are .*hint.*question"):
        rendered("{{ question }}\n{{ nam }}", a_question(hint="h"))


@pytest.mark.parametrize(
    "attack",
    [
        "{{ question.__class__ }}",
        "{{ question['__class__'] }}",
        "{% if false %}{{ question.__class__.__mro__ }}{% endif %}",
        "{{ question | attr('__class__') }}",
        "{{ [question] | map(attribute='__class__') | join }}",
        "{{ '{0.__class__}'.format(question) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ examples.append(1) }}",
        "{{ question.format.__self__ }}",
        "{% include '/etc/passwd' %}",
        "{{ range(10 ** 9) | list }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ [0] * 10 ** 9 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ 'x' | center(10 ** 9) }}",
        "{{ 'x'.ljust(10 ** 9) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ [1] | batch(10 ** 9, 0) | list }}",
        "{{ 1 | round(10 ** 9) }}",
    ],
)
def test_an_attack_is_refused_with_the_template_and_line(attack):
    with pytest.raises(UsageError, match=r"^template my\.j2, line 2: "):
        rendered("a\n" + attack)


def test_a_prompt_that_grows_without_end_is_stopped():
    with pytest.raises(UsageError, match=r"template my\.j2: the prompt grows beyond"):
        rendered("{% for a in range(99999) %}{{ 'x' * 90000 }}{% endfor %}")


def test_ordinary_formatting_still_works():
    template = (
        "{{ '%.2f' | format(1.5) }} {{ '%d%%' % 7 }} {{ '{:>4}'.format('x') }} {{ 3000000 | string }} {{ 2 ** 10 }}"
    )
    assert rendered(template) == "1.50 7%    x 3000000 1024"


@pytest.mark.parametrize("template", ["{{ lipsum() }}", "{{ choices | random }}"])
def test_what_is_random_is_not_there(template):
    with pytest.raises(UsageError, match=r"my\.j2, line 1"):
        rendered(template, a_question(choices=("x", "y")))


@pytest.mark.parametrize("template", ["{{ choices | map('upper') }}", "{{ question.upper }}", "{{ range }}"])
def test_what_has_no_text_is_refused_rather_than_printed_with_its_address(template):
    with pytest.raises(UsageError, match="is no text"):
        rendered(template, a_question(choices=("x", "y")))


def test_a_template_that_is_none_is_refused_at_once():
    with pytest.raises(UsageError, match=r"template my\.j2, line 2: .*endfor"):
        Prompt(template="{% for x in choices %}\n{% endif %}", name="my.j2")


def test_examples_that_a_template_never_shows_are_refused():
    with pytest.raises(UsageError, match="never uses 'examples'"):
        Prompt(template="{{ question }}", name="my.j2", examples=[{"question": "?"}])
    Prompt(template="{{ question }}", name="my.j2")


def test_whole_messages_are_sent_as_they_are_and_stay_so():
    question = Question(
        question_id="q", text="x", messages=({"role": "user", "content": "x"},), target=None, choices=(), subject="s",
        difficulty="any", truth=None, fields={},
    )  # fmt: skip
    prompt = Prompt(template=BUILT_IN["plain"], name="plain")
    prompt.messages(question)[0]["content"] = "changed"
    assert prompt.messages(question) == [{"role": "user", "content": "x"}]
