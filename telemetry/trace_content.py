"""Prompts and replies as the GenAI conventions write them: JSON of messages in parts, cut to a size, keys blotted out.

A span is no archive: whole conversations are in the results store. Source: OpenTelemetry's GenAI conventions,
"Capturing instructions, inputs, and outputs", gen-ai-input-messages.json and gen-ai-output-messages.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from trials.words import Completion, Message

TEXT_CHARS = 4_000
"""A longer text keeps its beginning and its end."""
MOST_CHARS = 32_000
"""Of a conversation that is longer than this, the newest messages are kept."""


class ContentWriter:
    """Writes what was said; ``scrub`` blots keys out of a text. Safe to share between threads."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        self._scrub = scrub

    def request(self, messages: Sequence[Message]) -> str:
        """Return the messages of a request; the first is a note if older ones were left out."""
        kept: list[str] = []
        size = 0
        for message in reversed(messages):
            text = _dumped({"role": str(message.get("role", "")), "parts": self._parts(message)})
            size += len(text)
            if kept and size > MOST_CHARS:
                note = f"[{len(messages) - len(kept)} older messages left out]"
                kept.append(_dumped({"role": "system", "parts": [self._text(note)]}))
                break
            kept.append(text)
        return f"[{','.join(reversed(kept))}]"

    def reply(self, completion: Completion) -> str:
        """Return the reply as the one message that it is."""
        parts = [self._text(completion.text)] if completion.text else []
        parts += [self._call(call.id, call.name, call.arguments) for call in completion.tool_calls]
        return f"[{_dumped({'role': 'assistant', 'parts': parts, 'finish_reason': completion.finish_reason})}]"

    def short(self, text: str) -> str:
        """Return a text without keys, its middle left out if it is long."""
        text = self._scrub(text.encode("utf-8", "replace").decode())  # lone surrogates cannot be sent
        if len(text) <= TEXT_CHARS:
            return text
        half = TEXT_CHARS // 2
        return f"{text[:half]}[… {len(text) - 2 * half} characters left out …]{text[-half:]}"

    def _parts(self, message: Message) -> list[dict[str, Any]]:
        said = _said(message.get("content"))
        if message.get("role") == "tool":
            return [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": self.short(said)}]
        parts = [self._text(said)] if said else []
        for call in message.get("tool_calls") or ():
            function: Mapping[str, Any] = call.get("function") or {}
            parts.append(self._call(call.get("id"), function.get("name", ""), function.get("arguments", "")))
        return parts

    def _text(self, text: str) -> dict[str, Any]:
        return {"type": "text", "content": self.short(text)}

    def _call(self, call_id: str | None, name: str, arguments: str) -> dict[str, Any]:
        return {"type": "tool_call", "id": call_id, "name": name, "arguments": self.short(arguments)}


def _said(content: Any) -> str:
    """Return the words of a message, whose content may be a list of parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or f"[{part.get('type')}]") for part in content if isinstance(part, dict))
    return str(content or "")


def _dumped(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # surrogates once more, in a name or an id
        return json.dumps(value)
