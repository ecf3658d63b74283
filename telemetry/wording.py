"""Numbers, times and strangers' text, as they may stand on one line of a terminal or log.

Does not know what is shown where, and adds no colour.
"""

from __future__ import annotations

import re

NOTHING = "-"

# CSI, OSC and other string sequences, then two-character escapes: ECMA-48, sections 5.3 to 5.6.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters, and the invisible ones that reorder or hide text (Unicode's bidirectional controls and others).
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+")
_BREAKS = re.compile(r"[\r\n\t\v\f\x85\u2028\u2029]+")
_ASCII = str.maketrans(
    {"→": "->", "·": "|", "…": "...", "–": "-", "—": "-", "×": "x", "≤": "<=", "≥": ">=", "−": "-"}
    | {"’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " "}
)


def clean(text: str, limit: int = 1000) -> str:
    """Return strangers' text as one harmless line: no escape sequences, no control or invisible characters."""
    text = _ESCAPES.sub("", text[: 4 * limit])
    text = _UNSEEN.sub("", _BREAKS.sub(" ", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def as_ascii(text: str) -> str:
    """Return the text in ASCII, for terminals that show nothing else; what has no likeness becomes a question mark."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def duration(seconds: float | None) -> str:
    """Spell a time left or elapsed: ``0:12``, ``1:02:03``, ``2d 03h``."""
    if seconds is None or seconds != seconds or seconds < 0:
        return NOTHING
    if seconds >= 100 * 86_400:
        return ">99d"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}h"
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def latency(ms: float) -> str:
    """Spell a latency in three digits: ``87 ms``, ``1.2 s``, ``75 s``."""
    if ms <= 0:
        return NOTHING
    if ms < 999.5:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 99_950 else f"{ms / 1000:.0f} s"


def per_second(rate: float) -> str:
    """Spell a rate: one decimal, none from a hundred on."""
    return f"{rate:.1f}" if rate < 99.95 else f"{rate:.0f}"


def dollars(usd: float | None) -> str:
    """Spell an amount of money: ``$0.0042``, ``$1.23``, ``$1,204``; what is not known is no amount."""
    if usd is None:
        return NOTHING
    if usd >= 999.5:
        return f"${usd:,.0f}"
    return f"${usd:.2f}" if usd >= 0.995 or usd == 0 else f"${usd:.4f}"


def memory(size_bytes: int) -> str:
    """Spell a process' memory: ``84 MB``, ``1.2 GB``."""
    if size_bytes <= 0:
        return NOTHING
    megabytes = size_bytes / 2**20
    return f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1024:.1f} GB"


def percent(share: float | None) -> str:
    """Spell a share as a percentage with one decimal, without the sign."""
    return NOTHING if share is None else f"{100 * share:.1f}"
