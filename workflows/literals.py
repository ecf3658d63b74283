"""Reads values as models write them: JSON first, and failing that a lenient mixture of JSON and Python.

The lenient reader takes single quotes, ``True`` and ``None``, tuples, trailing commas, bare keys, raw line breaks in
strings, and text that stops before its brackets are closed. It goes through the text once, to a limited depth.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from typing import Any

from trials.record import record

_DEEPEST = 60
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\W\d][\w.\-]{0,99}")
_NUMBER = re.compile(r"[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,4})?")
_DOUBLE = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)("?)', re.DOTALL)
_SINGLE = re.compile(r"'([^'\\]*(?:\\.[^'\\]*)*)('?)", re.DOTALL)
_ESCAPE = re.compile(r"\\(U[01][0-9a-fA-F]{7}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_ENDS = ("", "<", "`")
"""What ends the text within brackets: its end, or the beginning of a tag or fence."""
_NAMES = {"true": True, "false": False, "null": None, "none": None}


class Unreadable(ValueError):
    """The text is no value, not even leniently."""


@record
class Read:
    """A value, where it ended, whether all brackets were closed, whether it was cut within a string, and whether it was
    plain JSON.
    """

    value: Any
    end: int
    closed: bool = True
    cut: bool = False
    strict: bool = True


def read_json(text: str, start: int) -> Read | None:
    """Read a JSON object or array that begins at ``start``; None if there is none."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return None if _too_deep(value) else Read(value=encodable(value), end=end)


def read_value(text: str, start: int) -> Read | None:
    """Read a value leniently; None if there is none. It may run to the end of ``text``."""
    return _attempt(text, start, lambda reader: reader.value(0))


def read_call(text: str, start: int) -> Read | None:
    """Read ``name(key=value, …)``; the value is a pair of name and arguments, None if there is none."""
    return _attempt(text, start, lambda reader: reader.call())


def read_calls(text: str, start: int) -> Read | None:
    """Read ``[name(key=value, …), …]``; the value is a list of pairs of name and arguments."""
    return _attempt(text, start, lambda reader: reader.calls())


def plain(text: str) -> Any:
    """Read a value that stands between two tags: JSON if it is, otherwise the text itself."""
    text = text.strip()
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return encodable(text)
    return encodable(text if _too_deep(value) else value)


def encodable(value: Any) -> Any:
    """Return the value without lone surrogates, which no file or request can hold."""
    if isinstance(value, str) and value.isascii():
        return value
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def _attempt(text: str, start: int, read: Callable[[_Reader], Any]) -> Read | None:
    reader = _Reader(text, start)
    try:
        value = read(reader)
    except Unreadable:
        return None
    return Read(value=encodable(value), end=reader.at, closed=reader.closed, cut=reader.cut, strict=False)


def _too_deep(value: Any) -> bool:
    """Whether a value is nested too deeply to be written again from any depth of the stack."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, list | dict)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Unreadable(text)
    return number


def _no_constant(text: str) -> Any:
    raise Unreadable(text)


_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_no_constant)


class _Reader:
    """A recursive-descent reader over one text, which ends early where a tag or fence begins."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.closed = True
        self.cut = False

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise Unreadable("too deep")
        match self._peek():
            case "{":
                return self._pairs("}", ":", depth)
            case "[":
                return self._items("]", depth)
            case "(":
                return self._items(")", depth)
            case '"':
                return self._string(_DOUBLE)
            case "'":
                return self._string(_SINGLE)
            case _:
                return self._atom()

    def call(self) -> tuple[str, dict[str, Any]]:
        self._peek()
        name = self._match(_WORD)
        if self._peek() != "(":
            raise Unreadable("no call")
        return name, self._pairs(")", "=", 0)

    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        if self._peek() != "[":
            raise Unreadable("no list")
        self.at += 1
        calls = []
        while not self._ends("]"):
            calls.append(self.call())
            self._comma("]")
        return calls

    def _peek(self) -> str:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + 1]

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise Unreadable(f"at {self.at}")
        self.at = found.end()
        return found[0]

    def _ends(self, bracket: str) -> bool:
        """Whether the bracket closes here, or the text ends and so closes it."""
        char = self._peek()
        if char == bracket:
            self.at += 1
            return True
        if char in _ENDS:
            self.closed = False
        return char in _ENDS

    def _comma(self, bracket: str) -> None:
        char = self._peek()
        if char == ",":
            self.at += 1
        elif char not in (bracket, *_ENDS):
            raise Unreadable(f"at {self.at}")

    def _items(self, bracket: str, depth: int) -> list[Any]:
        self.at += 1
        items = []
        while not self._ends(bracket):
            items.append(self.value(depth + 1))
            self._comma(bracket)
        return items

    def _pairs(self, bracket: str, sign: str, depth: int) -> dict[str, Any]:
        self.at += 1
        pairs: dict[str, Any] = {}
        while not self._ends(bracket):
            key = self.value(depth + 1) if self.text[self.at] in "\"'" else self._match(_WORD)
            if self._peek() != sign:
                raise Unreadable(f"at {self.at}")
            self.at += 1
            pairs[str(key)] = self.value(depth + 1)
            self._comma(bracket)
        return pairs

    def _string(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise Unreadable(f"at {self.at}")
        self.at = found.end()
        if not found[2]:
            self.closed, self.cut = False, True
        return _ESCAPE.sub(_unescaped, found[1])

    def _atom(self) -> Any:
        number = _NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            return _finite(number[0]) if set(number[0]) & set(".eE") else int(number[0])
        word = self._match(_WORD).lower()
        if word not in _NAMES:
            raise Unreadable(word)
        return _NAMES[word]


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    return chr(min(int(code[1:], 16), sys.maxunicode)) if len(code) > 1 else _ESCAPES.get(code, code)
