"""Makes questions of a bank's rows: texts of whatever type the answers have, letters of indices into choices.

Nothing is guessed: an answer that is none of the choices, or that could mean two of them, is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import orjson

from questions.columns import Columns
from questions.extraction import worked_answer
from questions.formats import Written, kind_of
from questions.question import ANY, Question
from trials.errors import UsageError
from trials.words import Message

_LETTER = re.compile(r"\(?([A-Za-z])[).:]?")
_LONGEST_ID = 512


class RowReader:
    """Makes a question of a row. ``subject`` is what questions are filed under when no column says. Thread-safe."""

    def __init__(self, columns: Columns, subject: str, *, typed: bool) -> None:
        self._columns = columns
        self._subject = subject
        self._typed = typed
        self._taken = columns.taken

    def question(self, row: Mapping[str, Any], number: int) -> Question | None:
        """Return a row as a question, or None if it asks nothing; ``number`` is its id where no column says one.

        ``fields`` holds what JSON can. Raises UsageError, which does not say where the row stands.
        """
        columns = self._columns
        messages = _messages(row.get(columns.messages), columns.messages) if columns.messages else ()
        text = _last_said(messages) if columns.messages else _asked(row.get(columns.question), columns.question)
        if not text.strip():
            return None
        choices, labels = self._choices(row)
        target = self._answer(row, columns.answer, choices, labels)
        truth = self._answer(row, columns.simulated_truth, choices, labels)
        return Question(
            question_id=_id(row.get(columns.id), columns.id) if columns.id else str(number),
            text=text,
            messages=messages,
            target=target,
            choices=choices,
            subject=_label(row.get(columns.subject)) or self._subject if columns.subject else self._subject,
            difficulty=_label(row.get(columns.difficulty)) or ANY if columns.difficulty else ANY,
            truth=target if truth is None else truth,
            fields=as_json({name: value for name, value in row.items() if name not in self._taken}),
        )

    def _choices(self, row: Mapping[str, Any]) -> tuple[tuple[str, ...], Sequence[str]]:
        """Return a row's choices, and what the bank itself labels them with, if it does."""
        if self._columns.letters:
            cells = [row.get(name) for name in self._columns.letters]
            while cells and cells[-1] is None:
                cells.pop()
            return _checked_choices(cells), ()
        value = row.get(self._columns.choices) if self._columns.choices else None
        if isinstance(value, str):
            value = _parsed(value, self._columns.choices)
        if isinstance(value, Mapping):
            if isinstance(value.get("text"), list) and isinstance(value.get("label"), list):
                labels = [as_text(label) or "" for label in value["label"]]
                return _checked_choices(value["text"]), labels
            value = {label: text for label, text in value.items() if text is not None}
            return _checked_choices(list(value.values())), list(value)
        if value is not None and not isinstance(value, list):
            raise UsageError(f"column '{self._columns.choices}' holds {kind_of(value)}, where a list is expected")
        return _checked_choices(value or []), ()

    def _answer(
        self, row: Mapping[str, Any], column: str, choices: tuple[str, ...], labels: Sequence[str]
    ) -> str | None:
        value = row.get(column) if column else None
        if not choices or value is None:
            text = as_text(value)
            return None if text is None else worked_answer(text)
        place = _place(value, choices, labels, typed=self._typed)
        if place is None:
            raise UsageError(
                f"column '{column}' says {_short(value)}, which is none of its {len(choices)} choices "
                f"(a letter, an index from 0, or the choice's own text)"
            )
        return ascii_uppercase[place]


