"""What a simulated model says to a question whose answer it has been told, and when it is to judge an answer.

With probability ``P_UNSURE`` it gives no answer that could be read, else the right one with the model's skill
``p_answer`` and a wrong one (mistakes.py) without; so ``expected_accuracy`` = p_answer × (1 - P_UNSURE), exactly. All
luck belongs to seed, model, task and epoch: models err independently of each other. A judge says what a perfect judge
would with probability ``p_judge``, by the luck of model, trial and the text it is shown.

The wording comes last and changes nothing. Each model has its habitual form in each style, which it takes with
``P_HABIT``, else any form of the style; Qwen models answer in Chinese with ``P_CHINESE`` where the style has a form for
it. A model that thinks aloud does so in <think> tags or in a field of its own; what it considers there has nothing to
do with its answer, and whoever marks it must not take it for that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from simulator.asked import Identity, Question
from simulator.dice import Dice, SeededDice
from simulator.mistakes import letters_of, mistaken, mistaken_json
from simulator.models import SimulatedModel, Skill
from simulator.wire import Said
from trials.digest import choose

P_UNSURE = 0.02
P_HABIT = 0.7
P_CHINESE = 0.2

FORMS: Mapping[str, Sequence[str]] = {
    "plain": ("The answer is {0}.", "Answer: {0}", "**Answer:** {0}", "The answer is **{0}**.", "{0}"),
    "bare": ("{0}",),
    "boxed": (
        "Step by step, this comes to\n\n\\[\n\\boxed{{{0}}}\n\\]",
        "Working it out from what is given leads to \\boxed{{{0}}}.",
        "All conditions hold, so the final answer is $\\boxed{{{0}}}$.",
    ),
    "letter": ("The answer is {0}.", "Answer: {0}", "**{0}**", "({0})", "{0}", "{1}", "The answer is **{1}**."),
    "json": ("```json\n{0}\n```", "Here is the result:\n\n```json\n{0}\n```", "```json\n{0}\n```\nThat is all of it."),
}
"""Style → its forms; {0} is the answer, {1} a choice's letter together with its text."""
CHINESE: Mapping[str, str] = {
    "plain": "答案：{0}。",
    "letter": "答案：{0}。",
    "boxed": "由此可得，答案是 $\\boxed{{{0}}}$。",
}
UNSURE = ("I am not sure.", "Hard to tell.", "…")
VERDICTS: Mapping[bool, Sequence[str]] = {
    True: ("The response agrees with the reference.", "Both come to the same result."),
    False: ("The response does not agree with the reference.", "The two come to different results."),
}

_THOUGHT = (
    "Could it be (C), or \\boxed{17}? Let me check.\nNo, that does not fit. I should start again.\nThat settles it."
)
_MISLEADING = re.compile(r"\b[A-Z]\b|\n")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_SHOWN_CHOICE_CHARS = 80
_MOST_BRACKETS = 200


def expected_accuracy(skill: Skill) -> float:
    """Return the probability that a model of this skill answers a question right, and readably."""
    return skill.answering * (1 - P_UNSURE)


def answer(identity: Identity, question: Question, model: SimulatedModel) -> Said:
    """Return the reply to a question; the same for every request of the same trial."""
    dice = SeededDice("answer", identity.seed, identity.model, identity.task_id, identity.epoch)
    if dice.flip("unsure", P_UNSURE):
        said = next(one for one in UNSURE if question.answer.casefold() not in one.casefold() or one == UNSURE[-1])
        return _said(model, said)
    right = dice.flip("right", model.skill.answering)
    document = _document(question)
    if document is not None:
        content = question.answer if right else _dumps(mistaken_json(document, dice))
        return _said(model, _form(identity.model, "json", dice).format(content))
    content = question.answer if right else mistaken(question, dice)
    text = _worded(question, content, _form(identity.model, question.style, dice))
    if not right and not letters_of(question) and question.answer.casefold() in text.casefold():
        text = content  # the words around it happen to hold the right answer
    return _said(model, text)


def judge(identity: Identity, correct: bool, model: SimulatedModel) -> Said:
    """Return a verdict; ``correct`` is that of a perfect judge. Its last line is VERDICT: CORRECT or INCORRECT."""
    dice = SeededDice("judge", identity.seed, identity.model, identity.trial_key)
    says = correct if dice.flip("right", model.skill.p_judge) else not correct
    word = "CORRECT" if says else "INCORRECT"
    return _said(model, f"{dice.pick('form', VERDICTS[says])}\n\nVERDICT: {word}")


def _form(model: str, style: str, dice: Dice) -> str:
    if style in CHINESE and model.casefold().startswith("qwen") and dice.flip("chinese", P_CHINESE):
        return CHINESE[style]
    return _habit(model, style) if dice.flip("habit", P_HABIT) else dice.pick("form", FORMS[style])


@lru_cache(maxsize=1024)
def _habit(model: str, style: str) -> str:
    return choose(FORMS[style], "habit", model, style)


def _worded(question: Question, content: str, form: str) -> str:
    if question.style == "json":
        return form.format(f'{{"answer": {content if _NUMBER.fullmatch(content) else _dumps(content)}}}')
    return form.format(content, _with_text(question, content) if "{1}" in form else "")


def _with_text(question: Question, letter: str) -> str:
    """Return a letter and its choice, or the letter alone if the choice is long or could be read as another letter."""
    letters = letters_of(question)
    text = question.choices[letters.index(letter)].strip() if letters else ""
    return f"{letter}. {text}" if text and len(text) <= _SHOWN_CHOICE_CHARS and not _MISLEADING.search(text) else letter


def _document(question: Question) -> Any:
    """Return the JSON object or list that is the answer, or None: it is none, or nested too deep to handle."""
    text = question.answer
    if question.style != "json" or text[:1] not in ("{", "[") or text.count("{") + text.count("[") > _MOST_BRACKETS:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _said(model: SimulatedModel, text: str) -> Said:
    if not model.thinks:
        return Said(text=text)
    if model.reasoning == "field":
        return Said(text=text, reasoning=_THOUGHT)
    return Said(text=f"<think>\n{_THOUGHT}\n</think>\n\n{text}")
