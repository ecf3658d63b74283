"""What a reply says of its provider's limits, in one neutral record: seconds, requests and tokens per second.

Sources: RFC 9110, 10.2.3 (Retry-After); OpenAI, "Rate limits" (``x-ratelimit-limit-requests`` and ``-tokens``, a
minute's worth, ``-remaining-…``, and ``-reset-…`` like ``6m0s``); Azure OpenAI, "Quota" (the same, over
``-renewalperiod-…`` seconds, and ``retry-after-ms``); Anthropic, "Rate limits" (``anthropic-ratelimit-…-limit``, a
minute's worth, ``-remaining``, and ``-reset``, a time in RFC 3339); the IETF draft "RateLimit header fields"
(``ratelimit-limit`` with ``w=`` seconds, ``-reset`` in seconds). DashScope documents no such headers ("Rate limits"):
what was exceeded stands in the code.

None of it is believed here or there: a limit is where the control begins. What remains is read from 429s only: an empty
budget with a reset is an order to wait like any other, for a provider that sends no Retry-After. On other replies it is
as old as the completion took, and with many requests under way it says nothing of what the next one will meet.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from trials.record import record

LONGEST_WAIT_S = 300.0
"""A Retry-After beyond this is not believed."""

REQUESTS, TOKENS, CONCURRENCY = "requests", "tokens", "concurrency"
MINUTE_S = 60.0

_NAMES = {
    REQUESTS: ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit"),
    TOKENS: ("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit"),
}
_BY_SIDE = ("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-output-tokens-limit")
_RESETS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
)
_PLAIN = ("x-ratelimit-limit", "ratelimit-limit")
_WINDOW = re.compile(r"(?:\bw|window)\s*=\s*(\d+)")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_CONCURRENCY = re.compile(r"concurren|parallel|simultaneous|in[- ]flight", re.IGNORECASE)
_TOKENS = re.compile(r"\btokens?\b|\btpm\b|token_|_token|tokens_|allocationquota|allocated quota", re.IGNORECASE)


_TELLING = frozenset([*_NAMES[REQUESTS], *_NAMES[TOKENS], *_BY_SIDE, *_PLAIN])


@record
class Hints:
    """What one reply says. ``cause`` is ``requests``, ``tokens``, ``concurrency``, or empty if a 429 does not say."""

    retry_after_s: float | None = None
    requests_per_s: float | None = None
    tokens_per_s: float | None = None
    cause: str = ""


NOTHING = Hints()


def read_hints(headers: Mapping[str, str], refusal: str = "") -> Hints:
    """Return what a reply says; ``headers`` have names in lower case, ``refusal`` is the body of a 429.

    The words of a refusal are only read for which budget it speaks of; nothing else hangs on them.
    """
    if not refusal and _TELLING.isdisjoint(headers):
        return NOTHING
    asked_s = (retry_after_s(headers) or _reset_s(headers)) if refusal else None
    requests, tokens = _limit(headers, REQUESTS), _limit(headers, TOKENS)
    if asked_s is None and requests is None and tokens is None and not refusal:
        return NOTHING
    return Hints(
        retry_after_s=asked_s, requests_per_s=requests, tokens_per_s=tokens, cause=_cause(refusal) if refusal else ""
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long the server asks to wait, or None if it does not say, or says what cannot be believed.

    Reads ``retry-after-ms``, and ``retry-after`` in seconds or as a date. A date is compared with the reply's own
    ``Date``, so that neither side's clock needs to be right.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        wait_s = _number(text) if text else None
        if wait_s is not None:
            wait_s *= unit_s
        elif text and name == "retry-after":
            wait_s = _until(text, headers.get("date", ""))
        if wait_s is not None and 0 < wait_s <= LONGEST_WAIT_S:
            return wait_s
    return None


def _reset_s(headers: Mapping[str, str]) -> float | None:
    """Return in how long what is used up is said to be filled again; of several the longest, as each would refuse."""
    date = headers.get("date", "")
    found = [
        _duration_s(headers[reset], date)
        for remaining, reset in _RESETS
        if reset in headers and _number(headers.get(remaining, "")) == 0
    ]
    return max((wait_s for wait_s in found if wait_s is not None and 0 < wait_s <= LONGEST_WAIT_S), default=None)


def _duration_s(text: str, date: str) -> float | None:
    """Read seconds, ``1m30s``, or a time in RFC 3339, which is compared with the reply's own ``Date``."""
    text = text.strip()
    plain = _number(text)
    if plain is not None:
        return plain
    if text and (parts := _DURATION.fullmatch(text)):
        hours, minutes, seconds, thousandths = (float(part or 0) for part in parts.groups())
        return 3600 * hours + 60 * minutes + seconds + thousandths / 1000
    try:
        then = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))  # Python 3.10 knows no Z
    except ValueError:
        return None
    return _since_date(then.timestamp(), date) if then.tzinfo else None


def _limit(headers: Mapping[str, str], unit: str) -> float | None:
    """Return the limit per second; of several the lowest, as each of them would refuse."""
    found = [_per_second(headers[name], headers.get(_period(unit), "")) for name in _NAMES[unit] if name in headers]
    if unit == TOKENS and not found and all(name in headers for name in _BY_SIDE):
        sides = [_per_second(headers[name], "") for name in _BY_SIDE]  # a request is charged for both
        found = [sum(side for side in sides if side is not None)] if None not in sides else []
    if unit == REQUESTS and not found:
        found = [_per_second(headers[name], "") for name in _PLAIN if name in headers]
    return min((rate for rate in found if rate is not None), default=None)


def _period(unit: str) -> str:
    return f"x-ratelimit-renewalperiod-{unit}"


def _per_second(text: str, period: str) -> float | None:
    amount = _number(re.split(r"[,;]", text, maxsplit=1)[0])
    told = _WINDOW.search(text)
    over_s = _number(told[1]) if told else _number(period)
    if amount is None or not 0 < amount < 1e12 or (over_s is not None and over_s <= 0):
        return None
    return amount / (over_s or MINUTE_S)


def _cause(refusal: str) -> str:
    if _CONCURRENCY.search(refusal):
        return CONCURRENCY
    return TOKENS if _TOKENS.search(refusal) else ""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _until(text: str, date: str) -> float | None:
    try:
        then = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
    return _since_date(then, date)


def _since_date(then: float, date: str) -> float:
    try:
        now = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, TypeError):
        now = time.time()
    return then - now
