"""One spelling for texts that mean the same: width, case, punctuation, articles and blanks fall away.

Follows the normalisation of SQuAD (P. Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text",
EMNLP 2016) with two differences: marks that change a value stay (the point in 3.14, the sign in -5, the slash in 1/2,
the colon in 10:30, %), and Chinese punctuation goes as well, by its Unicode category (UAX 44, categories P).
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category, normalize

_PLAIN = re.compile(r"[a-z0-9 ]*")
_ARTICLES = re.compile(r"\b(?:the|an?)\s+(?=\S)")
_DIGIT = re.compile(r"\d")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[./:](?=\d)|(?<![^\s(\[$€£¥])[-−]\s?(?=[.$€£¥]?\d)|(?<![\d.])\.(?=\d)")
_SILENT = "'’.`´"
_KEPT = "%‰#"
_HOLDER = {".": "\ue000", "/": "\ue001", ":": "\ue002", "-": "\ue003"}
_HELD = {ord(holder): mark for mark, holder in _HOLDER.items()}


def normalised(text: str) -> str:
    """Return the normal form of a text; a text of nothing but punctuation is its own."""
    text = (text if text.isascii() else normalize("NFKC", text)).casefold()
    if not _PLAIN.fullmatch(text):
        text = _without_punctuation(text)
    words = " ".join(text.split())
    return _ARTICLES.sub("", words) if " " in words else words


@lru_cache(maxsize=4096)
def normalised_target(target: str) -> str:
    """Return the normal form of a target, kept for the next reply to the same question."""
    return normalised(target)


def _without_punctuation(text: str) -> str:
    if _DIGIT.search(text):
        text = _BETWEEN_DIGITS.sub(lambda match: _HOLDER["-" if match[0][0] in "-−" else match[0]], text)
    if "," in text:
        text = _THOUSANDS.sub("", text)
    bare = text.translate(_marks())
    return (bare if bare.strip() else text).translate(_HELD)


class _Marks(dict[int, "str | None"]):
    """What becomes of each character: quotes and points vanish, other punctuation parts words, the rest stays."""

    def __missing__(self, code: int) -> str | None:
        mark = chr(code)
        silent = mark in _SILENT
        self[code] = "" if silent else " " if category(mark)[0] == "P" and mark not in _KEPT else mark
        return self[code]


@lru_cache(maxsize=1)
def _marks() -> _Marks:
    return _Marks()
