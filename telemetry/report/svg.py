"""A drawing as SVG text: shapes with classes whose colours the page's style sheet, or the file's own, decides.

All text is escaped. Positions are in pixels from the upper left. Knows nothing of what is drawn. The series' colours
follow M. Okabe and K. Ito, "Color Universal Design" (2008), which people with any colour vision tell apart; each
series also has a mark of its own, so that nothing rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import cos, pi, sin

from telemetry.columns import cells, shorten
from telemetry.wording import clean

FONT_PX = 12
_CHARACTER_PX = 6.6
SERIES = 6
"""Colours there are; further series begin anew with another mark."""

_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b35c8f", "#946b00", "#3a3a3a")
FILE_STYLE = (
    "text{font:12px system-ui,'Helvetica Neue',Arial,sans-serif;fill:#222}"
    ".soft{fill:#666}.small{font-size:11px}.strong{font-weight:600}.end{text-anchor:end}.mid{text-anchor:middle}"
    ".grid{stroke:#e4e4e0;fill:none}.axis{stroke:#999;fill:none}.ref{stroke:#999;stroke-dasharray:3 3;fill:none}"
    ".line{fill:none;stroke-width:1.8}.bar{stroke-width:1.8;fill:none}.area{opacity:.16}.band{fill:#f4f4f1}"
    + "".join(f".s{n}{{stroke:{colour};fill:{colour}}}" for n, colour in enumerate(_LIGHT))
    + ".line,.bar{fill:none}.area{stroke:none}text.s0,text.s1,text.s2,text.s3,"
    "text.s4,text.s5{stroke:none}"
)


def width_of(text: str, px: float = FONT_PX) -> float:
    """Return about how wide a text is; a wide character counts as two."""
    return cells(text) * _CHARACTER_PX * px / FONT_PX


def shortened(text: str, room: float, px: float = FONT_PX) -> str:
    """Return a name cut to a width in pixels, its middle left out."""
    return shorten(text, int(room / (_CHARACTER_PX * px / FONT_PX)))


class Drawing:
    """An SVG picture under construction. ``title`` and ``description`` are what a screen reader says of it."""

    def __init__(self, width: float, title: str, description: str) -> None:
        self.width = width
        self.height = 0.0
        self._title, self._description = clean(title), clean(description, 4000)
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """Draw a straight line."""
        self._parts.append(f'<line x1="{_px(x1)}" y1="{_px(y1)}" x2="{_px(x2)}" y2="{_px(y2)}" class="{escape(css)}"/>')

    def path(self, points: Iterable[tuple[float, float]], css: str, *, closed: bool = False) -> None:
        """Draw a line through points, or the area within them."""
        joined = "L".join(f"{_px(x)} {_px(y)}" for x, y in points)
        if joined:
            self._parts.append(f'<path d="M{joined}{"Z" if closed else ""}" class="{escape(css)}"/>')

    def rect(self, x: float, y: float, width: float, height: float, css: str, hint: str = "") -> None:
        """Draw a rectangle; ``hint`` shows under the pointer."""
        self._parts.append(
            f'<rect x="{_px(x)}" y="{_px(y)}" width="{_px(max(0.0, width))}" height="{_px(max(0.0, height))}"'
            f' class="{escape(css)}">{_hint(hint)}</rect>'
        )

    def text(self, x: float, y: float, text: str, css: str = "") -> None:
        """Write one line of text on a base line."""
        self._parts.append(f'<text x="{_px(x)}" y="{_px(y)}" class="{escape(css)}">{escape(clean(text))}</text>')

    def mark(self, x: float, y: float, series: int, hint: str = "", *, size: float = 4.5) -> None:
        """Draw the mark of a series: circle, square, triangle, diamond and so on."""
        css = f"s{series % SERIES}"
        corners, turn = ((0, 0.0), (4, pi / 4), (3, -pi / 2), (4, 0.0), (3, pi / 2), (5, -pi / 2))[
            (series + series // SERIES) % 6
        ]
        if not corners:
            self._parts.append(
                f'<circle cx="{_px(x)}" cy="{_px(y)}" r="{_px(size)}" class="{css}">{_hint(hint)}</circle>'
            )
            return
        reach = size * (1.3 if corners < 5 else 1.15)
        angles = [turn + 2 * pi * corner / corners for corner in range(corners)]
        points = " ".join(f"{_px(x + reach * cos(angle))},{_px(y + reach * sin(angle))}" for angle in angles)
        self._parts.append(f'<polygon points="{points}" class="{css}">{_hint(hint)}</polygon>')

    def key(self, names: Sequence[str], y: float, left: float = 0.0) -> float:
        """Draw a key of series as lines of marks and names from ``y`` on; return where it ends."""
        x = left
        for series, name in enumerate(names):
            name = shortened(clean(name), self.width - left - 24)
            if x > left and x + 20 + width_of(name) > self.width:
                x, y = left, y + 20
            self.mark(x + 6, y + 8, series)
            self.text(x + 17, y + 12, name)
            x += 20 + width_of(name) + 16
        return y + 26

    def inline(self, identity: str) -> str:
        """Return the picture for a page; ``identity`` makes its ids unique there."""
        ids = f"{escape(identity)}-t {escape(identity)}-d"
        return (
            f'<svg viewBox="0 0 {_px(self.width)} {_px(self.height)}" width="{_px(self.width)}" '
            f'height="{_px(self.height)}" role="img" aria-labelledby="{ids}">'
            f'<title id="{escape(identity)}-t">{escape(self._title)}</title>'
            f'<desc id="{escape(identity)}-d">{escape(self._description)}</desc>{"".join(self._parts)}</svg>'
        )

    def file(self, note: str = "") -> str:
        """Return the picture as a file of its own: on white, with a margin, its title and a note above."""
        margin, head = 16, 44
        width, height = self.width + 2 * margin, self.height + head + margin
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_px(width)} {_px(height)}" width="{_px(width)}" '
            f'height="{_px(height)}" role="img"><title>{escape(self._title)}</title>'
            f"<desc>{escape(self._description)}</desc><style>{FILE_STYLE}</style>"
            f'<rect width="100%" height="100%" fill="#fff"/>'
            f'<text x="{margin}" y="26" class="strong">{escape(self._title)}</text>'
            f'<text x="{_px(width - margin)}" y="26" class="s1 end small">{escape(clean(note))}</text>'
            f'<g transform="translate({margin} {head})">{"".join(self._parts)}</g></svg>\n'
        )


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _hint(text: str) -> str:
    return f"<title>{escape(clean(text))}</title>" if text else ""
