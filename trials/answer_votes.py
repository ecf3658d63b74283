"""From result rows to one answer per question and model, spelt so that equal texts mean the same.

A scorer knows best: an answer with full score is the label, however it is written. Other answers are compared after
Unicode's NFKC, case folding and reading numbers (0.50, 1/2 and \\frac{1}{2} are one). No algebra is done.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from trials.digest import choose
from trials.label_audit import NO_ANSWER, Labelled
from trials.rows import Row
from trials.words import QUESTION, SCORED

CHOICE, NUMBER, TEXT = "choice", "number", "text"

VOTE_FIELDS = (
    *("trial_key", "run_id", "prompt_type", "status", "model", "task_id", "task_type"),
    *("answer", "target", "score", "error_category"),
)
"""The fields of a row that votes are read from."""

_NUMBER = re.compile(r"([+-]?)(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:e([+-]?\d{1,2}))?", re.ASCII)
_TEX_FRACTION = re.compile(r"\\[dt]?frac\{?(\d+)\}?\{?(\d+)\}?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_LETTER = re.compile(r"\(?([a-z])[).:]*", re.ASCII)
_DASHES = str.maketrans({"−": "-", "–": "-", "⁄": "/"})


@lru_cache(maxsize=1 << 15)
def canonical(answer: str | None, target: str | None = None) -> str:
    """Return an answer as it is compared with others; ``NO_ANSWER`` for none.

    A ``target`` that is a single letter says that this is a multiple choice, where ``(B)`` and ``b.`` are the letter.
    """
    text = unicodedata.normalize("NFKC", answer or "").translate(_DASHES).casefold()
    text = " ".join(text.strip().strip("$").split()).rstrip(".。!")
    if kind_of(target) == CHOICE and (letter := _LETTER.fullmatch(text)):
        return letter[1].upper()
    number = _number(text)
    return text if number is None else str(number)


@lru_cache(maxsize=1 << 13)
def kind_of(target: str | None) -> str:
    """Return what kind of answer a label is: ``choice`` (a single letter), ``number`` or ``text``."""
    text = unicodedata.normalize("NFKC", target or "").strip().casefold()
    if _LETTER.fullmatch(text):
        return CHOICE
    return TEXT if _number(text) is None else NUMBER


def _number(text: str) -> Fraction | None:
    text = _TEX_FRACTION.sub(r"\1/\2", text.replace(" ", ""))
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    above, slash, below = text.partition("/")
    dividend, divisor = _decimal(above), _decimal(below) if slash else Fraction(1)
    return dividend / divisor if dividend is not None and divisor else None


def _decimal(text: str) -> Fraction | None:
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def answer_of(row: Row) -> str:
    """Return the canonical answer of a scored row; that of one with full score is its label's."""
    target = row["target"]
    if row["score"] is not None and row["score"] >= 1.0:
        return canonical(target, target)
    if row["error_category"] == "truncated":  # what stands in half a reply is no answer
        return NO_ANSWER
    return canonical(row["answer"], target)


@dataclass(slots=True)
class _Ballot:
    """The answers to one question: of each model its only one, or how often it gave which."""

    trial_key: str
    answers: dict[int, str | Counter[str]] = field(default_factory=dict)

    def add(self, model: int, answer: str) -> None:
        known = self.answers.get(model)
        if known is None:
            self.answers[model] = answer
        elif isinstance(known, str):
            self.answers[model] = Counter((known, answer))
        else:
            known[answer] += 1


class Votes:
    """Collects answers by question; holds some hundred bytes per question and model.

    Questions are the same if bank, id and label are. A question that was relabelled in between is two, each with the
    answers that were marked by its label.
    """

    def __init__(self, bank_of: Mapping[str, int]) -> None:
        self.unlabelled = 0
        self._bank_of = bank_of
        self._models: dict[str, int] = {}
        self._ballots: dict[tuple[int, str, str], _Ballot] = {}
        self._texts: dict[str, str] = {}
        self._spellings: dict[str, str] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """The models, by name."""
        return tuple(sorted(self._models))

    def add(self, row: Row) -> None:
        """Count a row; one that is no scored answer to a question passes by, one without a label is only counted."""
        bank = self._bank_of.get(row["run_id"])  # none where a run was merged since the banks were told apart
        if row["prompt_type"] != QUESTION or row["status"] != SCORED or bank is None:
            return
        if not row["target"]:
            self.unlabelled += 1
            return
        model = self._models.setdefault(row["model"], len(self._models))
        place = (bank, row["task_id"], self._once(row["target"]))
        ballot = self._ballots.get(place)
        if ballot is None:
            ballot = self._ballots[place] = _Ballot(row["trial_key"])
        answer = self._once(answer_of(row))
        if answer and row["answer"] and answer not in self._spellings and answer != row["answer"]:
            self._spellings[answer] = row["answer"]
        ballot.add(model, answer)

    def spelling(self, answer: str) -> str:
        """Return a canonical answer as the first model that gave it wrote it."""
        return self._spellings.get(answer, answer)

    def items(self) -> Iterator[tuple[Labelled, str, str]]:
        """Yield each question with its label as it is written, and the key of a trial that asked it."""
        order = [self._models[name] for name in self.models]
        labels = {target: (self._once(canonical(target, target)), kind_of(target)) for _, _, target in self._ballots}
        for (_, task_id, target), ballot in self._ballots.items():
            label, kind = labels[target]
            answers = tuple(self._vote(ballot.answers.get(model), model, task_id) for model in order)
            yield Labelled(item_id=task_id, label=label, answers=answers, kind=kind), target, ballot.trial_key

    def _vote(self, answers: str | Counter[str] | None, model: int, task_id: str) -> str | None:
        """Return the answer of most epochs. Where several are as frequent, a draw that is always the same decides."""
        if answers is None or isinstance(answers, str):
            return answers
        given = {answer: n for answer, n in answers.items() if answer != NO_ANSWER} or answers
        most = max(given.values())
        return choose(sorted(answer for answer, n in given.items() if n == most), model, task_id)

    def _once(self, text: str) -> str:
        return self._texts.setdefault(text, text)
