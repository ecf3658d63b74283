"""Reads what a model asks for out of its reply, in whatever dialect it was trained to ask.

``parse_reply`` never raises and takes linear time: a reply is cut at its markers (tags, special tokens, fences), each
piece is read once, at most ``_MOST_MARKERS`` of them, and at most ``_MOST_SPILLS`` readings may look past the end of their piece
(a marker's text may stand inside a string). What deviates from the asked-for form is told, and decides nothing.
Dialects are described in ``workflows/dialects.py``, which can also write each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trials.words import Completion
from workflows.literals import Read, encodable, plain, read_call, read_calls, read_json, read_value

_MOST_MARKERS = 256
_MOST_SPILLS = 8
_LONGEST_NAME = 100

_ASKED_FOR = {"tags": "tag", "native": "openai_tool_calls"}
_SEARCH, _INFO, _FINISH = "tool_search", "tool_info", "finish"
_PLAIN_TAGS = {_SEARCH: "query", _INFO: "name", _FINISH: "summary"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCall:
    """One request of a reply. ``arguments`` is None if they could not be read; ``native`` if it came as a tool call."""

    name: str
    arguments: dict[str, Any] | None
    id: str = ""
    native: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """All requests of a reply in order, and how it deviated from the form it was asked for.

    ``unreadable`` counts places that began like a request and could not be read.
    """

    requests: tuple[ParsedCall, ...] = ()
    deviations: tuple[str, ...] = ()
    unreadable: int = 0

    @property
    def calls(self) -> tuple[ParsedCall, ...]:
        """The calls of tools proper."""
        return tuple(one for one in self.requests if one.name not in _PLAIN_TAGS)

    @property
    def searches(self) -> tuple[str, ...]:
        """The queries of tool searches."""
        return self._texts(_SEARCH)

    @property
    def infos(self) -> tuple[str, ...]:
        """The names of tools that were asked about."""
        return self._texts(_INFO)

    @property
    def finished(self) -> bool:
        """Whether the model says that the work has ended."""
        return any(one.name == _FINISH for one in self.requests)

    def _texts(self, name: str) -> tuple[str, ...]:
        asked = (one.arguments or {} for one in self.requests if one.name == name)
        return tuple(str(one.get(_PLAIN_TAGS[name], next(iter(one.values()), ""))) for one in asked)


def parse_reply(completion: Completion, protocol: str = "tags") -> ParsedReply:
    """Read a reply. Never raises. Native calls win over anything the text says."""
    if completion.tool_calls:
        requests, deviations = [], {}
        for call in completion.tool_calls:
            deviations["openai_tool_calls" if call.id else "function_call"] = None
            arguments = _object(call.arguments)
            requests.append(
                ParsedCall(name=_name(call.name), arguments=arguments, id=str(call.id), native=True)
            )
        unreadable = 0
    else:
        text = encodable(completion.text)
        spoken = without_thinking(text)
        reader = _Reader(spoken)
        reader.read()
        requests, deviations, unreadable = reader.requests, reader.deviations, reader.unreadable
        if spoken != text:
            deviations["think"] = None
    deviations.pop(_ASKED_FOR[protocol], None)
    return ParsedReply(requests=tuple(requests), deviations=tuple(deviations), unreadable=unreadable)


def without_thinking(text: str) -> str:
    """Return a reply without its thinking: a closed block, all before a lone closing tag, or a lone opening tag."""
    if not _THINK.search(text):
        return text
    pieces: list[str] = []
    at, inside = 0, -1
    for tag in _THINK.finditer(text):
        if "/" in tag[0]:
            pieces = pieces if inside >= 0 else []
            at, inside = tag.end(), -1
        elif inside < 0:
            pieces.append(text[at : tag.start()])
            inside = tag.end()
    pieces.append(text[at if inside < 0 else inside :])
    return "".join(pieces)


_THINK = re.compile(
    r"<\s{0,4}/?\s{0,4}(?:think|thinking|thought|reasoning)\s{0,4}>|◁/?think▷|\[/?THINK\]", re.IGNORECASE
)
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
    r"<\s{0,4}(?:\w{1,12}:)?parameter\s{0,4}(?:=|\sname\s{0,4}=)\s{0,4}[\"']?([\w.\-]{1,80})[\"']?[^<>]{0,80}>", re.IGNORECASE
)
_ARG_KEY = re.compile(r"<arg_key>([^<]{1,120})</arg_key>\s{0,20}<arg_value>", re.IGNORECASE)
_CHILD_NAME = re.compile(r"<(?:tool_)?name>([^<]{1,120})</", re.IGNORECASE)
_CHILD_ARGUMENTS = re.compile(r"<(?:arguments|parameters|args|input)>", re.IGNORECASE)
_SEPARATOR = re.compile(r"<[|｜]tool[_▁](?:sep|call[_▁]argument[_▁]begin)[|｜]>")
_MESSAGE = re.compile(r"<\|message\|>")
_ARGS = re.compile(r"\s{0,8}(?:\[CALL_ID\][\w\-]{0,80})?\s{0,8}\[ARGS\]")
_FENCE = re.compile(r"\s{0,20}```\w{0,20}")
_BARE_JSON = re.compile(
    r"\{\s{0,20}[\"'](?:name|tool|tool_name|function|function_call|tool_calls|action|type|arguments|parameters)[\"']\s{0,20}:"
)
_BARE_CALLS = re.compile(r"\[\s{0,20}[^\W\d][\w.]{0,99}\(")
_BARE_CALL = re.compile(r"^[ \t]{0,8}[^\W\d]\w{0,60}_\w{0,60}\((?=\s{0,20}(?:\w{1,80}\s{0,4}=|\)))", re.MULTILINE)

_NAME_KEYS = ("name", "tool_name", "tool", "function", "action", "function_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "action_input", "params")


class _Reader:
    """Goes through one reply from marker to marker."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spills = _MOST_SPILLS
        self.requests: list[ParsedCall] = []
        self.deviations: dict[str, None] = {}
        self.unreadable = 0

    def read(self) -> None:
        at = 0
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
        if word in _PLAIN_TAGS:
            return self._plain_tag(word, marker.end(), following, stop)
        if word == "function":
            found = _EQUALS_NAME.match(self._text, marker.end())
            if found:
                return self._named("function_tag", found[1], found.end(), stop)
        attributes, at = self._attributes(marker.end())
        if word in ("tool_calls", "function_calls"):
            return at
        name = next((attributes.pop(key) for key in _NAME_KEYS if key in attributes), "")
        if not name:
            return self._body(word, at, following, stop)
        given = next((attributes.pop(key) for key in _ARGUMENT_KEYS if key in attributes), None)
        if given is not None:
            return self._add("tag_attributes", name, _object(given), at)
        if attributes:
            values = {key: plain(value) for key, value in attributes.items()}
            return self._add("tag_attributes", name, values, at)
        return self._named("invoke" if word == "invoke" else "tag_attributes", name, at, max(at, stop))

    def _attributes(self, at: int) -> tuple[dict[str, str], int]:
        attributes: dict[str, str] = {}
        while found := _ATTRIBUTE.match(self._text, at):
            attributes[found[1].lower()] = _unquoted(found[2] if found[2] is not None else found[3])
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
        asked = value if isinstance(value, dict) else {_PLAIN_TAGS[word]: str(value)}
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
            found = list(_calls_in(read.value, loose=False)) if read else []
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
        """Read calls that stand in the text as they are."""
        at = 0
        for _ in range(_MOST_MARKERS):
            found = _BARE_JSON.search(self._text, at)
            if found is None:
                break
            read = self._value(found.start(), len(self._text))
            at = found.end()
            for name, arguments in _calls_in(read.value, loose=False) if read else ():
                at = self._add("bare_json", name, arguments, read.end if read else at)
        for pattern, reading in ((_BARE_CALLS, read_calls), (_BARE_CALL, read_call)):
            at = 0
            while not self.requests or at:
                found = pattern.search(self._text, at)
                read = reading(self._text, found.start()) if found else None
                if read is None:
                    break
                calls = read.value if isinstance(read.value, list) else [read.value]
                for name, arguments in calls:
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
            return Read(value=read.value, end=start + read.end)
        if self._spills > 0 and stop < len(self._text):
            self._spills -= 1
            read = read_json(self._text, start)
            if read:
                return read
        return self._reading(read_value, start, stop)

    def _reading(self, reading: Callable[[str, int], Read | None], start: int, stop: int) -> Read | None:
        """Read leniently within a piece, and past its end if something is left open there."""
        read = reading(self._text[start:stop], 0)
        if read and read.closed:
            return Read(value=read.value, end=start + read.end, strict=False)
        if self._spills > 0 and stop < len(self._text):
            self._spills -= 1
            longer = reading(self._text, start)
            if longer and longer.closed:
                return longer
        return Read(value=read.value, end=start + read.end, closed=False, strict=False) if read else None

    def _named(self, dialect: str, name: str, at: int, stop: int) -> int:
        """Read the arguments of a call whose name is known: an object, or a tag for each."""
        start = self._skip(at)
        if self._text[start : start + 1] == "{":
            read = self._value(start, stop)
            value = read.value if read else None
            self._note(read)
            arguments = value if isinstance(value, dict) else None
            return self._add(dialect, name, arguments, read.end if read else start)
        keys = list(_PARAMETER.finditer(self._text, start, stop))
        keys = keys or list(_ARG_KEY.finditer(self._text, start, stop))
        ends = [*(key.start() for key in keys[1:]), stop]
        arguments = {}
        for key, end in zip(keys, ends, strict=True):
            close = self._text.find("</", key.end(), end)
            arguments[key[1].strip()] = plain(self._text[key.end() : close if close >= 0 else end])
        return self._add(dialect, name, arguments, stop if keys else at)

    def _objects(self, dialect: str, read: Read | None, at: int, *, loose: bool) -> int:
        found = list(_calls_in(read.value, loose=loose)) if read else []
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
        self.requests.append(ParsedCall(name=_name(name), arguments=arguments))
        return end


