"""The bodies that an OpenAI-compatible server sends: completions, model lists, errors. Knows no sockets.

Shapes follow the public OpenAI API reference (chat completion object, error object).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from simulator.asked import Asked, content_text
from trials.digest import digest
from trials.words import Message

CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a simulated model says: text, native tool calls in the wire form, or both."""

    text: str
    tool_calls: Sequence[Mapping[str, Any]] = ()


def completion_body(asked: Asked, spoken: Spoken) -> bytes:
    """Return a chat completion. The id and the usage depend on the request alone."""
    message: dict[str, Any] = {"role": "assistant", "content": spoken.text or None}
    if spoken.tool_calls:
        message["tool_calls"] = list(spoken.tool_calls)
    elif not spoken.text:
        message["content"] = ""
    prompt_tokens = sum(count_tokens(one) for one in asked.messages)
    completion_tokens = count_tokens(message)
    identity = asked.identity
    return orjson.dumps(
        {
            "id": "chatcmpl-" + digest([identity.trial_key, identity.task_id, asked.turn], 12),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": identity.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": "tool_calls" if spoken.tool_calls else "stop",
                }
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }
    )


def count_tokens(message: Message) -> int:
    """Estimate a message's tokens from its length; at least one."""
    chars = len(content_text(message))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        chars += len(str(function.get("name", ""))) + len(str(function.get("arguments", "")))
    return max(1, round(chars / CHARS_PER_TOKEN))


def models_body(names: Iterable[str]) -> bytes:
    """Return the list of models."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "simulator"} for name in names]
    return orjson.dumps({"object": "list", "data": data})


ERROR_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_body(status: int, code: str, message: str) -> bytes:
    """Return an error object in OpenAI's shape."""
    kind = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
