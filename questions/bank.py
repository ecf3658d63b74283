"""Question banks, from the user's files to one file that every process of a run reads.

``prepare_bank`` streams the source once, renders every prompt, and so finds all that is wrong before anything is asked;
``open_bank`` opens what it wrote, and needs nothing else. The way there is told in ``questions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from questions.places import name_of
from questions.question import Question
from questions.reading import BankReader
from questions.stored import Bank, open_bank
from questions.templates import AUTO, BUILT_IN, Prompt, example_of
from questions.writing import BankWriter
from trials.errors import UsageError

__all__ = ["Bank", "BankSource", "Question", "open_bank", "prepare_bank"]

MOST_SUBJECTS = 1_000
MOST_DIFFICULTIES = 100
"""More of them are no groups to report by, but something like an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankSource:
    """Where a bank is, and how its prompts are made.

    ``columns`` maps roles to columns. ``template`` is the text of the user's template; if it is empty,
    ``template_name`` is a built-in one, or ``auto``: ``choice`` where the first question has choices, else ``plain``.
    Examples are the first ``examples_count`` questions of another bank. ``limit`` takes the first questions only;
    ``skip_invalid`` passes over rows that ask nothing.
    """

    path: str
    columns: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    template_name: str = AUTO
    system: str = ""
    examples_path: str = ""
    examples_count: int = 5
    limit: int | None = None
    skip_invalid: bool = False


def prepare_bank(source: BankSource, directory: Path, tell: Callable[[str], None]) -> Bank:
    """Check a whole bank and write it to ``directory``, under its digest; what is already there is used again.

    Memory stays flat whatever the size of the bank. ``tell`` takes notes for the user, a line each. Raises UsageError
    for the first thing that is wrong with the bank or its template, StoreError if it cannot be written. Any number of
    processes may prepare the same bank at once.
    """
    columns = dict(source.columns)
    while True:
        try:
            return _prepared(source, columns, directory, tell)
        except _TooMany as found:
            tell(f"column '{found.column}' has more than {found.most:,} values: not used as {found.role}")
            columns[found.role] = ""


class _TooMany(Exception):
    """A column that should group questions hardly does; the bank is read again without it."""

    def __init__(self, role: str, column: str, most: int) -> None:
        super().__init__(role)
        self.role, self.column, self.most = role, column, most


def _prepared(source: BankSource, columns: Mapping[str, str], directory: Path, tell: Callable[[str], None]) -> Bank:
    name = name_of(source.path)
    reader = BankReader(path=source.path, given=columns, subject=name)
    examples = _examples(source, tell)
    shown = {example["question"] for example in examples}
    leaked = 0
    with BankWriter(directory) as writer:
        template, prompt = "", None
        for question, place in islice(reader, source.limit):
            if prompt is None:
                template, template_name = _template(source, question, tell)
                used = reader.columns.roles
                prompt = Prompt(
                    template=template, name=template_name, system=source.system, examples=examples, columns=used
                )
            _add(writer, prompt, question, place)
            leaked += question.text in shown
            _check_groups(writer, used)
        _check(source, reader, writer, tell)
        if leaked:
            tell(f"{leaked} of the few-shot examples are questions of the bank: their answers stand in all prompts")
        about = {
            "name": name,
            "source": source.path,
            "columns": used,
            "template": template,
            "template_name": template_name,
            "system": source.system,
            "examples": examples,
            "parameters": reader.parameters,
            "skipped": reader.empty,
        }
        return writer.commit(about)


def _add(writer: BankWriter, prompt: Prompt, question: Question, place: str) -> None:
    try:
        writer.add(question, prompt.messages(question))
    except UsageError as problem:
        raise UsageError(f"{problem} ({place})") from problem
    except (TypeError, ValueError) as problem:  # half a surrogate pair, as JSON's \\u can spell it, is no text
        raise UsageError(f"{place} holds what is no Unicode text: {problem}") from problem


def _check_groups(writer: BankWriter, columns: Mapping[str, str]) -> None:
    for role, values, most in (
        ("subject", writer.subjects, MOST_SUBJECTS),
        ("difficulty", writer.difficulties, MOST_DIFFICULTIES),
    ):
        if len(values) > most:
            raise _TooMany(role, columns[role], most)


def _check(source: BankSource, reader: BankReader, writer: BankWriter, tell: Callable[[str], None]) -> None:
    """Raise UsageError for what only the whole bank shows; tell the rest."""
    if reader.empty:
        rows = f"{reader.empty:,} rows without a question" if reader.empty > 1 else "a row without a question"
        if not source.skip_invalid:
            raise UsageError(
                f"{source.path} has {rows} (the first: {reader.first_empty}); mend them, or leave them out with "
                f"--skip-invalid"
            )
        tell(f"left out {rows} (the first: {reader.first_empty})")
    if not writer.count:
        raise UsageError(f"{source.path} holds no questions")
    if reader.columns.id and (hashes := writer.repeated_hashes()):
        _refuse_repeated(reader, source.limit, hashes)
    if writer.targets and writer.targets < writer.count:
        tell(f"{writer.count - writer.targets:,} of {writer.count:,} questions have no answer to mark against")


def _refuse_repeated(reader: BankReader, limit: int | None, hashes: frozenset[int]) -> None:
    """Read the bank again for the first id that is there twice; equal hashes alone are no mistake."""
    seen: dict[str, str] = {}
    for question, place in islice(reader, limit):
        if hash(question.question_id) in hashes:
            if question.question_id in seen:
                raise UsageError(
                    f"two questions have the id '{question.question_id}': {seen[question.question_id]} and {place}; "
                    f"mend it, or number the rows instead with --columns id="
                )
            seen[question.question_id] = place


def _template(source: BankSource, first: Question, tell: Callable[[str], None]) -> tuple[str, str]:
    """Return the text and the name of the template that a bank is asked with, by its first question."""
    if first.messages:
        return _no_template(source, tell)
    if source.template:
        return source.template, source.template_name
    name = source.template_name
    if name == AUTO:
        name = "choice" if first.choices else "plain"
    if name not in BUILT_IN:
        raise UsageError(f"there is no built-in template '{name}'; choose {', '.join(BUILT_IN)}, or name a file")
    return BUILT_IN[name], name


def _no_template(source: BankSource, tell: Callable[[str], None]) -> tuple[str, str]:
    for flag, value in (
        ("--template", source.template),
        ("--system", source.system),
        ("--few-shot", source.examples_path),
    ):
        if value:
            raise UsageError(
                f"{flag} has no place here: {source.path} brings whole messages, which are sent as they are"
            )
    if source.template_name not in (AUTO, "plain"):
        tell(
            f"template '{source.template_name}' is not used: the bank brings whole messages, which are sent as they are"
        )
    return BUILT_IN["plain"], "messages"


def _examples(source: BankSource, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    if not source.examples_path:
        return []
    reader = BankReader(path=source.examples_path, given=source.columns, subject="", lenient=True, flag="--few-shot")
    found = list(islice(_usable(reader), source.examples_count))
    if not found:
        raise UsageError(f"--few-shot {source.examples_path} holds no questions")
    if len(found) < source.examples_count:
        tell(f"--few-shot {source.examples_path} holds {len(found)} examples, not {source.examples_count}")
    return found


def _usable(reader: BankReader) -> Iterator[dict[str, Any]]:
    for question, place in reader:
        if question.messages or question.target is None:
            lacks = "is a whole conversation" if question.messages else "has no answer"
            raise UsageError(f"--few-shot: {place} {lacks}; an example is a question with its answer")
        yield example_of(question)
