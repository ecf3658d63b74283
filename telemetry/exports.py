"""One table in five forms: terminal, CSV, Markdown, LaTeX and JSON. Every form shows the same cells.

CSV and JSON are for computing on: numbers as they are; a CSV has a heading line and then only rows, each of which says
whether it is simulated. The others are for reading: rounded, with title and notes. What may come from outside (names
of models and tasks) is harmless in each form. Does not know what the tables are about.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from telemetry.columns import Column, Line, Part, cells, lay_out, text_of, wrap
from telemetry.terminal import look_at, say, size_of
from telemetry.wording import NOTHING, as_ascii, clean, percent

Value = str | int | float | bool | tuple[float, float] | None

TEXT, COUNT, SHARE, POINTS, NUMBER, SIGNED, P = "text", "count", "share", "points", "number", "signed", "p"

SIMULATED = "SIMULATED results: they measure no real model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column: ``key`` names it for programs, ``title`` for people; ``kind`` says how its numbers are spelt.

    Kinds: ``text``, ``count``, ``share`` (as a percentage), ``points`` (a difference of shares, in points of percent),
    ``number`` (three decimals), ``signed`` (the same with its sign), ``p``. ``pair`` means that values have two ends.
    On a narrow terminal columns of a higher ``rank`` go first; rank 0 stays.
    """

    key: str
    title: str
    kind: str = TEXT
    pair: bool = False
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What all forms are made from. Values are unrounded, None where there is nothing to tell; text may be anything."""

    title: str
    columns: tuple[Field, ...]
    rows: tuple[tuple[Value, ...], ...]
    notes: tuple[str, ...] = ()
    simulated: bool = False

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.title!r}: a row is not as long as the heading")


def export(table: Table, form: str) -> str:
    """Return a table in one of ``FORMS``, ended by a line break. Raises ValueError for any other form."""
    if form not in _WRITERS:
        raise ValueError(f"no form {form!r}; there are {', '.join(FORMS)}")
    return _WRITERS[form](table)


def show(table: Table, stream: TextIO, environ: Mapping[str, str] | None = None) -> None:
    """Write a table to a stream: as wide as it is, or what fits if the stream is a terminal."""
    look = look_at(stream, environ)
    say(stream, _terminal(table, size_of(stream)[0] - 1 if look.terminal else None, in_ascii=not look.unicode))


def spell(value: Value, kind: str) -> str:
    """Return a value as people read it: rounded, percentages without their sign, a dash for nothing."""
    if value is None:
        return NOTHING
    if isinstance(value, tuple):
        return f"[{spell(value[0], kind)}, {spell(value[1], kind)}]"
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _SPELLINGS[kind](value) if math.isfinite(value) else NOTHING


def _signed(value: float, decimals: int) -> str:
    """Spell a number with its sign, a true minus; what rounds to zero has none."""
    rounded = round(value, decimals)
    return f"{rounded:+.{decimals}f}".replace("-", "−") if rounded else f"{0:.{decimals}f}"


def _spell_p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


_SPELLINGS: Mapping[str, Callable[[float], str]] = {
    TEXT: str,
    COUNT: str,
    SHARE: percent,
    POINTS: lambda value: _signed(100 * value, 1),
    NUMBER: lambda value: f"{value:.3f}",
    SIGNED: lambda value: _signed(value, 3),
    P: _spell_p,
}


def _spelt_rows(table: Table) -> list[list[str]]:
    return [[spell(value, one.kind) for one, value in zip(table.columns, row, strict=True)] for row in table.rows]


def _terminal(table: Table, room: int | None = None, *, in_ascii: bool = False) -> str:
    def shown(text: str) -> str:
        return as_ascii(clean(text)) if in_ascii else clean(text)

    columns = [
        Column(title=shown(one.title), left=one.kind == TEXT, rank=one.rank, shrink_to=12 if one.kind == TEXT else 0)
        for one in table.columns
    ]
    body: list[list[Part]] = [[(shown(text), "") for text in row] for row in _spelt_rows(table)]
    gap, ellipsis = 2 if room is None or room >= 100 else 1, ".." if in_ascii else "…"
    header, *lines = lay_out(columns, body, room, gap=gap, ellipsis=ellipsis)
    breadth = max(cells(text_of(line)) for line in (header, *lines))
    rule: Line = ((("-" if in_ascii else "─") * breadth, ""),)
    above = [*([SIMULATED] if table.simulated else []), shown(table.title)]
    notes = [shown(note) for note in table.notes]
    all_lines = [*_wrapped(above, room), header, rule, *lines, rule, *_wrapped(notes, room)]
    return "".join(text_of(line) + "\n" for line in all_lines)


def _wrapped(texts: Sequence[str], room: int | None) -> list[Line]:
    if room is None:
        return [((text, ""),) for text in texts]
    return [line for text in texts for line in wrap(text, room, indent=2, most=9)]


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heading = [name for one in table.columns for name in (_ends(one.key) if one.pair else (one.key,))]
    writer.writerow([*heading, "simulated"])
    for row in table.rows:
        parts: list[str] = []
        for one, value in zip(table.columns, row, strict=True):
            parts += map(_csv_value, (value if isinstance(value, tuple) else (None, None)) if one.pair else (value,))
        writer.writerow([*parts, _csv_value(table.simulated)])
    return out.getvalue()


def _ends(key: str) -> tuple[str, str]:
    return f"{key}_low", f"{key}_high"


def _csv_value(value: Value) -> str:
    """Return a cell; text that a spreadsheet would take for a formula is led by an apostrophe."""
    if isinstance(value, str):
        text = clean(value)
        return f"'{text}" if text and text[0] in _FORMULA_STARTS else text
    value = _plain(value)
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else repr(value)


# The last four are what East Asian spreadsheets take for the first four.
_FORMULA_STARTS = "=+-@＝＋－＠"


def _json(table: Table) -> str:
    keys = [one.key for one in table.columns]
    record = {
        "title": table.title,
        "simulated": table.simulated,
        "columns": [{"key": one.key, "title": one.title, "kind": one.kind} for one in table.columns],
        "rows": [dict(zip(keys, map(_plain, row), strict=True)) for row in table.rows],
        "notes": list(table.notes),
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it: neither tuples nor numbers that are none."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _markdown(table: Table) -> str:
    heading = f"**{SIMULATED}.** " if table.simulated else ""
    lines = [
        f"{heading}{_md(table.title)}",
        "",
        _md_row([_md(clean(one.title)) for one in table.columns]),
        _md_row(["---" if one.kind == TEXT else "---:" for one in table.columns]),
        *(_md_row([_md(text) for text in row]) for row in _spelt_rows(table)),
    ]
    if table.notes:
        lines += ["", *(f"- {_md(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _md_row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _md(text: str) -> str:
    """Return text that Markdown shows as it is (CommonMark 2.4; in tables a pipe ends a cell unless escaped)."""
    return "".join(_MD_ESCAPES.get(character, character) for character in clean(text))


_MD_ESCAPES = {character: f"\\{character}" for character in "\\`*_[]<>#~!&$"} | {"|": "&#124;"}


def _latex(table: Table) -> str:
    caption = f"{SIMULATED}. {table.title}" if table.simulated else table.title
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_tex(caption)}}}",
        "\\footnotesize",
        "\\setlength{\\tabcolsep}{3pt}",
        f"\\begin{{tabular}}{{{''.join('l' if one.kind == TEXT else 'r' for one in table.columns)}}}",
        "\\toprule",
        _tex_row([one.title for one in table.columns]),
        "\\midrule",
        *(_tex_row(row) for row in _spelt_rows(table)),
        "\\bottomrule",
        "\\end{tabular}",
        *(f"\\par {_tex(note)}" for note in table.notes),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tex_row(texts: Sequence[str]) -> str:
    # A line break followed by a bracket would be read as its optional argument; braces keep them apart.
    return f"{' & '.join(f'{{{_tex(text)}}}' if text[:1] in ('[', '*') else _tex(text) for text in texts)} \\\\"


def _tex(text: str) -> str:
    """Return text that LaTeX sets as it is; hyphens in a row must not become a dash, hence twice."""
    escaped = "".join(_TEX_ESCAPES.get(character, character) for character in clean(text))
    return escaped.replace("--", "-{}-").replace("--", "-{}-")


_TEX_ESCAPES = {character: f"\\{character}" for character in "{}$&#%_"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "`": "\\textasciigrave{}",
    '"': "\\textquotedbl{}",
    "−": "$-$",
    "×": "$\\times$",
    "≤": "$\\leq$",
    "≥": "$\\geq$",
}

_WRITERS: Mapping[str, Callable[[Table], str]] = {
    "terminal": _terminal,
    "csv": _csv,
    "md": _markdown,
    "latex": _latex,
    "json": _json,
}
FORMS = tuple(_WRITERS)
