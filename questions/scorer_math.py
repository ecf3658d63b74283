"""The scorer for mathematics: takes the expression from a reply and asks ``maths`` whether it equals the target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from questions.comparing import MEMORY_BYTES, Comparer, UncheckableError
from questions.extraction import after_marker, bare, boxed, ending, final_text, first_sentence, segments, worked_answer
from questions.maths import equivalent, is_words
from questions.normalising import normalised
from questions.numerals import numbers, spelt_plainly
from questions.scorer_numeric import settled
from questions.verdicts import BAD_TARGET, NO_ANSWER, UNCHECKABLE, Verdict, failed, verdict

_MAX_CHARACTERS = 2000
"""Longer "answers" are none; it also keeps a request below what a pipe takes at once."""

_PROSE = re.compile(
    r"\s+(?:because|since|where|which|so|when|if|for|as|by|I\s+hope|after|per|of)\b.*"
    r"|[,;]\s+(?:so|since|because|where|which|as)\b.*|\s+\([a-zA-Z ]{4,}.*",
    re.DOTALL,
)
_TWO_WORDS = re.compile(r"(?<![\\a-zA-Z{])[A-Za-z]{3,}\s+[A-Za-z]{2,}|\s\Z")
_JOINING = re.compile(r"\s*(?:,|，|、|;|and|or|和|或|及|,\s*and|,\s*or)\s*")
_LAST_EQUATION = re.compile(r"([^\s:：,，。]+(?:\s*[-+*/^]\s*[^\s:：,，。]+)*\s*=\s*[^=\n。]+?)[.。\s]*\Z")


class MathScorer:
    """Right if the answer equals the target as mathematics; what counts as equal is told in ``questions.maths``.

    The answer is the last box, else what stands behind the last marker (its LaTeX, if it has some), else the last LaTeX
    of the reply, else its last number. What is not decided in place is compared in a process that is killed after
    ``time_limit_s``, tried once more in a fresh one, and then "uncheckable".
    """

    name = "math"

    def __init__(self, time_limit_s: float = 5.0) -> None:
        self._time_limit_s = time_limit_s
        self._comparer = Comparer(time_limit_s)

    @property
    def definition(self) -> Mapping[str, Any]:
        limits = {"time_limit_s": self._time_limit_s, "memory_bytes": MEMORY_BYTES}
        return {"scorer": self.name, "version": 1, **limits}

    @property
    def child_pid(self) -> int | None:
        """Process id of the child that compares; None if none has been needed."""
        return self._comparer.pid

    def close(self) -> None:
        """End the child. Marking after it raises RuntimeError."""
        self._comparer.close()

    def mark(self, reply: str, target: str, choices: Sequence[str] = ()) -> Verdict:
        gold = boxed(target) or _only_segment(worked_answer(target))
        if not gold or len(gold) > _MAX_CHARACTERS:
            return failed(
                BAD_TARGET, reason="the target is empty" if not gold else "the target is longer than 2,000 characters"
            )
        text = ending(final_text(reply))
        answers = candidates(text, words=is_words(gold))
        if not answers or len(answers[0]) > _MAX_CHARACTERS:
            return failed(NO_ANSWER, text[-100:])
        try:
            right = any(equivalent(answer, gold, self._comparer.same) for answer in answers)
        except UncheckableError as error:
            return failed(UNCHECKABLE, answers[0], reason=str(error))
        except (RecursionError, ValueError, ArithmeticError) as error:
            return failed(UNCHECKABLE, answers[0], reason=f"{type(error).__name__} while comparing")
        return verdict(right, answers[0])


def _only_segment(target: str) -> str:
    target = target.strip()
    found = segments(target)
    return found[0][2] if len(found) == 1 and found[0][:2] == (0, len(target)) else target


def candidates(text: str, words: bool = False) -> list[str]:
    """Return what a final text may mean as its answer, best first; more than one only where ``words`` are wanted."""
    pointed = boxed(text)
    if pointed is not None:
        return [pointed]
    marked = after_marker(text)
    if words:
        whole = marked or text
        found = [whole, first_sentence(whole), *(segment for _, _, segment in segments(whole)[-1:])]
        return [part for part in dict.fromkeys(found) if part and normalised(part)]
    if marked is not None and (stated := _stated(marked)):
        return [stated]
    if (found_latex := _joined(text, from_end=True)) is not None:
        return [found_latex]
    return _unmarked(text)


def _stated(marked: str) -> str:
    """Return the expression that a marked line states, without the prose around it."""
    if (found := _joined(marked, from_end=False)) is not None:
        return found
    return _PROSE.sub("", first_sentence(marked)).strip().rstrip(".。,，;； ")


def _joined(text: str, *, from_end: bool) -> str | None:
    """Return the first or last LaTeX of a text with what "and" and commas join to it; None if there is none."""
    found = [part for part in segments(text) if part[2] and not _TWO_WORDS.search(part[2])]
    if not found:
        return None
    if from_end:
        found.reverse()
    taken = [found[0]]
    for part in found[1:]:
        between = text[part[1] : taken[-1][0]] if from_end else text[taken[-1][1] : part[0]]
        if not _JOINING.fullmatch(between):
            break
        taken.append(part)
    if from_end:
        taken.reverse()
    return ", ".join(part[2] for part in taken)


def _unmarked(text: str) -> list[str]:
    """Return the last line if it is an expression, else the equation or the number it ends with."""
    line = bare(text.rpartition("\n")[2])
    if (
        line
        and len(line) <= 200
        and not re.search(r"[A-Za-z]{3,}\s|\s[A-Za-z]{3,}|[\u4e00-\u9fff]", _without_names(line))
    ):
        return [line.rstrip(".。")]
    if (equation := _LAST_EQUATION.search(line[-300:])) is not None:
        return [equation[1].strip()]
    plain = spelt_plainly(text)
    found = numbers(plain)
    if found and settled(plain, found[-1]) is not None:
        return [plain[found[-1][0] : found[-1][1]]]
    return [line.rstrip(".。")] if line and len(line) <= 40 else []


def _without_names(line: str) -> str:
    return re.sub(r"\\[A-Za-z]+|sqrt|sin|cos|tan|log|exp|infinity|and|or", "", line)
