"""One question of a bank, as everything that asks or marks it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trials.record import record
from trials.words import Message

ANY = "any"
"""The difficulty of questions whose bank tells none."""


@record
class Question:
    """What is asked, and what is held to be right.

    ``text`` is the question alone, without its template; ``messages`` is empty unless the bank gave whole
    conversations. ``target`` is the letter of a choice where there are ``choices``, and None where the bank has no
    answer. ``truth`` is what a simulated model takes for right: the target, unless the bank says otherwise. ``fields``
    are all other columns.
    """

    question_id: str
    text: str
    messages: tuple[Message, ...]
    target: str | None
    choices: tuple[str, ...]
    subject: str
    difficulty: str
    truth: str | None
    fields: Mapping[str, Any]
