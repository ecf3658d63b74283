"""OpenAI's chat completions as they go over the wire: messages into a request, a reply into a Completion or an error.

Sources: OpenAI API reference, "Create chat completion"; Azure OpenAI REST reference; RFC 9110, section 15 (status
codes). Sends nothing and retries nothing; streaming is not spoken. What a model thinks
aloud (``reasoning_content``) is left out: only its answer is marked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson

from providers.endpoints import AZURE, chat_url
from providers.keys import Key, redact
from providers.rate_hints import retry_after_s
from providers.transport import HttpReply, HttpRequest
from trials.errors import ProviderError
from trials.words import Completion, Deployment, Message, Sampling, ToolCall, Trial

TRIAL_HEADER = "x-simulated-trial"
_LONGEST_HEADER = 30_000
_SHOWN_CHARACTERS = 300
_READ_CHARACTERS = 5000

# 402: no balance; 405 and 410: nothing that chats lives there. All as final for the whole deployment as 401 and 404.
_ACCESS = frozenset({401, 402, 403, 404, 405, 410})
_PASSING = frozenset({409, 425})


def trial_header(trial: Trial, told: Mapping[str, Any] | None = None) -> str:
    """Return what a simulator is told of a trial: compact ASCII JSON for the header ``TRIAL_HEADER``.

    ``told`` is what the workload adds; it is left out where it would make the header too long to be sent.
    """
    cell = trial.cell
    said = {"key": trial.trial_key, "task": trial.task_id, "epoch": trial.epoch, "seed": cell.seed, "model": cell.model}
    header = json.dumps({**said, **told} if told else said, separators=(",", ":"))
    return header if len(header) <= _LONGEST_HEADER else json.dumps(said, separators=(",", ":"))


def build_request(
    deployment: Deployment,
    key: Key,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
    sampling: Sampling,
    trial_header: str = "",
) -> HttpRequest:
    """Return the POST that asks for one completion.

    ``trial_header`` (compact ASCII JSON) tells a simulator which trial this is; a real provider is never told.
    """
    fields: dict[str, Any] = {"model": deployment.api_model, "messages": messages}
    fields["temperature"] = sampling.temperature
    fields[deployment.max_tokens_field] = sampling.max_tokens
    for name in deployment.omit:
        fields.pop(deployment.max_tokens_field if name == "max_tokens" else name, None)
    if tools:
        fields["tools"] = tools
    fields.update(sampling.extra)
    headers = {"Content-Type": "application/json"}
    if deployment.api == AZURE:
        headers["api-key"] = key.secret.reveal()
    else:
        headers["Authorization"] = f"Bearer {key.secret.reveal()}"
    if deployment.simulated:
        headers[TRIAL_HEADER] = trial_header
    return HttpRequest(url=chat_url(deployment), headers=headers, body=_encoded(fields))


def read_reply(reply: HttpReply, deployment: Deployment, key: Key, **cost: float) -> Completion:
    """Return the completion that a reply holds; ``cost`` are fields of it that the reply does not tell.

    Raises ProviderError, its text fit for people and free of the key.
    """
    if not 200 <= reply.status < 300:
        raise _refusal(reply, deployment, key)
    try:
        return _completion(_document(reply.body), deployment, cost)
    except _Unreadable as error:
        words = f"HTTP {reply.status}, but {error}"
        said = _own_words(reply, key)
        raise ProviderError(
            describe(deployment, f"{words}: {said}" if said else words),
            kind="bad_reply",
            status=reply.status,
            retryable=True,
        ) from error


def describe(deployment: Deployment, words: str) -> str:
    """Return an error's text: who was asked, and what became of it."""
    return f"{deployment.provider} {deployment.name}: {words}"


def tidy(text: str, key: Key) -> str:
    """Return foreign text as one short printable line without the key."""
    # The key goes first: what cuts the text might cut the key and leave half of it standing.
    text = redact(text, (key.secret,))[:_READ_CHARACTERS]
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


