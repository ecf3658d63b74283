"""Wrong answers of simulated models: plausible, spread, never right. Knows nothing of skill or of wording.

A choice becomes any other one. A number slips: its leading digit, by a factor of ten, its sign, by one or two if it is
small; never by less than 1 %, which a tolerant scorer would overlook, and never so that the right number stands inside
the wrong one (42 does not become 420), which a scorer that searches the reply would find. A text with a number in it
gets another number, yes becomes no, any other text has two of its letters exchanged; of a JSON document one value is
wrong. That the value of an expression differs is not proven: 0/5 and 0/6 are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Context, Decimal
from itertools import pairwise
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from simulator.asked import Question
from simulator.dice import Dice

_NUMBER = re.compile(r"(?:(?<![\w.)}\]])[-−])?(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?")
_UNIT = re.compile(r"\s*[^\W\d_][^=+#\n]*|\s*%")
_SMALL = 100
_PAIRS = (("yes", "no"), ("true", "false"), ("是", "否"), ("对", "错"))
_OPPOSITES: Mapping[str, str] = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_READ_CHARS = 200
_DEEPEST = 20
NOTHING = "none"


def letters_of(question: Question) -> str:
    """Return the letters of a question's choices; empty if it has none, or its answer is not one of them."""
    letters = (ascii_lowercase if question.answer.islower() else ascii_uppercase)[: len(question.choices)]
    return letters if len(letters) > 1 and len(question.answer) == 1 and question.answer in letters else ""


def mistaken(question: Question, dice: Dice) -> str:
    """Return a wrong answer; all that are considered are equally likely."""
    letters = letters_of(question)
    return dice.pick("slip", letters.replace(question.answer, "")) if letters else mistaken_text(question.answer, dice)


def mistaken_text(text: str, dice: Dice) -> str:
    """Return a text that differs from this one in more than case and white space."""
    if opposite := _OPPOSITES.get(text.strip().casefold()):
        return _cased_like(text.strip(), opposite)
    found = _telling_number(text)
    if found is None:
        return _exchanged(text, dice)
    number, whole = found.group(), found.group() == text.strip()
    slips = _slips(number) if whole else [one for one in _slips(number) if _fits_within(one, number)]
    return text[: found.start()] + dice.pick("slip", slips) + text[found.end() :]


def mistaken_json(value: Any, dice: Dice, depth: int = 0) -> Any:
    """Return a JSON value that differs in one place, and holds no less than ``value`` does."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return _slipped(value, dice)
    if isinstance(value, str):
        return mistaken_text(value, dice)
    if not value or depth == _DEEPEST:
        return NOTHING
    if isinstance(value, list):
        place = dice.pick(f"place {depth}", range(len(value)))
        return [*value[:place], mistaken_json(value[place], dice, depth + 1), *value[place + 1 :]]
    name = dice.pick(f"place {depth}", list(value))
    return {**value, name: mistaken_json(value[name], dice, depth + 1)}


def _cased_like(text: str, opposite: str) -> str:
    if text.isupper():
        return opposite.upper()
    return opposite.capitalize() if text[0].isupper() else opposite


def _telling_number(text: str) -> re.Match[str] | None:
    """Return the number that decides what a text says: the first if the rest is its unit, else the last."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    first = found[0]
    begins = not text[: first.start()].strip(" $€£¥")
    return first if begins and _UNIT.fullmatch(text, first.end()) else found[-1]


def _slips(number: str) -> list[str]:
    """Return wrong numbers near a right one, at least one of them without a new sign or a new decimal point."""
    exact = Context(prec=len(number) + 4)
    value = exact.create_decimal(number.replace(",", "").replace("−", "-"))
    digit = Decimal(1).scaleb(value.adjusted()) if value else Decimal(1)
    steps = [digit, -digit, *((1, -1, 2, -2) if abs(value) <= _SMALL else ())]
    others = [exact.add(value, Decimal(step)) for step in steps]
    others += [exact.multiply(value, Decimal(2)), value.scaleb(-1, exact), value.scaleb(1, exact), -value]
    spelt = dict.fromkeys(_plain(other) for other in others if other != value)
    return [one for one in spelt if _plain(value) not in one and number not in one]


def _fits_within(slip: str, number: str) -> bool:
    """Whether a slip can stand in an expression: no sign where there was none, no point, no zero to divide by."""
    if slip == "0" or (slip[0] == "-" and number[0] not in "-−"):
        return False
    return "." not in slip or "." in number


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _slipped(value: float, dice: Dice) -> float | str:
    slips = _slips(repr(value)) if _NUMBER.fullmatch(repr(value)) else []
    if not slips:
        return NOTHING  # a number with an exponent, or none at all
    slip = dice.pick("slip", slips)
    return float(slip) if "." in slip else int(slip)


def _exchanged(text: str, dice: Dice) -> str:
    """Exchange two neighbouring letters near the text's beginning, or replace one if all are the same."""
    begin = text[:_READ_CHARS]
    places = [at for at, (one, other) in enumerate(pairwise(begin)) if _differ(one, other)]
    if places:
        at = dice.pick("slip", places)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    at = next((at for at, one in enumerate(begin) if one.isalnum()), -1)
    if at < 0:
        return NOTHING
    after = chr(ord(begin[at]) + 1)
    return text[:at] + (after if _differ(begin[at], after) else "y" if begin[at] in "xX" else "x") + text[at + 1 :]


def _differ(one: str, other: str) -> bool:
    return one.isalnum() and other.isalnum() and one.casefold() != other.casefold()
