"""Reads a user's JSON document into entries, and says what is wrong with it by file, index and field.

It knows nothing of tasks or tools: ``tool_files`` and ``task_files`` ask it for fields. Nothing here raises because of
what a document holds. JSON is RFC 8259; JSON Lines is https://jsonlines.org.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any

from trials.errors import UsageError

MOST_BYTES = 64 * 2**20
MOST_ENTRIES = 500_000
DEEPEST = 32
"""Levels of lists and objects within one entry; nothing that is asked of a model is as deep."""

_LARGEST = 2**63 - 1
_LONGEST_DIGITS = 25
_SHOWN = 3
_SOUGHT = 1000
_LFS = "version https://git-lfs.github.com/spec/"
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. ``place`` is an index or a line, empty for the document; ``field`` may be empty too."""

    source: str
    place: str
    field: str
    reason: str

    @property
    def text(self) -> str:
        """Everything but the file, on one line, with nothing in it that a terminal would act on."""
        whole = " ".join(": ".join(filter(None, (self.place, self.field, self.reason))).split())
        return "".join(one if one.isprintable() else repr(one)[1:-1] for one in whole)


def by_place(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems in the order of the document."""
    return tuple(sorted(problems, key=lambda one: int(_NUMBER.findall(one.place)[0]) if one.place else -1))


_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a kind of document may look: what it is of, the keys its list may stand under, and keys of a lone entry."""

    noun: str
    wrappers: tuple[str, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One item of a document, as yet unread; ``name`` is its key if it stands in an object."""

    place: str
    name: str
    value: Any


class Repeating(dict[str, Any]):
    """An object that states a key more than once; ``pairs`` holds all it states."""

    pairs: list[tuple[str, Any]]


class Fields:
    """The fields of one object. What is wrong with them is noted in ``problems``, and reading goes on.

    Several names of a field are its spellings. A field that is null counts as missing.
    """

    def __init__(
        self,
        value: Mapping[str, Any],
        source: str,
        place: str,
        prefix: str = "",
        problems: list[Problem] | None = None,
    ) -> None:
        self._value = value
        self._source = source
        self._place = place
        self._prefix = prefix
        self.problems: list[Problem] = [] if problems is None else problems

    def note(self, field: str, reason: str) -> None:
        """Note a problem."""
        self.problems.append(
            Problem(source=self._source, place=self._place, field=f"{self._prefix}{field}", reason=reason)
        )

    def within(self, value: Mapping[str, Any], field: str) -> Fields:
        """Return the fields of an object inside this one; problems are noted here."""
        return Fields(value, self._source, self._place, f"{self._prefix}{field}.", self.problems)

    def has(self, *names: str) -> bool:
        """Whether any spelling of a field is there."""
        return any(self._value.get(name) is not None for name in names)

    def spelling(self, *names: str) -> str:
        """Return the spelling in use, or the first one."""
        return next((name for name in names if self._value.get(name) is not None), names[0])

    def raw(self, *names: str) -> Any:
        """Return a field as it is, None if it is missing; two spellings that disagree are a problem."""
        used = [name for name in names if self._value.get(name) is not None]
        for other in used[1:]:
            if self._value[other] != self._value[used[0]]:
                self.note(used[0], f"says something else than {other}, which means the same")
        return self._value[used[0]] if used else None

    def string(self, *names: str, default: str | None = None) -> str:
        """Return a text that is not blank; it must be there unless there is a default."""
        value = self._typed(names, str, default)
        if value is not None and not value.strip() and default is None:
            self.note(self.spelling(*names), "is empty")
        return value or ""

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        return bool(self._typed((name,), bool, default))

    def mapping(self, *names: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return an object; it must be there unless there is a default."""
        return dict(self._typed(names, dict, default) or {})

    def sequence(self, *names: str, default: Sequence[Any] | None = None) -> list[Any]:
        """Return a list; it must be there unless there is a default."""
        return list(self._typed(names, list, default) or [])

    def strings(self, *names: str, default: Sequence[str] | None = None) -> list[str]:
        """Return a list of texts; other items are problems and left out."""
        items = self.sequence(*names, default=default)
        for at, item in enumerate(items):
            if not isinstance(item, str):
                self.note(f"{self.spelling(*names)}[{at}]", f"must be a text, not {called(item)}")
        return [item for item in items if isinstance(item, str)]

    def parts(self, name: str, *, needed: bool = True) -> Iterator[tuple[str, Fields]]:
        """Yield the objects of a list, or of an object by name (their ``name`` if they have none), with their field."""
        value = self.raw(name)
        if isinstance(value, dict):
            value = [{"name": key, **part} if isinstance(part, dict) else part for key, part in value.items()]
        if value is None and not needed:
            return
        if not isinstance(value, list):
            self.note(name, "is missing" if value is None else f"must be a list, not {called(value)}")
            return
        for at, part in enumerate(value):
            field = f"{name}[{at}]"
            if isinstance(part, dict):
                yield field, self.within(part, field)
            else:
                self.note(field, f"must be an object, not {called(part)}")

    def _typed(self, names: Sequence[str], wanted: type, default: Any) -> Any:
        value = self.raw(*names)
        if value is None:
            if default is None:
                self.note(names[0], "is missing" + "".join(f" (also spelt {name})" for name in names[1:]))
            return default
        if isinstance(value, wanted):
            return value
        self.note(self.spelling(*names), f"must be {_CALLED[wanted]}, not {called(value)}")
        return default


_CALLED: Mapping[type, str] = {
    bool: "true or false",
    str: "a text",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def called(value: Any) -> str:
    """Return what a person would call a JSON value's type."""
    return next((name for kind, name in _CALLED.items() if isinstance(value, kind)), "something else")


def quoted(text: str) -> str:
    """Return a text in quotes, short enough for a message and with nothing in it that a terminal would act on."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def nearest(word: str, options: Iterable[str]) -> str:
    """Return the end of a message that names the nearest valid name, or some of the valid ones."""
    return _nearest(word[:80].lower(), tuple(islice(options, _SOUGHT)))


@lru_cache(maxsize=4096)
def _nearest(word: str, options: tuple[str, ...]) -> str:
    close = get_close_matches(word, options, 1, 0.4)
    if close:
        return f"; the nearest valid name is {quoted(close[0])}"
    return f"; valid names are {', '.join(options[:5])}{', …' if len(options) > 5 else ''}"


def told(problems: Sequence[Problem], noun: str, valid: int) -> str:
    """Return problems on one line: how many, the first ones, and what to do."""
    count = len(problems)
    shown = "; ".join(one.text for one in problems[:_SHOWN])
    rest = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
    advice = f" (--skip-invalid goes on with the {valid} valid {noun})" if valid else f" (no valid {noun} left)"
    return f"{problems[0].source}: {count} problem{'s' * (count != 1)}: {shown}{rest}{advice}"


def refuse(problems: Sequence[Problem], noun: str, valid: int, *, skip_invalid: bool) -> None:
    """Raise UsageError if there are problems, unless they may be skipped and something valid is left."""
    if problems and not (skip_invalid and valid):
        raise UsageError(told(problems, noun, valid))


def read_entries(document: bytes, source: str, shape: Shape) -> tuple[list[Entry], list[Problem]]:
    """Return the entries of a document, and what is wrong with the document or with entries that cannot be read.

    The document is a list, an object of entries by name, either of them under one of the shape's wrappers, a lone
    entry, or JSON Lines. It is not read if it is longer than MOST_BYTES or has more than MOST_ENTRIES.
    """
    if len(document) > MOST_BYTES:
        size, most = len(document) / 2**20, MOST_BYTES // 2**20
        return [], [_of_document(source, f"is {size:.0f} MiB long; at most {most} MiB are read")]
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [_of_document(source, f"is not UTF-8: byte {error.start} cannot be read")]
    if not text.strip():
        return [], [_of_document(source, "is empty")]
    if text.startswith(_LFS):
        return [], [_of_document(source, "is a pointer of Git LFS, not the file itself: git lfs pull fetches that")]
    value, reason = _parsed(text)
    if reason:
        return _lines(text, source, reason)
    entries, reason = _entries(value, shape)
    if not entries and not reason:
        reason = f"holds no {shape.noun}"
    return _sound(entries, source, [_of_document(source, reason)] if reason else [])


def blemish(value: Any) -> tuple[str, str]:
    """Return where and why a value cannot be used at all, or two empty texts if it can.

    That is: a number that is no number or beyond 64 bits, a control character, half a surrogate pair, a key stated
    twice, or too many levels.
    """
    reason = _reason(value, 0)
    path: list[Any] = []
    left = [_parts(value)]
    while left and not reason:
        key, part = next(left[-1], _END)
        if key is None:
            left.pop()
            path = path[:-1]
            continue
        reason = _reason(part, len(left))
        path.append(key)
        if isinstance(part, dict | list):
            left.append(_parts(part))
        elif not reason:
            path.pop()
    return (_written(path), reason) if reason else ("", "")


_END: tuple[Any, Any] = (None, None)


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return enumerate(value) if isinstance(value, list) else iter(())


def _reason(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return "holds a control character or half a character" if _NOT_TEXT.search(value) else ""
    if isinstance(value, dict | list):
        return f"is nested more than {DEEPEST} levels deep" if depth > DEEPEST else _bad_keys(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a number that JSON knows, or is too large"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "is a number beyond 64 bits"
    return ""


def _bad_keys(value: dict[str, Any] | list[Any]) -> str:
    if isinstance(value, list):
        return ""
    if isinstance(value, Repeating):
        counts = Counter(key for key, _ in value.pairs)
        return f"states {quoted(counts.most_common(1)[0][0])} more than once"
    bad = next((key for key in value if _NOT_TEXT.search(key)), None)
    return f"has a key with a control character or half a character: {quoted(bad)}" if bad is not None else ""


def _written(path: Sequence[Any]) -> str:
    keys = (f"[{key}]" if isinstance(key, int) else f".{key if len(key) <= 60 else quoted(key)}" for key in path)
    return "".join(keys).removeprefix(".")


def _of_document(source: str, reason: str) -> Problem:
    return Problem(source=source, place="", field="", reason=f"the document {reason}")


def _parsed(text: str) -> tuple[Any, str]:
    """Return a JSON value, or why there is none."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_integer), ""
    except json.JSONDecodeError as error:
        return None, f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    except RecursionError:
        return None, "is nested too deeply to be read"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    repeating = Repeating(value)
    repeating.pairs = pairs
    return repeating


def _integer(digits: str) -> int | float:
    """Read an integer; an absurdly long one becomes infinite, which is told like any other number out of range."""
    return int(digits) if len(digits) <= _LONGEST_DIGITS else math.inf


def _lines(text: str, source: str, reason: str) -> tuple[list[Entry], list[Problem]]:
    """Read JSON Lines if the first line alone is an object; otherwise the document is what ``reason`` says."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) < 2 or not isinstance(_parsed(lines[0][1])[0], dict):
        return [], [_of_document(source, reason)]
    if len(lines) > MOST_ENTRIES:
        return [], [_of_document(source, f"holds {len(lines):,} lines; at most {MOST_ENTRIES:,} are read")]
    entries, problems = [], []
    for number, line in lines:
        value, wrong = _parsed(line)
        place = f"line {number}"
        if wrong:
            problems.append(Problem(source=source, place=place, field="", reason=wrong))
        else:
            entries.append(Entry(place=place, name="", value=value))
    return _sound(entries, source, problems)


def _entries(value: Any, shape: Shape) -> tuple[list[Entry], str]:
    """Return a value's entries, or why it has none."""
    if isinstance(value, dict) and any(mark in value for mark in shape.marks):
        value = [value]
    if isinstance(value, dict):
        wrapper = next((key for key in shape.wrappers if isinstance(value.get(key), dict | list)), None)
        if wrapper is not None:
            if isinstance(value, Repeating):
                return [], _bad_keys(value)
            value = value[wrapper]
    if isinstance(value, dict | list) and len(value) > MOST_ENTRIES:
        return [], f"holds {len(value):,} {shape.noun}; at most {MOST_ENTRIES:,} are read"
    if isinstance(value, list):
        return [Entry(place=f"index {at}", name="", value=one) for at, one in enumerate(value)], ""
    if isinstance(value, dict):
        pairs = value.pairs if isinstance(value, Repeating) else list(value.items())
        return [
            Entry(place=f"index {at} ({quoted(key)})", name=key, value=one) for at, (key, one) in enumerate(pairs)
        ], ""
    return [], f"must be a list or an object of {shape.noun}, not {called(value)}"


def _sound(entries: Sequence[Entry], source: str, problems: list[Problem]) -> tuple[list[Entry], list[Problem]]:
    """Keep the entries that are objects without a blemish."""
    sound = []
    for entry in entries:
        field, reason = blemish(entry.value)
        if not isinstance(entry.value, dict):
            field, reason = "", f"must be an object, not {called(entry.value)}"
        elif not reason and _NOT_TEXT.search(entry.name):
            reason = "its key holds a control character or half a character"
        if reason:
            problems.append(Problem(source=source, place=entry.place, field=field, reason=reason))
        else:
            sound.append(entry)
    return sound, problems
