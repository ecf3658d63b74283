"""Reads what a model asks for out of its reply, in whatever dialect it was trained to ask.

``parse_reply`` never raises and takes linear time. What deviates from the asked-for form is told, and decides
nothing. The dialects are described in ``workflows/dialects.py``, which can also write each of them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from trials.record import record
from trials.words import Completion
from workflows.callshapes import as_object, tool_name
from workflows.literals import encodable
from workflows.markup import PLAIN_TAGS, Markup

_ASKED_FOR = {"tags": "tag", "native": "openai_tool_calls"}
_SEARCH, _INFO, _FINISH = PLAIN_TAGS


@record
class ParsedCall:
    """One request of a reply. ``arguments`` is None if they could not be read; ``native`` if it came as a tool call."""

    name: str
    arguments: dict[str, Any] | None
    id: str = ""
    native: bool = False


@record
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
        return tuple(one for one in self.requests if one.name not in PLAIN_TAGS)

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
        return tuple(str(one.get(PLAIN_TAGS[name], next(iter(one.values()), ""))) for one in asked)


def parse_reply(completion: Completion, protocol: str = "tags") -> ParsedReply:
    """Read a reply. Never raises. Native calls win over anything the text says."""
    reply = _native(completion) if completion.tool_calls else _spoken(encodable(completion.text))
    asked_for = _ASKED_FOR[protocol]
    return replace(reply, deviations=tuple(one for one in reply.deviations if one != asked_for))


def _native(completion: Completion) -> ParsedReply:
    calls = completion.tool_calls
    return ParsedReply(
        requests=tuple(
            ParsedCall(name=tool_name(call.name), arguments=as_object(call.arguments), id=str(call.id), native=True)
            for call in calls
        ),
        deviations=tuple(dict.fromkeys("openai_tool_calls" if call.id else "function_call" for call in calls)),
    )


def _spoken(text: str) -> ParsedReply:
    said = without_thinking(text)
    markup = Markup(_without_claims(said))
    markup.read()
    return ParsedReply(
        requests=tuple(ParsedCall(name=name, arguments=arguments) for name, arguments in markup.requests),
        deviations=(*markup.deviations, *(("think",) if said != text else ())),
        unreadable=markup.unreadable,
    )


def _without_claims(text: str) -> str:
    """Return a reply without the results that the model makes up, which may look like calls."""
    pieces, at = [], 0
    while opened := _CLAIM.search(text, at):
        closed = _CLAIM_END.search(text, opened.end())
        if closed is None:
            break
        pieces.append(text[at : opened.start()])
        at = closed.end()
    return "".join([*pieces, text[at:]])


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
_CLAIM = re.compile(r"<(?:tool_result|tool_response|tool_output|observation)>", re.IGNORECASE)
_CLAIM_END = re.compile(r"</(?:tool_result|tool_response|tool_output|observation)>", re.IGNORECASE)
