"""Reading single values that a user wrote: numbers in range, names from a list, comma lists.

Every error is a UsageError that says which flag or variable, what is wrong, and what is valid.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from trials.errors import UsageError


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
