"""The bodies that an OpenAI-compatible server sends: completions, model lists, errors. Knows no sockets.

Shapes follow the public OpenAI API reference (chat completion object, error object).
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import orjson

from simulator.asked import Asked, content_text
from trials.digest import digest
from trials.record import record
from trials.words import Message
from workflows.dialects import Spoken

CHARS_PER_TOKEN = 4


@record
class Said(Spoken):
    """What a model says that may think aloud in a field of its own, as DeepSeek's API has it."""

    reasoning: str = ""


def completion_body(asked: Asked, spoken: Spoken) -> bytes:
    """Return a chat completion. The id and the usage depend on the request alone."""
    message, finish_reason = _reply(spoken)
    prompt_tokens = sum(count_tokens(one) for one in asked.messages)
    completion_tokens = count_tokens(message) + len(message.get("reasoning_content", "")) // CHARS_PER_TOKEN
    identity = asked.identity
    return orjson.dumps(
        {
            "id": "chatcmpl-" + digest([identity.trial_key, identity.task_id, asked.turn], 12),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": identity.model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }
    )


def _reply(spoken: Spoken) -> tuple[Message, str]:
    """Return the reply's message and finish reason. A call without an id goes into the older ``function_call``."""
    functions = [{"name": call.name, "arguments": call.arguments} for call in spoken.tool_calls]
    if not functions:
        thought = {"reasoning_content": spoken.reasoning} if isinstance(spoken, Said) and spoken.reasoning else {}
        return {"role": "assistant", "content": spoken.text, **thought}, "stop"
    message: Message = {"role": "assistant", "content": spoken.text or None}
    if not spoken.tool_calls[0].id:
        return {**message, "function_call": functions[0]}, "function_call"
    ids = [call.id for call in spoken.tool_calls]
    calls = [{"id": id_, "type": "function", "function": one} for id_, one in zip(ids, functions, strict=True)]
    return {**message, "tool_calls": calls}, "tool_calls"


def count_tokens(message: Message) -> int:
    """Estimate a message's tokens from its length; at least one."""
    chars = len(content_text(message))
    written = message.get("tool_calls")
    calls = [one.get("function") for one in written if isinstance(one, dict)] if isinstance(written, list) else []
    for function in (*calls, message.get("function_call")):
        if isinstance(function, dict):
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
