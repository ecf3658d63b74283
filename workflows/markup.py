"""Goes through a reply's markers (tags, special tokens, fences) and reads the requests they hold, in linear time.

A reply is cut at its markers, each piece is read once, and there is a limit to the number of pieces and to the readings
that may look past the end of theirs, as a marker's text may stand inside a string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from workflows.callshapes import ARGUMENT_KEYS, NAME_KEYS, as_object, calls_in, tool_name, unquoted
from workflows.literals import Read, plain, read_call, read_calls, read_json, read_value

_MOST_MARKERS = 256
_MOST_SPILLS = 8

PLAIN_TAGS = {"tool_search": "query", "tool_info": "name", "finish": "summary"}
"""Requests that are no call of a tool proper, and what the text in their tag is called."""

_MARKER = re.compile(
    r"(?P<tag><\s{0,8}(?P<slash>/?)\s{0,8}(?:\w{1,12}:)?"
    r"(?P<word>tool_calls?|tool_search|tool_info|finish|function_calls?|function|invoke)(?=[\s>/=<{]|$))"
    r"|(?P<python><\|python_tag\|>)"
    r"|(?P<begin><[|｜]tool[_▁]call[_▁]begin[|｜]>)"
    r"|(?P<stop><[|｜](?:tool[_▁]calls?(?:[_▁]section)?[_▁](?:begin|end)|e[a-z]{2}_id|im_end|end[a-z_▁]{0,20}|call)[|｜]>)"
    r"|(?P<mistral>\[TOOL_CALLS\])"
    r"|to=functions\.(?P<harmony>[\w.\-]{1,100})"
    r"|(?P<fence>```\w{0,20})",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[`\"']?((?:functions\.)?[^\W\d][\w.\-]{0,99})(?::\d{1,6})?[`\"']?")
_ATTRIBUTE = re.compile(r"\s{1,8}([\w\-]{1,80})\s{0,8}=\s{0,8}(?:\"([^\"]*)\"|'([^']*)')")
_TAG_END = re.compile(r"\s{0,8}/?\s{0,8}>")
_EQUALS_NAME = re.compile(r"\s{0,8}=\s{0,8}[\"']?([\w.\-]{1,100})[\"']?\s{0,8}>?")
_PARAMETER = re.compile(
    r"<\s{0,4}(?:\w{1,12}:)?parameter\s{0,4}(?:=|\sname\s{0,4}=)\s{0,4}[\"']?([\w.\-]{1,80})[\"']?[^<>]{0,80}>",
    re.IGNORECASE,
)
_ARG_KEY = re.compile(r"<arg_key>([^<]{1,120})</arg_key>\s{0,20}<arg_value>", re.IGNORECASE)
_CHILD_NAME = re.compile(r"<(?:tool_)?name>([^<]{1,120})</", re.IGNORECASE)
_CHILD_ARGUMENTS = re.compile(r"<(?:arguments|parameters|args|input)>", re.IGNORECASE)
_CLOSE = re.compile(r"</(?:\w{1,12}:)?(?:parameter|arg_value)\s{0,4}>", re.IGNORECASE)
_SEPARATOR = re.compile(r"<[|｜]tool[_▁](?:sep|call[_▁]argument[_▁]begin)[|｜]>")
_MESSAGE = re.compile(r"<\|message\|>")
_ARGS = re.compile(r"\s{0,8}(?:\[CALL_ID\][\w\-]{0,80})?\s{0,8}\[ARGS\]")
_FENCE = re.compile(r"\s{0,20}```\w{0,20}")
_BARE_JSON = re.compile(
    r"\{\s{0,20}[\"'](?:name|tool|tool_name|function|function_call|tool_calls|action|type|arguments|parameters)[\"']\s{0,20}:"
)
_BARE_CALLS = re.compile(r"\[\s{0,20}[^\W\d][\w.]{0,99}\(")
_BARE_CALL = re.compile(r"^[ \t]{0,8}[^\W\d]\w{0,60}_\w{0,60}\((?=\s{0,20}(?:\w{1,80}\s{0,4}=|\)))", re.MULTILINE)


class Markup:
    """Goes through one reply from marker to marker.

    Afterwards ``requests`` holds names and arguments (None if they could not be read) in order, ``deviations`` the
    ways in which they were written, and ``unreadable`` counts what began like a request and could not be read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._spills = _MOST_SPILLS
        self.requests: list[tuple[str, dict[str, Any] | None]] = []
        self.deviations: dict[str, None] = {}
        self.unreadable = 0

    def read(self) -> None:
        at = 0
        start = self._skip(0)
        if _BARE_JSON.match(self._text, start) or _BARE_CALLS.match(self._text, start):
            self._bare()
            if self.requests:
                return
        for _ in range(_MOST_MARKERS):
            marker = _MARKER.search(self._text, at)
            if marker is None:
                break
            at = max(marker.end(), self._at_marker(marker))
        else:
            self.deviations["too_many_markers"] = None
        if not self.requests:
            self._bare()

    def _at_marker(self, marker: re.Match[str]) -> int:
        """Read what a marker begins, and return where it ends."""
        following = _MARKER.search(self._text, marker.end())
        stop = following.start() if following else len(self._text)
        if marker["harmony"]:
            message = _MESSAGE.search(self._text, marker.end(), stop)
            return self._named("harmony", marker["harmony"], message.end() if message else marker.end(), stop)
        if marker["tag"]:
            return self._tag(marker, following, stop)
        handlers: Mapping[str, Callable[[int, int], int]] = {
            "python": self._python_tag,
            "begin": self._special,
            "mistral": self._mistral,
            "fence": self._fence,
        }
        group = marker.lastgroup or ""
        return handlers[group](marker.end(), stop) if group in handlers else marker.end()

    # --- tags -----------------------------------------------------------------------------------------------------

    def _tag(self, marker: re.Match[str], following: re.Match[str] | None, stop: int) -> int:
        word = marker["word"].lower()
        if marker["slash"]:
            return marker.end()
        if marker[0] != f"<{word}":
            self.deviations["tag_case_space"] = None
        if word in PLAIN_TAGS:
            return self._plain_tag(word, marker.end(), following, stop)
        if word == "function":
            found = _EQUALS_NAME.match(self._text, marker.end())
            if found:
                return self._named("function_tag", found[1], found.end(), stop)
        attributes, at = self._attributes(marker.end())
        if word in ("tool_calls", "function_calls"):
            return at
        name = next((attributes.pop(key) for key in NAME_KEYS if key in attributes), "")
        if not name:
            return self._body(word, at, following, stop)
        given = next((attributes.pop(key) for key in ARGUMENT_KEYS if key in attributes), None)
        if given is not None:
            return self._add("tag_attributes", name, as_object(given), at)
        if attributes:
            values = {key: plain(value) for key, value in attributes.items()}
            return self._add("tag_attributes", name, values, at)
        return self._named("invoke" if word == "invoke" else "tag_attributes", name, at, max(at, stop))

    def _attributes(self, at: int) -> tuple[dict[str, str], int]:
        attributes: dict[str, str] = {}
        while found := _ATTRIBUTE.match(self._text, at):
            attributes[found[1].lower()] = unquoted(found[2] if found[2] is not None else found[3])
            at = found.end()
        end = _TAG_END.match(self._text, at)
        if end and end[0] != ">" and not attributes:
            self.deviations["tag_case_space"] = None
        return attributes, end.end() if end else at

    def _plain_tag(self, word: str, at: int, following: re.Match[str] | None, stop: int) -> int:
        """Read a search, a question or the end: plain text up to the closing tag, or to the end of the line."""
        _, at = self._attributes(at)
        closed = following is not None and bool(following["slash"]) and following["word"].lower() == word
        text = self._text[at:stop] if closed else self._text[at:stop].strip().partition("\n")[0]
        if not closed:
            self.deviations["tag_unclosed"] = None
        value = plain(text) if text.lstrip().startswith("{") else text.strip()
        asked = value if isinstance(value, dict) else {PLAIN_TAGS[word]: str(value)}
        return self._add("tag", word, asked, stop)

    def _body(self, word: str, at: int, following: re.Match[str] | None, stop: int) -> int:
        """Read what stands in a ``<tool_call>`` without attributes."""
        dialect = "tag" if word == "tool_call" else "function_tag"
        start = self._skip(at)
        fence = _FENCE.match(self._text, at)
        if fence:
            dialect, start = "tag_fenced", self._skip(fence.end())
            after = _MARKER.search(self._text, start)
            stop = after.start() if after else len(self._text)
        if self._text[start : start + 1] in ("{", "["):
            read = self._value(start, stop)
            return self._closing(word, self._objects(dialect, read, max(start, at), loose=True))
        child = _CHILD_NAME.match(self._text, start, stop)
        if child:
            arguments = _CHILD_ARGUMENTS.search(self._text, child.end(), stop)
            read = self._value(self._skip(arguments.end()), stop) if arguments else None
            value = read.value if read else {}
            return self._add("tag_children", child[1], value if isinstance(value, dict) else None, stop)
        name = _NAME.match(self._text, start, stop)
        if name:
            return self._closing(word, self._name_first(name, start, stop))
        if not (following and not following["slash"] and following["tag"] and stop == start):
            self.unreadable += 1
        return at

    def _name_first(self, name: re.Match[str], start: int, stop: int) -> int:
        """Read a body that begins with the tool's name."""
        after = self._skip(name.end())
        char = self._text[after : after + 1]
        if char == "(" and after == name.end():
            read = self._reading(read_call, start, stop)
            if read:
                return self._add("tag_python", read.value[0], read.value[1], read.end)
        if char == "{":
            return self._named("tag_name_json", name[1], after, stop)
        if _ARG_KEY.match(self._text, after, stop) or _PARAMETER.match(self._text, after, stop):
            return self._named("arg_key_value", name[1], after, stop)
        rest = self._text[name.end() : stop].strip(" \t")
        if not rest.strip() or rest.startswith("\n"):
            return self._add("tag_name_json", name[1], {}, stop)
        self.unreadable += 1
        return name.end()

    def _closing(self, word: str, at: int) -> int:
        """Note whether a tag was closed where its content ended."""
        after = self._skip(at)
        fence = _FENCE.match(self._text, after)
        after = self._skip(fence.end()) if fence else after
        marker = _MARKER.match(self._text, after)
        if not (marker and marker["slash"] and marker["word"].lower() == word):
            self.deviations["tag_unclosed"] = None
        return max(at, fence.end() if fence else at)

    # --- special tokens and fences --------------------------------------------------------------------------------

    def _python_tag(self, at: int, stop: int) -> int:
        start = self._skip(at)
        if self._text[start : start + 1] == "{":
            return self._objects("python_tag", self._value(start, stop), at, loose=True)
        read = self._reading(read_call, start, stop)
        if read is None:
            self.unreadable += 1
            return at
        name, arguments = read.value
        return self._add("python_tag", name.removesuffix(".call"), arguments, read.end)

    def _special(self, at: int, stop: int) -> int:
        """Read DeepSeek's and Kimi's form: a header, a separator token, and then the rest."""
        separator = _SEPARATOR.search(self._text, at, stop)
        if separator is None:
            self.unreadable += 1
            return at
        header = self._text[at : separator.start()].strip()
        if header.lower() not in ("function", ""):
            dialect = "kimi" if "argument" in separator[0] else "deepseek_v31"
            return self._named(dialect, header, separator.end(), stop)
        name = _NAME.match(self._text, self._skip(separator.end()), stop)
        if name is None:
            self.unreadable += 1
            return at
        fence = _FENCE.match(self._text, name.end())
        start = fence.end() if fence else name.end()
        after = _MARKER.search(self._text, start)
        return self._named("deepseek", name[1], start, after.start() if after else len(self._text))

    def _mistral(self, at: int, stop: int) -> int:
        start = self._skip(at)
        if self._text[start : start + 1] in ("[", "{"):
            return self._objects("mistral", self._value(start, stop), at, loose=True)
        name = _NAME.match(self._text, start, stop)
        if name is None:
            self.unreadable += 1
            return at
        marked = _ARGS.match(self._text, name.end(), stop)
        return self._named("mistral_args", name[1], marked.end() if marked else name.end(), stop)

    def _fence(self, at: int, stop: int) -> int:
        start = self._skip(at)
        read: Read | None = None
        if self._text[start : start + 1] in ("{", "["):
            read = self._value(start, stop)
            found = list(calls_in(read.value, loose=False)) if read else []
        else:
            read = self._reading(read_call, start, stop) if _BARE_CALL.match(self._text, start) else None
            found = [read.value] if read else []
        if read is None or not found:
            return at
        for name, arguments in found:
            self._add("fenced", name, arguments, read.end)
        end = self._text.find("```", read.end)
        return end + 3 if end >= 0 else read.end

    # --- neither tag nor token ------------------------------------------------------------------------------------

    def _bare(self) -> None:
        """Read calls that stand in the text as they are, in the form that comes first."""
        if _BARE_CALLS.match(self._text, self._skip(0)):
            self._bare_calls(_BARE_CALLS, read_calls)
        for read in (
            self._bare_json,
            lambda: self._bare_calls(_BARE_CALLS, read_calls),
            lambda: self._bare_calls(_BARE_CALL, read_call),
        ):
            if not self.requests:
                read()

    def _bare_json(self) -> None:
        at = 0
        for _ in range(_MOST_MARKERS):
            found = _BARE_JSON.search(self._text, at)
            if found is None:
                break
            read = self._value(found.start(), len(self._text))
            at = found.end()
            for name, arguments in calls_in(read.value, loose=False) if read else ():
                at = self._add("bare_json", name, arguments, read.end if read else at)

    def _bare_calls(self, pattern: re.Pattern[str], reading: Callable[[str, int], Read | None]) -> None:
        at = 0
        while found := pattern.search(self._text, at):
            read = reading(self._text, found.start())
            if read is None:
                break
            for name, arguments in read.value if reading is read_calls else [read.value]:
                self._add("pythonic", name, arguments, read.end)
            at = read.end

    # --- pieces ---------------------------------------------------------------------------------------------------

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def _value(self, start: int, stop: int) -> Read | None:
        """Read an object or array: plain JSON, also past ``stop`` if need be, or leniently."""
        read = read_json(self._text[start:stop], 0)
        if read:
            return replace(read, end=start + read.end)
        if self._spills > 0 and stop < len(self._text):
            self._spills -= 1
            read = read_json(self._text, start)
            if read:
                return read
        return self._reading(read_value, start, stop)

    def _reading(self, reading: Callable[[str, int], Read | None], start: int, stop: int) -> Read | None:
        """Read leniently within a piece, and past its end if something is left open there."""
        read = reading(self._text[start:stop], 0)
        if (read is None or read.cut) and self._spills > 0 and stop < len(self._text):
            self._spills -= 1
            longer = reading(self._text, start)
            if longer and not longer.cut:
                return longer
        return replace(read, end=start + read.end) if read else None

    def _named(self, dialect: str, name: str, at: int, stop: int) -> int:
        """Read the arguments of a call whose name is known: an object, or a tag for each."""
        start = self._skip(at)
        if self._text[start : start + 1] == "{":
            read = self._value(start, stop)
            value = read.value if read else None
            self._note(read)
            arguments = value if isinstance(value, dict) else None
            return self._add(dialect, name, arguments, read.end if read else start)
        arguments, end = self._keyed(start, stop)
        return self._add(dialect, name, arguments, end if arguments else at)

    def _keyed(self, at: int, stop: int) -> tuple[dict[str, Any], int]:
        """Read arguments that stand in a tag each; their text may hold anything but ``</``."""
        arguments: dict[str, Any] = {}
        while key := _PARAMETER.match(self._text, at) or _ARG_KEY.match(self._text, at):
            end = self._text.find("</", key.end())
            end = end if end >= 0 else max(stop, key.end())
            unclosed = _PARAMETER.search(self._text, key.end(), end)
            end = unclosed.start() if unclosed else end
            arguments[key[1].strip()] = plain(self._text[key.end() : end])
            close = _CLOSE.match(self._text, end)
            at = self._skip(close.end() if close else end)
        return arguments, at

    def _objects(self, dialect: str, read: Read | None, at: int, *, loose: bool) -> int:
        found = list(calls_in(read.value, loose=loose)) if read else []
        if read is None or not found:
            self.unreadable += 1
            return read.end if read else at
        self._note(read)
        for name, arguments in found:
            self._add(dialect, name, arguments, read.end)
        return read.end

    def _note(self, read: Read | None) -> None:
        if read and not read.closed:
            self.deviations["unbalanced_json"] = None
        elif read and not read.strict:
            self.deviations["lenient_json"] = None

    def _add(self, dialect: str, name: str, arguments: dict[str, Any] | None, end: int) -> int:
        self.deviations[dialect] = None
        self.requests.append((tool_name(name), arguments))
        return end
