"""When two mathematical answers are equal: numbers, words, lists and sets here, everything else by who is asked.

Most answers of a question bank are plain numbers or equal letter by letter; they are decided here in microseconds.
What a list, tuple, interval or set holds is compared member by member: in order where brackets order them, in any
order in sets and bare lists, and an interval's brackets must be the same. Only what is left goes to a symbolic
comparison (``compare``), which is slow and may never come to an end.

Decided here, and worth knowing: 50% equals both 0.5 and 50; "x = 3" equals 3, but not "y = 3"; a unit may be left out,
a ratio
3:4 is the number 3/4, and units of two kinds are different ("5 cm" is not "5 m"); whole numbers are equal exactly,
others up to 1e-6 of the target and at most 1e-6; a text ("even", "no solution") equals only
the same text in normalised form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from questions.math_spelling import latex, parts, squeezed, unnamed
from questions.normalising import normalised
from questions.numerals import Quantity, number_of, numbers, spelt_plainly

_NEAR = Fraction(1, 10**6)
_MAX_UNORDERED = 12
_WORDS = re.compile(r"[^\W\d_][^\W\d_'’ -]*(?:[ '’-]+[^\W\d_]+)*[.!]?")
_NAMES = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "log",
        "ln",
        "exp",
        "pi",
        "sqrt",
        "infty",
        "infinity",
        "max",
        "min",
        "det",
        "mod",
        "gcd",
        "lcm",
        "alpha",
        "beta",
        "gamma",
        "delta",
        "theta",
        "lambda",
        "sigma",
        "omega",
    ]
)
_UNIT_SPELLINGS = """
mm millimeter millimetre 毫米 | cm centimeter centimetre 厘米 | m meter metre 米 | km kilometer kilometre 千米 公里
g gram gramme 克 | mg milligram 毫克 | kg kilogram 千克 公斤 | ms millisecond 毫秒 | s sec second 秒 | min minute 分钟
h hr hour 小时 | day d 天 日 | week 周 | month 月 | year yr 年 | L l liter litre 升 | mL ml milliliter millilitre 毫升
° degree deg 度 | rad radian 弧度 | $ dollar usd | cent | ¥ yuan rmb 元 | in inch inches | ft foot feet | mi mile
N newton 牛 | J joule 焦 | W watt 瓦 | V volt 伏 | A ampere amp 安 | Hz hertz 赫兹 | K kelvin | mol mole 摩尔
"""
_UNIT_OF = {name: names.split()[0] for names in re.split(r"[|\n]", _UNIT_SPELLINGS) for name in names.split()}
_UNIT = re.compile(
    r"[A-Za-z°$¥€£\u4e00-\u9fff][A-Za-z°/\u4e00-\u9fff ]*(?:\^\s*[{(]?-?\d[})]?)?(?:/[A-Za-z]+(?:\^\{?\d\}?)?)?"
)
_UPRIGHT_UNIT = re.compile(r"\s*\\(?:text|mathrm|textrm|mbox|rm)\s*\{\s*([A-Za-z/ ]+?)\.?\s*\}(?:\^\{?\d\}?)?[\s.$]*\Z")
_RELATION = re.compile(r"[=<>]|\\(?:le|ge|ne|lt|gt|in)(?![A-Za-z])")


def equivalent(answer: str, gold: str, compare: Callable[[str, str], bool]) -> bool:
    """Tell whether an answer equals the gold. ``compare(gold, answer)`` is asked about LaTeX not decided here."""
    quick = _plainly(answer, gold)
    if quick is not None:
        return quick
    (answer, unit), (gold, gold_unit) = _without_unit(answer), _without_unit(gold)
    return _units_agree(unit, gold_unit) and _same(latex(answer), latex(gold), compare)


def _plainly(answer: str, gold: str) -> bool | None:
    """Decide equal texts, numbers with their units, and words; None where it takes more."""
    if answer.strip() == gold.strip():
        return True
    right, left = _measured(gold), _measured(answer)
    if right is not None and left is not None:
        return _near(left[0], right[0]) and _units_agree(left[1], right[1])
    if is_words(gold):
        return normalised(_unwrapped(answer)) == normalised(_unwrapped(gold))
    return None


def _same(answer: str, gold: str, compare: Callable[[str, str], bool]) -> bool:
    if squeezed(answer) == squeezed(gold):
        return True
    (name, value), (gold_name, gold_value) = unnamed(answer), unnamed(gold)
    if name and gold_name and name != gold_name and not _has_letters(value + gold_value):
        return False
    if (
        (name and gold_name == name)
        or (name and not _RELATION.search(gold))
        or (gold_name and not _RELATION.search(answer))
    ):
        return equivalent(value, gold_value, compare)
    if "=" in answer and not _RELATION.search(gold) and not parts(answer):
        return equivalent(answer.rpartition("=")[2], gold, compare)
    found, wanted = parts(answer), parts(gold)
    if found and wanted:
        return _members_agree(found, wanted, compare)
    if (found and len(found[1]) > 1 and _is_number(gold)) or (wanted and len(wanted[1]) > 1 and _is_number(answer)):
        return False
    return compare(gold, answer)


def _members_agree(
    found: tuple[str, Sequence[str]], wanted: tuple[str, Sequence[str]], compare: Callable[[str, str], bool]
) -> bool:
    (kind, members), (gold_kind, gold_members) = found, wanted
    if len(members) != len(gold_members) or (kind and gold_kind and kind != gold_kind):
        return False
    if (kind or gold_kind) in ("", "{}") and len(members) <= _MAX_UNORDERED:
        return _in_any_order(list(members), gold_members, compare)
    return all(equivalent(*pair, compare) for pair in zip(members, gold_members, strict=True))


def _has_letters(text: str) -> bool:
    return re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", text)) is not None


def _without_unit(text: str) -> tuple[str, str]:
    """Return (expression, unit) of an expression with a unit in upright letters behind it: ``10\\pi\\text{ cm}``."""
    match = _UPRIGHT_UNIT.search(text)
    if match is None or not _is_unit(match[1]) or not text[: match.start()].strip(" $"):
        return text, ""
    return text[: match.start()], _unit(match[1].strip())


def _in_any_order(members: list[str], gold_members: Sequence[str], compare: Callable[[str, str], bool]) -> bool:
    for gold in gold_members:
        place = next((place for place, member in enumerate(members) if equivalent(member, gold, compare)), None)
        if place is None:
            return False
        members.pop(place)
    return True


def _near(left: Quantity, right: Quantity) -> bool:
    if left.percent != right.percent and _close(_as_written(left), _as_written(right)):
        return True
    return _close(left.value, right.value)


def _as_written(quantity: Quantity) -> Fraction:
    return quantity.value * 100 if quantity.percent else quantity.value


def _close(left: Fraction, right: Fraction) -> bool:
    if left == right:
        return True
    if left.denominator == right.denominator == 1:
        return False
    return abs(left - right) <= _NEAR * min(Fraction(1), abs(right))


def _is_number(text: str) -> bool:
    return _measured(text) is not None


def _measured(text: str) -> tuple[Quantity, str] | None:
    """Return (number, unit) of a text that is a number, perhaps with a unit or a currency; None for all others."""
    text = text.strip()
    quantity = number_of(text)
    if quantity is not None:
        return quantity, _UNIT_OF.get(text[:1], "")
    plain = spelt_plainly(text.strip("$ ").replace(r"^{\circ}", "°").replace(r"^\circ", "°").replace(r"\degree", "°"))
    plain = plain.strip().rstrip(".。 ")
    found = numbers(plain)
    if not found or found[0][0] != 0:
        return None
    unit = plain[found[0][1] :].strip()
    return (found[0][2], _unit(unit)) if _UNIT.fullmatch(unit) and _is_unit(unit) else None


def _is_unit(text: str) -> bool:
    words = re.findall(r"[A-Za-z]+", text)
    if not words:
        return True
    known = all(word in _UNIT_OF or word.removesuffix("s") in _UNIT_OF for word in words)
    return known or all(len(word) > 2 and word.lower() not in _NAMES for word in words)


def _unit(text: str) -> str:
    return _UNIT_OF.get(text) or _UNIT_OF.get(text.lower().removesuffix("s")) or ""


def _units_agree(left: str, right: str) -> bool:
    return not (left and right) or left == right


def is_words(text: str) -> bool:
    """Tell whether a target is a text and no expression: words, of which one is longer than two letters or Chinese."""
    text = _unwrapped(text)
    if not _WORDS.fullmatch(text):
        return False
    words = re.findall(r"[^\W\d_]+", text.lower())
    long = [word for word in words if (len(word) > 2 or not word.isascii()) and word not in _NAMES]
    return bool(long) and not any(len(word) == 1 and word not in "ai" and word.isascii() for word in words)


def _unwrapped(text: str) -> str:
    text = re.sub(r"\\(?:text|textbf|mathrm|mathbf|mbox|textit)\s*\{([^{}]*)\}", r"\1", text.strip().strip("$"))
    return text.replace("\\ ", " ").replace("\\", "").strip(" .。")
