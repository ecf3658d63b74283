"""The form of a reply in the reply cache: which replies are kept, and their bytes. JSON, with the time of writing.

Only a good ending is kept: a reply that was cut short, refused or empty says nothing about the next one. What a call
cost (attempts, waits) is left out, so that a reply from the cache is free; its tokens stay.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import orjson

from trials.words import Completion, ToolCall

VERSION = 1
"""Part of every name in a shared store: replies of another form are never read."""
MAX_BYTES = 1_000_000
GOOD_ENDINGS = frozenset({"stop", "tool_calls", "function_call", "end_turn", "stop_sequence", "tool_use", "eos"})
_COST = {"attempts": 0, "rate_wait_ms": 0.0, "retry_wait_ms": 0.0, "provider_ms": 0.0, "cached": True}
_WRITTEN = "at"
_TYPES = tuple((name, type(value)) for name, value in asdict(Completion(text="")).items() if name not in _COST)


def may_be_kept(reply: Completion) -> bool:
    """Return whether the same question may be answered with this reply."""
    return reply.finish_reason.lower() in GOOD_ENDINGS and bool(reply.text.strip() or reply.tool_calls)


def free_of_charge(reply: Completion) -> Completion:
    """Return the reply as one that was not asked for: cached, without attempts or waits."""
    return replace(reply, **_COST)  # type: ignore[arg-type]


def to_bytes(reply: Completion) -> bytes | None:
    """Return what to store, None for a reply that cannot be: too large, or not Unicode."""
    kept = {name: value for name, value in asdict(reply).items() if name not in _COST}
    try:
        value = orjson.dumps({_WRITTEN: time.time(), **kept})
    except orjson.JSONEncodeError:
        return None
    return value if len(value) <= MAX_BYTES else None


def from_bytes(value: bytes, ttl_s: float) -> Completion | None:
    """Return a stored reply, None if it is older than ``ttl_s`` or damaged."""
    try:
        fields = orjson.loads(value)
        if fields.pop(_WRITTEN) < time.time() - ttl_s:
            return None
        reply = Completion.from_json({**fields, **_COST})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return reply if _is_sound(reply) else None


def _is_sound(reply: Completion) -> bool:
    for name, kind in _TYPES:
        if type(getattr(reply, name)) is not kind:
            return False
    return not reply.tool_calls or all(map(_is_sound_call, reply.tool_calls))


def _is_sound_call(call: ToolCall) -> bool:
    return type(call.id) is str and type(call.name) is str and type(call.arguments) is str