def as_text(value: Any) -> str | None:
    """Return an answer as text: numbers as they were written, lists and objects as JSON; None for null and NaN.

    Raises UsageError for bytes that are no text.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if value != value else str(value)
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=as_text)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as problem:
            raise UsageError("the answer holds bytes that are not UTF-8") from problem
    return str(value)


def _place(value: Any, choices: Sequence[str], labels: Sequence[str], *, typed: bool) -> int | None:
    """Return which choice an answer means, if any: an integer is an index from 0, text a label, letter or choice."""
    if isinstance(value, int) and not isinstance(value, bool):
        if str(value) in labels:
            return list(labels).index(str(value))
        return value if 0 <= value < len(choices) else None
    if isinstance(value, float) and value.is_integer():  # a column of integers with gaps, as pandas writes it
        return int(value) if 0 <= value < len(choices) else None
    text = (as_text(value) or "").strip()
    if text in labels:
        return list(labels).index(text)
    letter = _LETTER.fullmatch(text)
    if letter and (place := ascii_uppercase.index(letter[1].upper())) < len(choices):
        return place
    same = [place for place, choice in enumerate(choices) if choice.strip() == text]
    index = int(text) if text.isdecimal() and len(text) < 3 and int(text) < len(choices) else None
    if not typed and same and index is not None and same != [index]:
        raise UsageError(f"the answer {text} could be a choice's text or its index; write the letter")
    return same[0] if len(same) == 1 else index


def _checked_choices(values: Sequence[Any]) -> tuple[str, ...]:
    if any(value is None for value in values):
        raise UsageError("one of the choices is empty")
    if len(values) > len(ascii_uppercase):
        raise UsageError(f"{len(values)} choices are more than there are letters")
    return tuple(as_text(value) or "" for value in values)


def _id(value: Any, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value != value or value == "":
        raise UsageError(
            f"column '{column}' holds {kind_of(value) if value != '' else 'nothing'}, where an id is expected"
        )
    text = str(value)
    if len(text) > _LONGEST_ID:
        raise UsageError(f"column '{column}' holds an id of {len(text)} characters; {_LONGEST_ID} are enough")
    return text


def _asked(value: Any, column: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    hint = f"; if it is a conversation, say --columns messages={column}" if isinstance(value, list) else ""
    raise UsageError(f"column '{column}' holds {kind_of(value)}, where text is expected{hint}")


def _messages(value: Any, column: str) -> tuple[Message, ...]:
    if isinstance(value, str) and value.strip():
        value = _parsed(value, column)
    if not value:
        return ()
    if not isinstance(value, list):
        raise UsageError(f"column '{column}' holds {kind_of(value)}, where a list of messages is expected")
    return tuple(_message(one, column) for one in value)


def _message(value: Any, column: str) -> Message:
    """Return a message without the empty fields that Parquet gives every one that lacks what another has."""
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise UsageError(f"column '{column}' holds a message that has no role")
    if not isinstance(value.get("content"), (str, list)) and not value.get("tool_calls"):
        raise UsageError(f"column '{column}' holds a message of role '{value['role']}' without content")
    kept = {name: one for name, one in value.items() if one is not None or name == "content"}
    return as_json(kept)


def _last_said(messages: Sequence[Message]) -> str:
    """Return the words of the last user message, or of the last message if there is none."""
    if not messages:
        return ""
    said = next((one for one in reversed(messages) if one["role"] == "user"), messages[-1])["content"]
    if isinstance(said, list):
        said = "\n".join(str(part.get("text", "")) for part in said if isinstance(part, dict)) or None
    return "…" if said is None else said  # a picture alone, or a call of a tool, is something to ask


def _label(value: Any) -> str:
    return " ".join((as_text(value) or "").split())[:200]


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as they are after a way through JSON: dates as text, bytes as None, large integers as text."""
    passed: dict[str, Any] = orjson.loads(_json(values)) if values else {}
    return passed


def _json(values: Any) -> bytes:
    """Return values as JSON that orjson reads back; bytes (pictures, mostly) become nothing."""
    try:
        return orjson.dumps(values, default=_jsonable, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer beyond 64 bits, in all likelihood
        return orjson.dumps(_with_small_numbers(values), default=_jsonable, option=orjson.OPT_NON_STR_KEYS)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Written):
        return float(value)
    return None if isinstance(value, (bytes, bytearray)) else str(value)


def _with_small_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_small_numbers(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_small_numbers(one) for one in value]
    return str(value) if type(value) is int and not -(2**63) <= value < 2**64 else value


def _parsed(text: str, column: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        raise UsageError(f"column '{column}' holds text that is no JSON list: {_short(text)}") from problem


def _short(value: Any) -> str:
    text = as_text(value) or ""
    return f"'{text[:40]}…'" if len(text) > 40 else f"'{text}'"
