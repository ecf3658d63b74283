"""Numbers written as words: Chinese (三百二十一, 两万五, 三分之一, 负五) and English (forty-two, minus three)."""

from __future__ import annotations

import re
from fractions import Fraction

_DIGITS = {mark: value for value, marks in enumerate("零一二三四五六七八九") for mark in marks} | {
    "〇": 0,
    "两": 2,
    "○": 0,
}
_DIGITS |= dict(zip("壹贰叁肆伍陆柒捌玖", range(1, 10), strict=True))
_SCALES = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_MARKS = "".join(_DIGITS) + "".join(_SCALES) + "万亿"
CHINESE = re.compile(
    f"负?(?:百分之[{_MARKS}]+(?:点[{_MARKS}]+)?|(?:[{_MARKS}]+又)?[{_MARKS}]+分之[{_MARKS}]+|[{_MARKS}]+(?:点[{_MARKS}]+)?)"
)

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_BIG = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORD = "(?:" + "|".join([*sorted(_VALUES, key=len, reverse=True), "hundred", *_BIG]) + ")"
ENGLISH = re.compile(
    rf"\b(?:(?:minus|negative)\s+)?{_WORD}(?:(?:\s+and\s+|[\s-]+){_WORD})*\b(?P<percent>\s+per\s?cent\b)?",
    re.IGNORECASE,
)


def chinese_value(words: str) -> Fraction | None:
    """Return the value of Chinese number words, digits among them allowed (3万5千); None if they make no number."""
    if words.startswith("负"):
        value = chinese_value(words[1:])
        return None if value is None else -value
    if "又" in words:
        whole, _, rest = words.partition("又")
        parts = chinese_value(whole), chinese_value(rest)
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]
    if "分之" in words:
        under, _, top = words.partition("分之")
        below, above = chinese_value(under), chinese_value(top)
        return above / below if below and above is not None else None
    whole, _, decimals = words.partition("点")
    value = _whole(whole)
    if value is None or not decimals:
        return value
    if not all(mark in _DIGITS for mark in decimals):
        return None
    return value + Fraction(int("".join(str(_DIGITS[mark]) for mark in decimals)), 10 ** len(decimals))


def _whole(words: str) -> Fraction | None:
    for mark, scale in (("亿", 10**8), ("万", 10**4)):
        if mark in words:
            left, _, right = words.rpartition(mark)
            high, low = _whole(left) if left else Fraction(1), _below(right, scale)
            return None if high is None or low is None else high * scale + low
    return _below_ten_thousand(words)


def _below(words: str, scale: int) -> Fraction | None:
    """Return what stands behind a scale word: 三万五 is 35,000, 三万零五 is 30,005."""
    if not words:
        return Fraction(0)
    if len(words) == 1 and (words in _DIGITS or words.isdigit()) and words not in "零〇":
        return Fraction(_DIGITS[words] if words in _DIGITS else int(words)) * scale / 10
    return _whole(words.lstrip("零〇"))


def _below_ten_thousand(words: str) -> Fraction | None:
    if words and all(mark in _DIGITS for mark in words):
        return Fraction(int("".join(str(_DIGITS[mark]) for mark in words)))
    if re.fullmatch(r"\d{1,30}(?:\.\d{1,30})?", words):
        return Fraction(words)
    for mark in sorted(_SCALES, key=lambda mark: -_SCALES[mark]):
        if mark in words:
            left, _, right = words.partition(mark)
            high = _below_ten_thousand(left) if left else Fraction(1)
            low = _below(right, _SCALES[mark])
            return None if high is None or low is None else high * _SCALES[mark] + low
    return None


def english_value(words: str) -> int | None:
    """Return the value of English number words; None if they do not make one number ("two three")."""
    parts = [word for word in re.split(r"[\s-]+", words.lower()) if word not in ("and", "percent", "per", "cent")]
    sign = -1 if parts and parts[0] in ("minus", "negative") else 1
    total = current = 0
    last = 0
    for word in parts[1:] if sign < 0 else parts:
        if word in _BIG:
            total, current, last = total + max(current, 1) * _BIG[word], 0, 0
        elif word == "hundred":
            current, last = max(current, 1) * 100, 0
        else:
            value = _VALUES[word]
            if last and not (last >= 20 and value < 10):
                return None
            current, last = current + value, value
    return sign * (total + current)
