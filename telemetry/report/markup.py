"""Tables and plots as HTML. Whatever comes in as text goes out as text."""

from __future__ import annotations

from html import escape

from telemetry.columns import shorten
from telemetry.exports import COUNT, TEXT, Table, Value, spell
from telemetry.report.figures import Figure
from telemetry.wording import clean

WIDE_PX, NARROW_PX = 800.0, 344.0
_MOST_CELLS = 56


def text_of(text: str, limit: int = 20_000) -> str:
    """Return strangers' text as HTML shows it: no markup, no control characters."""
    return escape(clean(text, limit))


def table_html(table: Table, *, caption: bool = True) -> str:
    """Return a table: numbers at the right, a heading for each row, in a frame that scrolls when it is too wide."""
    title, unseen = text_of(table.title), "" if caption else ' class="unseen"'
    mark = ' <span class="simulated">simulated</span>' if table.simulated else ""
    head = "".join(f'<th scope="col"{_css(one.kind)}>{text_of(one.title)}</th>' for one in table.columns)
    body = []
    before: list[str] = []
    for row in table.rows:
        told = [_spelt(value, one.kind) for one, value in zip(table.columns, row, strict=True)]
        body.append(f"<tr>{_cells(table, told, before)}</tr>")
        before = told
    notes = "".join(f"<li>{text_of(note)}</li>" for note in table.notes)
    return (
        f'<div class="frame" role="region" tabindex="0" aria-label="{title}, table"><table>'
        f"<caption{unseen}><span>{title}{mark}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>" + (f'<ul class="notes">{notes}</ul>' if notes else "")
    )


def _spelt(value: Value, kind: str) -> str:
    return f"{value:,}" if kind == COUNT and isinstance(value, int) else spell(value, kind)


def _name(text: str) -> str:
    """Return a name that may break behind an underscore, cut in its middle if it is very long."""
    text = clean(text)
    short = shorten(text, _MOST_CELLS)
    told = escape(short).replace("_", "_<wbr>")
    return told if short == text else f'<span title="{escape(text)}">{told}</span>'


def _css(kind: str) -> str:
    return "" if kind == TEXT else ' class="n"'


def _cells(table: Table, told: list[str], before: list[str]) -> str:
    """Return the cells of a row; names that stand in the row above already are set back."""
    parts, same = [], bool(before)
    for place, (one, text) in enumerate(zip(table.columns, told, strict=True)):
        same = same and one.kind == TEXT and before[place] == text
        css = ' class="again"' if same and len(told) > 2 else _css(one.kind)
        shown = _name(text) if one.kind == TEXT else escape(text)
        if place == 0:
            parts.append(f'<th scope="row"{css}>{shown}</th>')
        else:
            parts.append(f"<td{css}>{shown}</td>")
    return "".join(parts)


def figure_html(figure: Figure) -> str:
    """Return a plot in a wide and a narrow form, of which the style sheet shows one, and its numbers as a table."""
    wide = figure.at(WIDE_PX).inline(f"{figure.name}-w")
    narrow = figure.at(NARROW_PX).inline(f"{figure.name}-n")
    numbers = ""
    if figure.table is not None:
        numbers = f"<details><summary>Numbers of this plot</summary>{table_html(figure.table, caption=False)}</details>"
    return (
        f'<figure id="{escape(figure.name)}"><h3>{text_of(figure.title)}</h3><div class="wide">{wide}</div>'
        f'<div class="narrow">{narrow}</div><figcaption>{text_of(figure.caption)}</figcaption>{numbers}</figure>'
    )
