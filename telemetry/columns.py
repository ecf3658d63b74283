"""Lays out tables as lines of styled parts: which columns fit, how wide they are, what is cut.

Lines are plain data; ``text_of`` gives them as text, ``styled`` for rich. Numbers are never cut, names are cut in the
middle, and when all that does not help, columns of a higher rank go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

Part = tuple[str, str]
"""Some text and its style in rich's words, or an empty style."""
Line = tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's title and manners. Rank 0 is never dropped; a name may be cut to ``shrink_to`` cells (0: never cut).

    ``min_width`` keeps a column of changing numbers from moving its neighbours.
    """

    title: str
    left: bool = False
    rank: int = 0
    min_width: int = 0
    shrink_to: int = 0


def cells(text: str) -> int:
    """Return how many terminal cells a text takes; East Asian characters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Cut a name in the middle, because its end (a number, a date) tells more than its middle."""
    if cells(text) <= width:
        return text
    if width <= len(ellipsis):
        return "." * max(width, 0)
    tail = (width - len(ellipsis)) // 3
    head = width - len(ellipsis) - tail
    return _cut(text, head) + ellipsis + _cut(text[::-1], tail)[::-1]


def _cut(text: str, width: int) -> str:
    while cells(text) > width:
        text = text[: max(0, min(len(text) - 1, width))]
    return text


def clip(line: Line, width: int) -> Line:
    """Cut a line that is too long at its end."""
    if sum(cells(text) for text, _ in line) <= width:
        return line
    kept: list[Part] = []
    for text, style in line:
        piece = _cut(text, width)
        kept.append((piece, style))
        width -= cells(piece)
        if piece != text:
            break
    return tuple(kept)


def wrap(text: str, width: int, style: str = "", indent: int = 0, most: int = 3) -> list[Line]:
    """Break a sentence between words into at most ``most`` lines of a width."""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        longer = f"{current} {word}" if current else word
        if current and cells(longer) > width:
            lines.append(current)
            current = " " * indent + word
        else:
            current = longer
    lines.append(current)
    return [clip(((one, style),), width) for one in lines[:most]]


def text_of(line: Line) -> str:
    """Return a line as plain text."""
    return "".join(text for text, _ in line).rstrip()


def styled(line: Line) -> Text:
    """Return a line for rich; nothing in it is read as markup."""
    from rich.text import Text

    return Text.assemble(*line, no_wrap=True, overflow="crop")


def fit(columns: Sequence[Column], widths: Sequence[int], room: int, gap: int) -> dict[int, int]:
    """Choose columns and widths for a room: name columns shrink first, then columns go by rank, then names regrow."""
    kept = list(range(len(columns)))
    least = [min(width, one.shrink_to or width) for one, width in zip(columns, widths, strict=True)]

    def needed() -> int:
        return sum(least[place] for place in kept) + gap * (len(kept) - 1)

    while needed() > room and any(columns[place].rank for place in kept):
        kept.remove(max(kept, key=lambda place: (columns[place].rank, place)))
    spare = max(0, room - needed())
    chosen = {}
    for place in kept:
        grown = min(spare, widths[place] - least[place])
        spare -= grown
        chosen[place] = least[place] + grown
    return chosen


def lay_out(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Part]],
    room: int | None,
    *,
    gap: int = 2,
    ellipsis: str = "…",
    header_style: str = "bold",
) -> list[Line]:
    """Return a header line and one line per row. ``room`` None lets every column have its full width."""
    widths = [
        max(column.min_width, cells(column.title), *(cells(row[place][0]) for row in rows), 0)
        for place, column in enumerate(columns)
    ]
    chosen = dict(enumerate(widths)) if room is None else fit(columns, widths, room, gap)
    header = [(column.title, header_style) for column in columns]
    lines = [_line(columns, row, chosen, gap, ellipsis) for row in (header, *rows)]
    return lines if room is None else [clip(line, room) for line in lines]


def _line(columns: Sequence[Column], row: Sequence[Part], chosen: dict[int, int], gap: int, ellipsis: str) -> Line:
    parts: list[Part] = []
    for place, width in chosen.items():
        text, style = row[place]
        if columns[place].shrink_to:
            text = shorten(text, width, ellipsis)
        padding = " " * (width - cells(text))
        if parts:
            parts.append((" " * gap, ""))
        parts.append((text + padding if columns[place].left else padding + text, style))
    return tuple(parts)
