"""The turn loop: ask, read the reply, carry out what it asks for, answer, until the work is done or has ended.

- Every reply enters the conversation, and every reply gets an answer.
- The trial ends at once when every required tool has succeeded in a right order: nothing said later could change
  its score. Before that it ends when the model finishes (``<finish>`` or the function ``finish``, alone in a
  reply) or when the turns are used up.
- No hint names a tool that the prompt does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trials.record import record
from trials.words import Chat, Completion, Message, Trial
from workflows import answers
from workflows.answers import ToolResult, read_results
from workflows.parsing import ParsedCall, ParsedReply, parse_reply, without_thinking
from workflows.prompts import FINISH, NATIVE, TOOL_INFO, TOOL_SEARCH, native_tools, opening
from workflows.sandbox import CallRecord, Sandbox
from workflows.tasks import Task

__all__ = ["MOST_REQUESTS", "ToolResult", "Transcript", "converse", "read_results"]

MOST_REQUESTS = 16
"""Requests answered in one reply; more than any task needs."""

DONE, FINISHED, OUT_OF_TURNS = "done", "finished", "max_turns"


@record
class Transcript:
    """All that happened in a trial's conversation. ``ended`` says why it ended: done, finished or max_turns."""

    messages: tuple[Message, ...]
    calls: tuple[CallRecord, ...]
    turns: int
    ended: str
    searches: int = 0
    infos: int = 0
    unreadable: int = 0
    idle: int = 0
    deviations: tuple[str, ...] = ()


def converse(task: Task, trial: Trial, chat: Chat) -> Transcript:
    """Run a trial's conversation. Raises what ``chat`` raises."""
    talk = _Talk(task, trial)
    tools = native_tools(task, trial.cell)
    while talk.ended == "" and talk.turn < trial.cell.max_turns:
        talk.take(chat(talk.messages, tools))
    return talk.transcript()


class _Talk:
    """One conversation as it grows."""

    def __init__(self, task: Task, trial: Trial) -> None:
        self._task = task
        self._cell = trial.cell
        self._native = trial.cell.tool_protocol == NATIVE
        self._sandbox = Sandbox(task, trial)
        self._calls: list[CallRecord] = []
        self._deviations: dict[str, None] = {}
        self._counts = {"searches": 0, "infos": 0, "unreadable": 0, "idle": 0}
        self.messages = opening(task, trial.cell)
        self.turn = 0
        self.ended = ""

    def take(self, completion: Completion) -> None:
        """Let one reply enter the conversation, and answer it."""
        self.turn += 1
        reply = parse_reply(completion, "native" if self._native else "tags")
        self._deviations.update(dict.fromkeys(reply.deviations))
        requests = _with_ids(reply.requests, self.turn)[:MOST_REQUESTS]
        self.messages.append(self._echo(completion, requests))
        work = [one for one in requests if one.name != FINISH]
        answered = [(one, self._answer(one)) for one in work]
        self._say(reply, requests, answered)
        if self._sandbox.complete:
            self.ended = DONE
        elif reply.finished and not work:
            self.ended = FINISHED

    def transcript(self) -> Transcript:
        """Return what happened."""
        return Transcript(
            messages=tuple(self.messages),
            calls=tuple(self._calls),
            turns=self.turn,
            ended=self.ended or OUT_OF_TURNS,
            deviations=tuple(self._deviations),
            **self._counts,
        )

    def _answer(self, request: ParsedCall) -> dict[str, Any]:
        asked = request.arguments or {}
        if request.name == TOOL_SEARCH:
            self._counts["searches"] += 1
            return answers.search_answer(self._task, self._cell.difficulty, _text_of(asked, "query"))
        if request.name == TOOL_INFO:
            self._counts["infos"] += 1
            return answers.info_answer(self._task, self._cell.difficulty, _text_of(asked, "name").lower())
        record = self._sandbox.call(self.turn, request.name, request.arguments)
        self._calls.append(record)
        return answers.call_answer(record)

    def _echo(self, completion: Completion, requests: Sequence[ParsedCall]) -> Message:
        """Return the reply as the conversation keeps it: without its thinking, and such that any API takes it back."""
        text = without_thinking(completion.text).strip()
        native = [one for one in requests if one.native]
        if self._native and native:
            return {"role": "assistant", "content": text, "tool_calls": [_wire(one) for one in native]}
        spoken = [f"<tool_call>{_wire_json(one)}</tool_call>" for one in native]
        return {"role": "assistant", "content": "\n".join(filter(None, [text, *spoken])) or "(no text)"}

    def _say(
        self,
        reply: ParsedReply,
        requests: Sequence[ParsedCall],
        answered: Sequence[tuple[ParsedCall, Mapping[str, Any]]],
    ) -> None:
        """Answer the reply: each native call in a message of its own, all else in one user message."""
        lines = []
        by_id = {request.id: answer for request, answer in answered}
        for request in requests:
            answer = by_id.get(request.id, {"finish": "noted"})
            if self._native and request.native:
                content = json.dumps(answer, ensure_ascii=False)
                self.messages.append({"role": "tool", "tool_call_id": request.id, "content": content})
            elif request.name != FINISH:
                lines.append(answers.in_tags(answer))
        lines.extend(self._hints(reply, answered))
        if lines:
            self.messages.append({"role": "user", "content": "\n".join(lines)})

    def _hints(self, reply: ParsedReply, answered: Sequence[object]) -> list[str]:
        hints = []
        if reply.unreadable:
            self._counts["unreadable"] += 1
            hints.append(answers.HINTS["unreadable"])
        if len(reply.requests) > MOST_REQUESTS:
            hints.append(answers.HINTS["too_many"].format(limit=MOST_REQUESTS))
        if answered and reply.finished and not self._sandbox.complete:
            hints.append(answers.HINTS["not_alone"])
        if not answered and not reply.finished:
            self._counts["idle"] += 1
            hints.append(answers.HINTS["native" if self._native else "tags"])
        return hints


def _with_ids(requests: Sequence[ParsedCall], turn: int) -> list[ParsedCall]:
    """Give each request an id that no other has, keeping the model's own where it can be used."""
    seen: set[str] = set()
    named = []
    for place, request in enumerate(requests):
        usable = _ID.fullmatch(request.id) and request.id not in seen
        name = request.id if usable else f"call_{turn}_{place}"
        seen.add(name)
        named.append(replace(request, id=name))
    return named


_ID = re.compile(r"[\w.:-]{1,80}", re.ASCII)


def _wire(request: ParsedCall) -> dict[str, Any]:
    """Return a native call as it may be sent back: APIs refuse odd names and arguments that are no JSON object."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", request.name)[:64] or "unknown"
    arguments = json.dumps(request.arguments or {}, ensure_ascii=False)
    return {"id": request.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _wire_json(request: ParsedCall) -> str:
    return json.dumps({"name": request.name, "arguments": request.arguments or {}}, ensure_ascii=False)


def _text_of(asked: Mapping[str, Any], name: str) -> str:
    """Return the argument a search or question is about, whatever the model called it."""
    value = asked.get(name, next(iter(asked.values()), ""))
    return value.strip() if isinstance(value, str) else json.dumps(value)
