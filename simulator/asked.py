"""What one HTTP request asks of the simulator: who asks, which model, which trial. Decides nothing.

The OpenAI form is POST …/chat/completions with ``Authorization: Bearer KEY``; Azure's is POST
/openai/deployments/NAME/chat/completions?api-version=… with the key in ``api-key``. Both as the vendors' API
references have them. What the runner tells a simulator beside the messages comes in the trial header; of a question
that is its answer, of an answer to judge whether it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from trials.digest import digest
from trials.words import Message

TRIAL_HEADER = "x-simulated-trial"
MAX_HEADER_BYTES = 64 * 2**10
STYLES = ("plain", "bare", "boxed", "letter", "json")
ORDINARY_SEED = 42


class Refused(Exception):
    """The request cannot be answered as it stands; carries what an OpenAI-like error says."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a simulated model is told of a question: the right answer, a letter if there are choices; and its style."""

    answer: str
    choices: tuple[str, ...] = ()
    style: str = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which trial a request belongs to.

    ``trial_key`` is empty for a client that sends no trial header, ``task_id`` if no task is known. ``question`` is
    there if the trial asks one; ``judged`` if an answer is to be judged, and is then what a perfect judge would say.
    """

    trial_key: str
    task_id: str
    epoch: int
    seed: int
    model: str
    question: Question | None = None
    judged: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One well-formed request. Each message has a role and, as text, a content; ``turn`` counts the replies so far."""

    key: str
    deployment: str
    identity: Identity
    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]]
    turn: int


def read_key(headers: Mapping[str, str], azure: bool) -> str:
    """Return the API key. Raises Refused 401 when the header of this URL form holds none."""
    if azure:
        key, where = headers.get("api-key", ""), "the api-key header"
    else:
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        key, where = key if scheme.lower() == "bearer" else "", "an Authorization header: Bearer YOUR_KEY"
    if not key.strip():
        raise Refused(401, "invalid_api_key", f"No API key was given; send it in {where}.")
    return key.strip()


def read_asked(
    body: bytes, headers: Mapping[str, str], key: str, deployment: str, find_task: Callable[[str], str]
) -> Asked:
    """Read a request's body and trial header.

    ``deployment`` is Azure's, or empty to use the body's model name. ``find_task`` maps the text of a conversation
    to a task's id, or to an empty string. Raises Refused 400.
    """
    value = _json_object(body)
    messages = _plain(value.get("messages"))
    if value.get("stream"):
        raise Refused(400, "unsupported_value", "The simulator does not stream; leave 'stream' out.")
    deployment = deployment or str(value.get("model") or "")
    if not deployment:
        raise Refused(400, "invalid_request_error", "'model' is missing.")
    header = headers.get(TRIAL_HEADER)
    return Asked(
        key=key,
        deployment=deployment,
        identity=_identity(header, messages) if header else guess_identity(messages, deployment, find_task),
        messages=messages,
        tools=value.get("tools") or (),
        turn=sum(one["role"] == "assistant" for one in messages),
    )


def read_identity(header: str) -> Identity:
    """Read the trial header's JSON. Raises Refused 400 if it is not what the runner sends."""
    try:
        value = orjson.loads(header)
        return Identity(
            trial_key=str(value["key"]),
            task_id=str(value["task"]),
            epoch=int(value["epoch"]),
            seed=int(value["seed"]),
            model=str(value["model"]),
            question=_question(value["question"]) if "question" in value else None,
            judged=_judged(value["judge"]) if "judge" in value else None,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(400, "invalid_request_error", f"The {TRIAL_HEADER} header is malformed.") from error


def _identity(header: str, messages: Sequence[Message]) -> Identity:
    """Read the trial header. Each text that a judge is shown counts as a trial of its own."""
    identity = read_identity(header)
    if identity.judged is None:
        return identity
    return replace(identity, trial_key=digest([identity.trial_key, messages[-1]["content"]]))


def _question(value: Mapping[str, Any]) -> Question:
    answer = str(value["answer"]).strip()
    choices, style = value.get("choices") or [], value.get("style", "plain")
    if not isinstance(choices, list) or style not in STYLES:
        raise ValueError
    return Question(answer=answer, choices=tuple(map(str, choices)), style=style)


def _judged(value: Mapping[str, Any]) -> bool:
    if not isinstance(value["correct"], bool):
        raise TypeError
    return value["correct"]


def guess_identity(messages: Sequence[Message], model: str, find_task: Callable[[str], str]) -> Identity:
    """Identify the task of a client that sends no trial header from the words of its prompt."""
    text = "\n".join(one["content"] for one in messages if one["role"] in ("system", "user"))
    return Identity(trial_key="", task_id=find_task(text), epoch=0, seed=ORDINARY_SEED, model=model)


def _plain(messages: Any) -> list[Message]:
    """Return the messages with their contents as plain text. Raises Refused 400 unless each has a role."""
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "invalid_request_error", "'messages' must be a non-empty list.")
    if not all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in messages):
        raise Refused(400, "invalid_request_error", "Each of 'messages' must be an object with a 'role'.")
    return [{**one, "content": content_text(one)} for one in messages]


def content_text(message: Message) -> str:
    """Return a message's text, also when its content is a list of parts or null."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "invalid_request_error", "The request's body is not JSON.") from error
    if not isinstance(value, dict):
        raise Refused(400, "invalid_request_error", "The request's body is not a JSON object.")
    return value
