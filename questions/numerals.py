"""Reads numbers as people and models write them, exactly: digits, fractions, percent, powers of ten, words.

Arabic digits of any width with separators, signs and currency; ``3.2×10^5``, ``1e-3``; ``3/4``, ``1 1/2``, ``½``,
``\\frac{3}{4}``; ``12%``; ``3.5 million``, ``1.2万亿``; Chinese (``三百二十一``, ``三分之一``, ``百分之五十``) and
English words (``forty-two``). Units are passed over, and the 2 of ``cm^2`` or ``H2O`` is no number. Values are
fractions, so nothing is rounded. Anything beyond 10^±1000 is no number here: nobody's answer,
but an easy way to fill a memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from unicodedata import normalize

from questions.number_words import CHINESE, ENGLISH, chinese_value, english_value

_MAX_EXPONENT = 1000
_MAX_DIGITS = 1000
_SUPERSCRIPTS = {ord(mark): digit for mark, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+", strict=True)}
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_FRACTION = re.compile(r"(\d?)\s*\\[dtc]?frac\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))\s*(?:\{\s*(-?[\d.,]+)\s*\}|(\d))")
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_GAP = re.compile(r"(?<=\d)(?:\\[,!;: ]|\{,\}|[\u00a0\u2009\u202f'’_])(?=\d{3}(?!\d))")
_BLANK_GROUPS = re.compile(r"\s*[-+]?[$€£¥]?\d{1,3}(?: \d{3})+(?:[.,]\d+)?\s*")
_TIMES = re.compile(r"\\times|\\cdot|[×⋅·✕]")
_NOISE = re.compile(r"\\(?:left|right|displaystyle|,|!|;|:|quad| )|~")
_EMPHASIS = re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w(])")  # 3**2 has none
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|dot|bar)\s*\{?(\d+)\}?")
_NUMBER = re.compile(
    r"(?:(?<![A-Za-z0-9_)\]}.^])(?P<sign>[-+])\s?|(?<![A-Za-z0-9_.^])(?<!\^-)(?<!\^\{)(?<!\^\{-))"
    r"(?:(?:[$€£¥₹]|US\$|RMB|USD|EUR|CNY)\s*(?P<inner>-)?)?"
    r"(?:(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"
    r"|\d{1,3}(?:\.\d{3})+(?=,\d{1,2}(?!\d))|\d{1,3}(?:\.\d{3}){2,}(?!\d)|\d+)"
    r"(?P<part>\.\d+|,\d{1,2}(?![\d,]))?|(?P<only>\.\d+))"
    r"(?:(?P<e>[eE][-+]?\d+)(?![A-Za-z0-9_])|\s*[*xX]\s*10\s*\^\s*[{(]?\s*(?P<ten>[-+]?\d+)\s*[)}]?"
    r"|\s*\^\s*[{(]?(?P<power>-?\d+)[)}]?)?"
    r"(?:\s+(?:and\s+)?(?P<top>\d+)\s*/\s*(?P<under>\d+)(?![\d/.]\d)|\s*/\s*(?P<over>-?\d+(?:\.\d+)?)(?![\d/.]\d))?"
    r"(?:\s*(?P<percent>%|percent\b|per\s+cent\b|‰)"
    r"|\s*(?P<unit>(?:thousand|million|billion|trillion)\b|[十百千万亿]+))?"
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_CHINESE_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_MIXED_CHINESE = re.compile(r"\d+(?:\.\d+)?[十百千万亿][\d十百千万亿]*\d[\d十百千万亿]*")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that was read: its value (a percentage's is its hundredth) and whether a percent sign stood there."""

    value: Fraction
    percent: bool = False

    def __str__(self) -> str:
        value = self.value * 100 if self.percent else self.value
        return f"{value}{'%' if self.percent else ''}"


def spelt_plainly(text: str) -> str:
    """Return a text with its numbers in ASCII: widths, minus signs, raised digits, LaTeX fractions and spacings."""
    if not text.isascii():
        text = _RAISED.sub(lambda match: "^" + match[0].translate(_SUPERSCRIPTS), text)
        text = _GAP.sub(",", _VULGAR.sub(lambda match: " " + normalize("NFKC", match[0]), text))
        text = normalize("NFKC", text).replace("⁄", "/").replace("−", "-").replace("﹣", "-")
        text = _TIMES.sub("*", text).replace("負", "负").replace("萬", "万").replace("億", "亿")
    if "\\" in text or "{" in text:
        text = _REPEATING.sub(_plain_repeating, text) if "\\overline" in text or "\\bar" in text else text
        text = _GAP.sub(",", text).replace("\\%", "%").replace("\\$", "$")
        text = _WRAPPED.sub(r" \1 ", _TIMES.sub("*", text))
        text = _FRACTION.sub(_plain_fraction, _NOISE.sub("", text))
    elif "'" in text or "_" in text:
        text = _GAP.sub(",", text)
    if " " in text and _BLANK_GROUPS.fullmatch(text):  # only where nothing else stands: "20 345" may be two numbers
        text = "".join(text.split())
    return _EMPHASIS.sub("", text) if "**" in text else text


