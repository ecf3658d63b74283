"""What the environment says to a model: results of calls, searches and questions, hints. Written here, read back here.

Each answer is one JSON object. With tags it stands in ``<tool_result>…</tool_result>``; in the native protocol it is
the content of a ``tool`` message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trials.record import record
from trials.words import Message
from workflows.sandbox import CallRecord
from workflows.tasks import Task
from workflows.tools import Parameter, Tool

BEST = 5
_LONGEST_ECHO = 1000
"""Arguments longer than this (as JSON) are not repeated in the answer."""

HINTS: Mapping[str, str] = {
    "tags": (
        "This reply asked for nothing. Use <tool_search>, <tool_info> or <tool_call> to go on, "
        "or <finish> if the work has ended."
    ),
    "native": "This reply asked for nothing. Call a function to go on, or finish if the work has ended.",
    "unreadable": "A request in this reply could not be read, and nothing was done about it.",
    "not_alone": "The work goes on, as finish did not stand alone. See the results first.",
    "too_many": "Only the first {limit} requests of a reply are answered.",
}


@record
class ToolResult:
    """The answer to one call, as the conversation tells it."""

    tool: str
    arguments: Mapping[str, Any]
    ok: bool
    error_code: str = ""
    reason: str = ""
    outputs: Mapping[str, Any]


def call_answer(record: CallRecord) -> dict[str, Any]:
    """Return the answer to a call."""
    arguments = dict(record.arguments)
    if len(json.dumps(arguments)) > _LONGEST_ECHO:
        arguments = {}
    answer: dict[str, Any] = {"tool": record.tool[:80], "arguments": arguments}
    if record.ok:
        return {**answer, "status": "success", "outputs": dict(record.outputs)}
    return {**answer, "status": "failure", "error": record.error_code, "reason": record.reason}


def search_answer(task: Task, difficulty: str, query: str) -> dict[str, Any]:
    """Return the tools, of those the prompt shows, that have most words in common with a query."""
    words = _words(query[:500])

    def score(tool: Tool) -> int:
        in_name = len(words & _words(tool.name))
        return 3 * in_name + len(words & _words(tool.description))

    tools = [task.toolset[name] for name in task.visible_tools(difficulty)]
    best = sorted(tools, key=lambda tool: (-score(tool), tool.name))[:BEST]
    return {"search": query[:200], "found": {tool.name: tool.description for tool in best}}


def info_answer(task: Task, difficulty: str, name: str) -> dict[str, Any]:
    """Return what is to be known of a tool, if the prompt shows it."""
    if name not in task.visible_tools(difficulty):
        return {"info": name[:80], "reason": "there is no such tool"}
    tool = task.toolset[name]
    return {
        "info": name,
        "description": tool.description,
        "parameters": {one.name: _parameter(one) for one in tool.parameters},
        "returns": {one.name: one.type for one in tool.returns},
    }


def in_tags(answer: Mapping[str, Any]) -> str:
    """Return an answer as it stands in a user message; nothing within can end the tag early."""
    text = json.dumps(answer, ensure_ascii=False).replace("</", "<\\/")
    return f"<tool_result>{text}</tool_result>"


def read_results(messages: Sequence[Message]) -> list[ToolResult]:
    """Return the results of all calls so far, in order, from a conversation in either protocol.

    What the model itself wrote is never taken for a result, and neither is the opening.
    """
    results: list[ToolResult] = []
    begun = False
    for message in messages:
        begun = begun or message["role"] == "assistant"
        if not begun or message["role"] not in ("user", "tool"):
            continue
        content = str(message.get("content") or "")
        texts = [content] if message["role"] == "tool" else _RESULT.findall(content)
        results.extend(_results(texts))
    return results


_RESULT = re.compile(r"^<tool_result>(.*)</tool_result>$", re.MULTILINE)


def _results(texts: Iterable[str]) -> Iterable[ToolResult]:
    for text in texts:
        answer = json.loads(text)
        if "tool" in answer:
            yield ToolResult(
                tool=answer["tool"],
                arguments=answer["arguments"],
                ok=answer["status"] == "success",
                error_code=answer.get("error", ""),
                reason=answer.get("reason", ""),
                outputs=answer.get("outputs", {}),
            )


def _parameter(parameter: Parameter) -> str:
    """Return what is to be known of a parameter, on one line."""
    limits = [
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in parameter.constraints.items()
    ]
    need = "required" if parameter.required else "optional"
    return "; ".join((f"{parameter.type}, {need}: {parameter.description}", *limits))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text.lower().replace("_", " ")))