def _calls_in(value: Any, *, loose: bool) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield the calls that a JSON value stands for; ``loose`` also takes a name without arguments."""
    if isinstance(value, list):
        for one in value:
            if isinstance(one, dict):
                yield from _calls_in(one, loose=loose)
        return
    if not isinstance(value, dict):
        return
    for key in ("tool_calls", "function_call", "function", "tool_call"):
        inner = value.get(key)
        if isinstance(inner, list | dict):
            if isinstance(inner, dict) and "arguments" not in inner and "arguments" in value:
                inner = {**inner, "arguments": value["arguments"]}
            yield from (_calls_in(inner, loose=loose) if _shallow(inner) else ())
            return
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    given = next((key for key in _ARGUMENT_KEYS if key in value), None)
    if name and (given or loose):
        yield name, _object(value[given]) if given else {}


def _shallow(value: Any, depth: int = 8) -> bool:
    """Whether wrappings around a call end soon enough to be followed."""
    while depth and isinstance(value, dict | list) and value:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        depth -= 1
    return depth > 0


def _object(value: Any) -> dict[str, Any] | None:
    """Return arguments as a dict: themselves, or read from JSON text; None if they are neither."""
    if isinstance(value, str):
        text = encodable(value).strip()
        if not text:
            return {}
        read = read_json(text, 0) or read_value(text, 0)
        value = read.value if read else None
    if value is None or isinstance(value, dict):
        return value
    return None


def _name(text: Any) -> str:
    """Return a tool's name without its trimmings."""
    name = encodable(str(text)).strip().strip("`\"'").strip()
    name = name.removeprefix("functions.").partition(":")[0]
    return name[:_LONGEST_NAME].lower()


def _unquoted(text: str) -> str:
    for entity, char in (("&quot;", '"'), ("&apos;", "'"), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text


