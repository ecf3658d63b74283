"""Reading single values that a user wrote: numbers in range, names from a list, comma lists.

Every error is a UsageError that says which flag or variable, what is wrong, and what is valid.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from trials.errors import UsageError

_SHORTEST_S, _LONGEST_S = 0.1, 366 * 86_400


def split(values: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the items of comma lists, stripped, without repeats, in order."""
    if values is None:
        return ()
    texts = [values] if isinstance(values, str) else values
    items = (item.strip() for text in texts for item in text.split(","))
    return tuple(dict.fromkeys(item for item in items if item))


def nearest(name: str, valid: Collection[str]) -> str:
    """Return a hint that names the closest valid name, or all of them where none is close."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(valid)}"


def name_of(flag: str, text: str, valid: Collection[str]) -> str:
    """Return ``text`` if it is one of ``valid``."""
    if text not in valid:
        raise UsageError(f"{flag}: unknown value {text!r}; {nearest(text, valid)}")
    return text


def names_of(
    flag: str, text: str | None, valid: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
) -> tuple[str, ...]:
    """Return the names in a comma list, groups replaced by their members, in order and without repeats."""
    known = {**{name: (name,) for name in valid}, **(groups or {})}
    items = split(text)
    if not items:
        raise UsageError(f"{flag}: names nothing; valid: {', '.join(known)}")
    return tuple(dict.fromkeys(member for item in items for member in known[name_of(flag, item, known)]))


def pairs(flag: str, items: Iterable[str]) -> dict[str, str]:
    """Return ``NAME=VALUE`` items as a dict."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag}: {item!r} is not of the form NAME=VALUE")
        if name.strip() in found:
            raise UsageError(f"{flag}: {name.strip()!r} is given twice")
        found[name.strip()] = value.strip()
    return found


def whole(flag: str, text: str, low: int, high: int) -> int:
    """Return a whole number within [low, high]."""
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"{flag}: {text!r} is not a whole number") from None
    if not low <= value <= high:
        raise UsageError(f"{flag}: {value} is outside {low} to {high:,}")
    return value


def number(flag: str, text: str, low: float, high: float) -> float:
    """Return a number within [low, high]."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{flag}: {text!r} is not a number") from None
    if not (math.isfinite(value) and low <= value <= high):
        raise UsageError(f"{flag}: {text} is outside {low:g} to {high:,g}")
    return value + 0.0  # makes -0.0 the same as 0.0


def duration(flag: str, text: str) -> float:
    """Return seconds from ``90``, ``90s``, ``30m``, ``1h`` or ``2d``."""
    unit_s = {"s": 1, "m": 60, "h": 3600, "d": 86_400}.get(text[-1:].lower())
    try:
        value = float(text) if unit_s is None else float(text[:-1]) * unit_s
    except ValueError:
        raise UsageError(f"{flag}: {text!r} is not a time such as 90s, 30m, 1h or 2d") from None
    if not _SHORTEST_S <= value <= _LONGEST_S:  # nor is a NaN
        raise UsageError(f"{flag}: {text} is outside {_SHORTEST_S:g}s to {_LONGEST_S // 86_400}d")
    return value
