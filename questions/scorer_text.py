"""Scorers that compare texts: exact, normalised, includes, regex, and none for questions without a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from questions.extraction import bare, boxed, final_text, first_sentence, marked_answer
from questions.normalising import normalised, normalised_target
from questions.verdicts import BAD_TARGET, NO_ANSWER, UNCHECKABLE, Verdict, failed, verdict
from trials.errors import UsageError

_REGEX_LIMIT_S = 1.0


class _Plain:
    """What scorers without anything to end have in common."""

    name = ""
    version = 1

    @property
    def definition(self) -> Mapping[str, Any]:
        return {"scorer": self.name, "version": self.version}

    def close(self) -> None:
        return None


class ExactScorer(_Plain):
    """Right if the reply, or what it points out as its answer, is the target character by character."""

    name = "exact"

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        text, target = final_text(reply), target.strip()
        if not text:
            return failed(NO_ANSWER)
        if text == target:
            return verdict(True, text)
        answer = marked_answer(text) or bare(text)
        return verdict(answer == target or first_sentence(answer) == target or _unpointed(answer) == target, answer)


class NormalisedScorer(_Plain):
    """Right if the reply, or what it points out as its answer, equals the target in ``normalised`` form."""

    name = "normalised"

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        text, wanted = final_text(reply), normalised_target(target)
        if not text:
            return failed(NO_ANSWER)
        if normalised(text) == wanted:
            return verdict(True, text)
        answer = marked_answer(text)
        if answer is None:
            return verdict(False, text)
        return verdict(normalised(answer) == wanted or normalised(first_sentence(answer)) == wanted, answer)


class IncludesScorer(_Plain):
    """Right if the target occurs in the reply in ``normalised`` form, as whole words where letters are Latin.

    It does not understand what is said: "not Paris" includes Paris.
    """

    name = "includes"

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        text, wanted = final_text(reply), normalised_target(target)
        if not wanted:
            return failed(BAD_TARGET, reason="the target is empty")
        if not text:
            return failed(NO_ANSWER)
        return verdict(occurs(wanted, normalised(text)), text)


def occurs(wanted: str, text: str) -> bool:
    """Tell whether a text holds another that is not part of a longer word or number."""
    place = text.find(wanted)
    while place >= 0:
        end = place + len(wanted)
        if not (_joins(text[place - 1 : place], wanted[0]) or _joins(wanted[-1], text[end : end + 1])):
            before, after = text[max(place - 2, 0) : place], text[end : end + 2]
            if not (_continues(before[::-1], wanted[0]) or _continues(after, wanted[-1])):
                return True
        place = text.find(wanted, place + 1)
    return False


def _joins(left: str, right: str) -> bool:
    """Tell whether two neighbours are of one word; Chinese, which does not part its words, never joins."""
    return bool(left and right) and left.isalnum() and right.isalnum() and left < "\u2e80" and right < "\u2e80"


def _continues(beyond: str, edge: str) -> bool:
    return edge.isdigit() and len(beyond) == 2 and beyond[0] in "./" and beyond[1].isdigit()


class RegexScorer(_Plain):
    """Searches a pattern, from the option ``pattern`` or else the target, in what the reply says after thinking.

    A pattern of the option with a group extracts: the last match's first group must equal the target in normalised
    form. Any other must only be found. A search ends after a second, whatever the pattern ("uncheckable").
    """

    name = "regex"

    def __init__(self, pattern: str = "") -> None:
        self._pattern = pattern
        if pattern:
            try:
                _compiled(pattern)
            except ValueError as error:
                raise UsageError(
                    f"scorer regex: option pattern {pattern!r} is no regular expression: {error}"
                ) from None

    @property
    def definition(self) -> Mapping[str, Any]:
        return {"scorer": self.name, "version": 1, "pattern": self._pattern}

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        text = final_text(reply)
        if not (self._pattern or target):
            return failed(BAD_TARGET, reason="neither a pattern nor a target")
        if not text:
            return failed(NO_ANSWER)
        try:
            pattern = _compiled(self._pattern or target)
        except ValueError as error:
            return failed(BAD_TARGET, reason=f"the target is no regular expression: {error}")
        try:
            if not (self._pattern and pattern.groups):
                found = pattern.search(text, timeout=_REGEX_LIMIT_S, concurrent=True)
                return verdict(found is not None, found[0] if found else text)
            matches = list(pattern.finditer(text, timeout=_REGEX_LIMIT_S, concurrent=True))
        except (TimeoutError, MemoryError):
            return failed(UNCHECKABLE, text, reason=f"the search took more than {_REGEX_LIMIT_S:g} s")
        taken = next((group for match in reversed(matches) for group in match.groups() if group), "")
        if not taken:
            return failed(NO_ANSWER)
        return verdict(normalised(taken) == normalised_target(target), taken)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    """Compile with the package regex, whose searches can be given a time limit. Raises ValueError for a bad one."""
    import regex

    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise ValueError(str(error)) from None


class NoScorer(_Plain):
    """For questions without a label: 1 if there is an answer at all."""

    name = "none"

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        text = final_text(reply)
        return verdict(True, boxed(text) or text) if text else failed(NO_ANSWER)


def _unpointed(answer: str) -> str:
    return answer[:-1] if answer[-1:] in ".。" else answer
