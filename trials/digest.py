"""Stable digests and seeded draws: the same on every machine, process and Python version.

Everything random in a run is ``uniform(seed, what it belongs to, …)``, so that nothing depends on the order in
which things ran. BLAKE2b (RFC 7693) is used as a keyed-free hash; its first 64 bits make the draw.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import orjson

T = TypeVar("T")
_PLAIN = frozenset((str, int, bool, type(None)))
_NAMES = frozenset((str,))


def canonical(value: Any) -> bytes:
    """Return the one JSON spelling of ``value``: sorted keys, no spaces, UTF-8."""
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # an integer of more than 64 bits, or half a surrogate pair
            pass
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _is_plain(value: Any) -> bool:
    """Whether orjson, several times as fast, spells it as ``json`` does: floats for one it spells otherwise."""
    kind = type(value)
    if kind is dict:
        return _NAMES.issuperset(map(type, value)) and _are_plain(value.values())
    if kind is list or kind is tuple:
        return _are_plain(value)
    return kind in _PLAIN


def _are_plain(values: Collection[Any]) -> bool:
    return _PLAIN.issuperset(map(type, values)) or all(map(_is_plain, values))


def digest(value: Any, size_bytes: int = 16) -> str:
    """Return a hex digest of a JSON-like value, ``2 * size_bytes`` characters long."""
    return blake2b(canonical(value), digest_size=size_bytes).hexdigest()


def uniform(*parts: Any) -> float:
    """Draw from [0, 1), determined by ``parts`` alone (numbers, strings, None, and lists of them)."""
    return int.from_bytes(blake2b(canonical(parts), digest_size=8).digest(), "big") / 2**64


def choose(options: Sequence[T], *parts: Any) -> T:
    """Draw one of a non-empty sequence, determined by ``parts`` alone."""
    return options[int(uniform(*parts) * len(options))]


def shuffled(options: Sequence[T], *parts: Any) -> list[T]:
    """Return the options in an order determined by ``parts`` alone.

    Each option is drawn by its place in ``options``, so the sequence itself must have a stable order.
    """
    begins = canonical([*parts, 0])[:-2]  # each draw is ``uniform(*parts, place)``, spelt out once
    drawn = {place: blake2b(b"%b%d]" % (begins, place), digest_size=8).digest() for place in range(len(options))}
    return [options[place] for place in sorted(drawn, key=drawn.__getitem__)]
