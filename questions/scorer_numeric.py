"""The scorer for numbers: equal within a tolerance, however they are written (see ``questions.numerals``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from questions.extraction import after_marker, boxed, ending, final_text, marked_answer, worked_answer
from questions.numerals import Quantity, numbers, spelt_plainly
from questions.verdicts import BAD_TARGET, NO_ANSWER, Verdict, failed, verdict

_RELATIVE = Fraction(1, 10**6)
_WORKING = re.compile(r"[^=≈]*(?:=|≈|\\approx)\s*(?=[^=]*\d)")
_ARITHMETIC = re.compile(r"[\d\s+\-*/().,^%$×÷]*|[^\d]*")
_GOES_ON = re.compile(
    r"\s*(?:[+*/^±]|\\pm|-\s*\d|[:,]\s*\d|\\(?:sqrt|pi|frac)|√|π|(?:or|to|and|或|至|到|和|~)\s*[-$]?\d|或?以[上下])"
)
_OPEN_ENDED = re.compile(
    r"(?:[±<>≤≥]|\\(?:pm|leq?|geq?|lt|gt)\b|\d\s*[-:]|\b(?:at least|at most|more than|less than|over|under)"
    r"|至少|至多|超过|不到)\s*\Z"
)


class NumericScorer:
    """Right if ``|answer - target| <= max(absolute, relative × |target|)``.

    The answer is the number in the last box, else the one behind the last marker, else the last number of the reply.
    A calculation or a choice of numbers ("3+4", "5 or 6") is no answer; of "3+4 = 7" it is 7. ``percent=either``
    (the default) lets 50% equal both 0.5 and 50, since labels hold either; two percentages are compared as such, and
    with ``percent=value`` 50% is 0.5 alone. Without ``relative`` it is 1e-6, except that whole numbers must be equal
    exactly; the default of ``absolute`` is 0. Units are passed over.
    """

    name = "numeric"

    def __init__(self, relative: Fraction | None = None, absolute: Fraction = Fraction(0), percent: str = "either"):
        self._relative, self._absolute, self._percent = relative, absolute, percent

    @property
    def definition(self) -> Mapping[str, Any]:
        relative = "1e-6, whole numbers exactly" if self._relative is None else str(self._relative)
        tolerance = {"relative": relative, "absolute": str(self._absolute)}
        return {"scorer": self.name, "version": 2, **tolerance, "percent": self._percent}

    def close(self) -> None:
        return None

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        wanted = _target_quantity(target)
        if wanted is None:
            return failed(BAD_TARGET, reason=f"the target {target[:40]!r} holds no number")
        text = ending(final_text(reply))
        pointed = boxed(text)
        found = stated_number(pointed) if pointed else number_in(text)
        if found is None:
            return failed(NO_ANSWER, pointed or text[-100:])
        return verdict(self._equal(found, wanted), str(found))

    def _equal(self, found: Quantity, wanted: Quantity) -> bool:
        if found.percent == wanted.percent or self._percent == "value":
            return self._near(found.value, wanted.value)
        return self._near(found.value, wanted.value) or self._near(_as_written(found), _as_written(wanted))

    def _near(self, found: Fraction, wanted: Fraction) -> bool:
        if found == wanted:
            return True
        relative = self._relative
        if relative is None:
            relative = Fraction(0) if found.denominator == wanted.denominator == 1 else _RELATIVE
        return abs(found - wanted) <= max(self._absolute, relative * abs(wanted))


def _as_written(quantity: Quantity) -> Fraction:
    return quantity.value * 100 if quantity.percent else quantity.value


def number_in(text: str) -> Quantity | None:
    """Return the number behind the last marker of a text, or else its last number; None if it has none."""
    marked = after_marker(text)
    if marked is not None:
        if (found := stated_number(marked)) is not None:
            return found
        if numbers(spelt_plainly(marked)):
            return None
    plain = spelt_plainly(text)
    last = numbers(plain)[-1:]
    return settled(plain, last[0]) if last else None


def stated_number(statement: str) -> Quantity | None:
    """Return the number that a statement begins with or comes to ("x = 5 m", "3 + 4 = 7"); None if it is open."""
    plain = spelt_plainly(statement)
    while (working := _WORKING.match(plain)) and _ARITHMETIC.fullmatch(working[0].rstrip(" =≈")):
        plain = plain[working.end() :]
    found = numbers(plain)
    return settled(plain, found[0]) if found else None


def settled(text: str, found: tuple[int, int, Quantity]) -> Quantity | None:
    """Return a number of a text, or None if it is a part of something else: a range, a bound, a list, a time."""
    start, end, quantity = found
    return None if _GOES_ON.match(text, end) or _OPEN_ENDED.search(text[max(start - 20, 0) : start]) else quantity


@lru_cache(maxsize=4096)
def _target_quantity(target: str) -> Quantity | None:
    if pointed := marked_answer(target := worked_answer(target)):
        return stated_number(pointed)
    return stated_number(target) or number_in(target)