class _Unreadable(Exception):
    """A reply with a good status that holds no completion; the text says why."""


def _refusal(reply: HttpReply, deployment: Deployment, key: Key) -> ProviderError:
    status = reply.status
    kind, retryable = _kind(status)
    words = f"HTTP {_status_text(status)}"
    if 300 <= status < 400:
        words += (
            f", a redirect to {tidy(reply.headers.get('location', 'nowhere'), key)}, is not followed; check the URL"
        )
    elif said := _own_words(reply, key):
        words += f": {said}"
    return ProviderError(
        describe(deployment, words),
        kind=kind,
        status=status,
        retryable=retryable,
        fatal=kind == "access",
        retry_after_s=retry_after_s(reply.headers),
    )


def _kind(status: int) -> tuple[str, bool]:
    """Return the kind of error a status stands for, and whether another attempt may do better."""
    if status == 429:
        return "rate_limited", True
    if status == 408:
        return "timeout", True
    if status >= 500 or status in _PASSING:
        return "server_error", True
    if status in _ACCESS:
        return "access", False
    return ("rejected", False) if status >= 400 else ("bad_reply", False)


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _own_words(reply: HttpReply, key: Key) -> str:
    """Return what the provider itself says is wrong, wherever in its reply it does."""
    text = reply.body[: 4 * _READ_CHARACTERS].decode("utf-8", "replace")
    try:
        found: Any = orjson.loads(text)
    except ValueError:
        return tidy(text, key)
    for _ in range(3):
        if not isinstance(found, dict):
            break
        found = next((found[name] for name in ("error", "message", "detail", "msg") if found.get(name)), text)
    return tidy(found if isinstance(found, str) else text, key)


def _encoded(fields: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError:  # half a surrogate pair in a text, which a model's tool arguments may well hold
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except ValueError:
        document = _lenient(body)
    if not isinstance(document, dict):
        raise _Unreadable("the body is not a JSON object")
    if document.get("error"):
        raise _Unreadable("the body holds an error")
    return document


def _lenient(body: bytes) -> Any:
    """Read JSON that orjson is too strict for: half a surrogate pair, as servers write when they cut a text short."""
    try:
        return json.loads(json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise _Unreadable("the body is empty" if not body.strip() else "the body is not whole JSON") from error


def _completion(document: Mapping[str, Any], deployment: Deployment, cost: Mapping[str, Any]) -> Completion:
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _Unreadable("there are no choices in it")
    message, finish_reason = choices[0].get("message"), choices[0].get("finish_reason")
    if not isinstance(message, dict):
        raise _Unreadable("there is no message in it")
    tool_calls = _tool_calls(message)
    text = _text(message)
    # A choice that ended and says nothing is an empty answer; one that did not even end is not an answer.
    if text is None and not tool_calls and not finish_reason:
        raise _Unreadable("the message has no content")
    usage = document.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Completion(
        text=text or "",
        tool_calls=tool_calls,
        finish_reason=finish_reason if isinstance(finish_reason, str) and finish_reason else "stop",
        reported_model=_string(document.get("model")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        deployment=deployment.name,
        **cost,
    )


def _text(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if content is None:
        return _string(message.get("refusal")) or None
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_part, content))
    raise _Unreadable("the message's content is of no known form")


def _part(part: Any) -> str:
    return part if isinstance(part, str) else _string(part.get("text")) if isinstance(part, dict) else ""


def _tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise _Unreadable("its tool calls are of no known form")
    if not calls and message.get("function_call"):
        calls = [{"function": message["function_call"]}]
    return tuple(_tool_call(call, place) for place, call in enumerate(calls))


def _tool_call(call: Any, place: int) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _Unreadable("a tool call has no name")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = "" if arguments is None else orjson.dumps(arguments).decode()
    return ToolCall(id=_string(call.get("id")) or f"call_{place}", name=function["name"], arguments=arguments)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
