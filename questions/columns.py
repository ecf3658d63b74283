"""Finds which column of a bank holds what: by its name, or as ``--columns`` says.

Names are compared without regard to case, and with spaces and hyphens as underscores. Where several names would do,
those that are listed together below are as good as each other, so that two of them are ambiguous; of the others the
first wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from trials.errors import UsageError

_Tiers = tuple[tuple[str, ...], ...]


def _ranked(names: str) -> _Tiers:
    return tuple((name,) for name in names.split())


NAMES: Mapping[str, _Tiers] = {
    "id": _ranked("id question_id uid custom_id unique_id uuid qid example_id task_id"),
    "question": (("question", "problem", "prompt", "query"), ("input", "instruction"), ("text",)),
    "messages": (("messages",), ("conversation",)),
    "answer": (
        ("answer", "target", "label", "ground_truth", "correct_answer", "answer_key", "answerkey", "gold"),
        ("expected", "expected_answer", "reference", "reference_answer"),
        ("solution", "output", "completion", "response"),
        ("answer_index", "answer_idx"),
    ),
    "choices": (("choices", "options"),),
    "subject": _ranked("subject category topic domain type"),
    "difficulty": _ranked("difficulty level"),
    "simulated_truth": (("simulated_truth",),),
}
"""Role → the names it goes by, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column has which role, empty for none. ``letters`` are the columns A, B, C, … in place of ``choices``."""

    id: str = ""
    question: str = ""
    messages: str = ""
    answer: str = ""
    choices: str = ""
    subject: str = ""
    difficulty: str = ""
    simulated_truth: str = ""
    letters: tuple[str, ...] = ()

    @property
    def roles(self) -> dict[str, str]:
        """Role → column, for the roles that have one."""
        found = {role: getattr(self, role) for role in NAMES if getattr(self, role)}
        return found | ({"choices": "+".join(self.letters)} if self.letters else {})

    @property
    def taken(self) -> frozenset[str]:
        """The columns that are no further fields of a question: its id, words, answers and choices."""
        return frozenset(
            {self.id, self.question, self.messages, self.answer, self.choices, self.simulated_truth, *self.letters}
        )


def find_columns(there: Sequence[str], given: Mapping[str, str], file: str) -> Columns:
    """Return the roles of the columns that are ``there``; ``given`` (role → name) goes before names.

    A role given as empty has no column. Raises UsageError, with the candidates, for what is missing or ambiguous.
    """
    chosen = {role: _given(role, name, there, file) for role, name in given.items()}
    if unknown := next((role for role in chosen if role not in NAMES), None):
        raise UsageError(f"--columns: there is no role '{unknown}'; roles are {', '.join(NAMES)}")
    if not (chosen.get("question") or chosen.get("messages")):
        chosen |= _asked(there, chosen, file)
    free = [name for name in there if name not in chosen.values()]
    for role in NAMES:
        if role not in chosen and role not in ("question", "messages"):
            chosen[role] = _named(role, free, file)
    letters = () if "choices" in given or chosen["choices"] else _letters(free)
    return Columns(**{role: name for role, name in chosen.items() if name}, letters=letters)


def _given(role: str, name: str, there: Sequence[str], file: str) -> str:
    if not name or name in there:
        return name
    alike = [one for one in there if _plain(one) == _plain(name)]
    if len(alike) != 1:
        raise UsageError(f"--columns {role}={name}: {file} has no such column; it has {_listed(there)}")
    return alike[0]


def _asked(there: Sequence[str], chosen: Mapping[str, str], file: str) -> dict[str, str]:
    """Return the column of what is asked, as the one role it has."""
    free = [name for name in there if name not in chosen.values()]
    found = {role: _named(role, free, file) for role in ("question", "messages") if role not in chosen}
    found = {role: name for role, name in found.items() if name}
    if len(found) == 2:
        ways = " or ".join(f"--columns {role}={name}" for role, name in found.items())
        raise UsageError(f"{file} has both a question ('{found['question']}') and messages; say {ways}")
    if not found:
        raise UsageError(
            f"{file} has no column that is known to hold questions, only {_listed(there)}; "
            f"say which with --columns question=NAME"
        )
    return found


def _named(role: str, there: Iterable[str], file: str) -> str:
    names = {name: _plain(name) for name in there}
    for tier in NAMES[role]:
        found = [name for name, plain in names.items() if plain in tier]
        if len(found) > 1:
            raise UsageError(
                f"{file}: {_listed(found)} could each be the {role}; say which with --columns {role}={found[0]}"
            )
        if found:
            return found[0]
    return ""


def _letters(there: Sequence[str]) -> tuple[str, ...]:
    """Return the columns A, B, C, … as far as they go; fewer than two are no choice."""
    named = {name.strip().upper(): name for name in there}
    found: list[str] = []
    for letter in ascii_uppercase:
        if letter not in named:
            break
        found.append(named[letter])
    return tuple(found) if len(found) > 1 else ()


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _listed(names: Iterable[str]) -> str:
    shown = [f"'{name}'" for name in names]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")