def _plain_fraction(match: re.Match[str]) -> str:
    whole, top, short_top, under, short_under = match.groups()
    return f"{whole + ' ' if whole else ''}{top or short_top}/{under or short_under}"


def _plain_repeating(match: re.Match[str]) -> str:
    whole, fixed, again = match.groups()
    if len(match[0]) > _MAX_DIGITS:
        return match[0]
    top = int(whole + fixed + again or "0") - int(whole + fixed or "0")
    return f"{top}/{(10 ** len(again) - 1) * 10 ** len(fixed)}"


def numbers(text: str) -> list[tuple[int, int, Quantity]]:
    """Return (start, end, quantity) of all numbers of a text that ``spelt_plainly`` has seen.

    Words count only where there are no digits: "one" and "一" are far more often no number at all.
    """
    text = _MIXED_CHINESE.sub(lambda match: str(chinese_value(match[0])), text) if _has_scale(text) else text
    found = [(m.start(), m.end(), quantity) for m in _NUMBER.finditer(text) if (quantity := _quantity(m)) is not None]
    if found or any(mark.isdigit() for mark in text):
        return found
    return _chinese_numbers(text) or _english_numbers(text)


def _has_scale(text: str) -> bool:
    return not text.isascii() and any(mark in text for mark in _CHINESE_SCALES)


def number_of(text: str) -> Quantity | None:
    """Return the number that a text is, a currency sign or a unit aside; None if it is anything else."""
    plain = spelt_plainly(text.strip().strip("$").strip()).strip().rstrip(".。")
    found = numbers(plain)
    if len(found) != 1:
        return None
    start, end, quantity = found[0]
    return quantity if start == 0 and end >= len(plain) else None


def _quantity(match: re.Match[str]) -> Quantity | None:
    get = match.groupdict()
    if len(match[0]) > _MAX_DIGITS:
        return None
    whole, part = get["whole"] or "0", (get["part"] or get["only"] or "").replace(",", ".")
    value = Fraction(whole.replace(",", "").replace(".", "") + part)
    for name, base in (("e", Fraction(10)), ("ten", Fraction(10)), ("power", None)):
        if get[name]:
            exponent = int(get[name].lstrip("eE"))
            if abs(exponent) > _MAX_EXPONENT or (base is None and (value == 0 or value > 10**6)):
                return None
            value = value * base**exponent if base is not None else value**exponent
    if get["top"]:
        if int(get["under"]) == 0:
            return None
        value += Fraction(int(get["top"]), int(get["under"]))
    if get["over"]:
        if Fraction(get["over"]) == 0:
            return None
        value /= Fraction(get["over"])
    if get["unit"]:
        for scale in [get["unit"]] if get["unit"] in _SCALES else get["unit"]:
            value *= _SCALES.get(scale) or _CHINESE_SCALES[scale]
    if get["sign"] == "-" or get["inner"]:
        value = -value
    if get["percent"]:
        return Quantity(value / (1000 if get["percent"] == "‰" else 100), percent=get["percent"] != "‰")
    return Quantity(value)


def _chinese_numbers(text: str) -> list[tuple[int, int, Quantity]]:
    if text.isascii():
        return []
    found = []
    for match in CHINESE.finditer(text):
        value = chinese_value(match[0])
        stands_alone = match[0] != "一" or match.start() == 0 or text[match.start() - 1] in "是为=:"  # not 一个, 一些
        if value is not None and stands_alone:
            found.append((match.start(), match.end(), Quantity(value, percent="百分之" in match[0])))
    return found


def _english_numbers(text: str) -> list[tuple[int, int, Quantity]]:
    found = []
    for match in ENGLISH.finditer(text):
        value = english_value(match[0])
        if value is not None and (match[0].lower() != "one" or match.start() == 0):  # not "no one", "the one"
            found.append((match.start(), match.end(), Quantity(Fraction(value), percent=match["percent"] is not None)))
    return found
