from __future__ import annotations

import csv
import io
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pseudo_terminal import Terminal

from telemetry.columns import cells
from telemetry.exports import FORMS, Field, Table, export, show, spell
from telemetry.result_tables import comparison_table, result_table
from telemetry.wording import clean
from trials.accounting import CellFigures, CellKey
from trials.comparisons import compare_all
from trials.rows import FIELDS, Row

COLUMNS = (
    Field(key="model", title="model"),
    Field(key="n", title="n", kind="count", rank=1),
    Field(key="rate", title="full %", kind="share"),
    Field(key="interval", title="95 % interval", kind="share", pair=True),
    Field(key="p", title="p", kind="p", rank=2),
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=30)


def table(name: str = "m", **changes: Any) -> Table:
    row = (name, 3, 1 / 3, (0.06149, 0.79234), 0.00002)
    fields: dict[str, Any] = {"title": "A table", "columns": COLUMNS, "rows": (row,), "notes": ("a note",)}
    return Table(**(fields | changes))


def csv_rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def markdown_cells(text: str) -> list[str]:
    """The texts of all table cells, as a Markdown renderer of its own shows them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inside = [token for before, token in pairwise(tokens) if before.type in ("th_open", "td_open")]
    assert all(part.type == "text" for token in inside for part in token.children or [])
    return ["".join(part.content for part in token.children or []) for token in inside]


def latex_cells(line: str) -> list[str]:
    """Read a row back as LaTeX would: every special must be escaped, or this fails."""
    line = line.removesuffix(" \\\\")
    words = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">"}
    words |= {"textbar": "|", "textasciigrave": "`", "textquotedbl": '"'}
    symbols = {"$-$": "−", "$\\times$": "×", "$\\leq$": "≤", "$\\geq$": "≥"}
    pattern = r"\\([a-z]+)\{\}|\\([{}$&#%_])|(\$[^$]+\$)|(&)|([{}\\$#%_~^])|(.)"
    told, found = [""], re.finditer(pattern, line, re.DOTALL)
    for word, escaped, symbol, ampersand, special, plain in (one.groups() for one in found):
        assert special in (None, "{", "}")
        if ampersand:
            told.append("")
        else:
            told[-1] += words[word] if word else escaped or symbols.get(symbol) or plain or ""
    return [one.strip() for one in told]


def test_every_form_shows_the_same_cells() -> None:
    spelt = ["m", "3", "33.3", "[6.1, 79.2]", "<0.001"]
    assert re.split(r"  +", export(table(), "terminal").splitlines()[3].strip()) == spelt
    assert markdown_cells(export(table(), "md"))[5:] == spelt
    line = next(one for one in export(table(), "latex").splitlines() if one.startswith("m &"))
    assert line == "m & 3 & 33.3 & {[6.1, 79.2]} & \\textless{}0.001 \\\\"
    assert csv_rows(export(table(), "csv"))[1] == ["m", "3", repr(1 / 3), "0.06149", "0.79234", "2e-05", "false"]
    assert json.loads(export(table(), "json"))["rows"] == [
        {"model": "m", "n": 3, "rate": 1 / 3, "interval": [0.06149, 0.79234], "p": 0.00002}
    ]


@pytest.mark.parametrize("form", FORMS)
def test_simulated_tables_say_so_in_every_form(form: str) -> None:
    told = export(table(simulated=True), form)
    assert "SIMULATED" in told or '"simulated": true' in told or ",true\n" in told
    assert told != export(table(), form)
    assert "SIMULATED" not in export(table(), form)
    assert told.endswith("\n")


def test_latex_caption_says_simulated() -> None:
    caption = next(line for line in export(table(simulated=True), "latex").splitlines() if "caption" in line)
    assert caption == "\\caption{SIMULATED results: they measure no real model. A table}"


def test_nothing_known_is_a_dash_to_people_and_empty_to_programs() -> None:
    empty = table(rows=(("m", None, float("nan"), None, float("inf")),))
    assert export(empty, "terminal").splitlines()[3].split() == ["m", "-", "-", "-", "-"]
    assert csv_rows(export(empty, "csv"))[1] == ["m", "", "", "", "", "", "false"]
    row = json.loads(export(empty, "json"))["rows"][0]
    assert [row[name] for name in ("n", "rate", "interval", "p")] == [None] * 4


@pytest.mark.parametrize("form", FORMS)
def test_a_table_without_rows_is_still_a_table(form: str) -> None:
    assert "model" in export(table(rows=()), form)


def test_unknown_forms_and_uneven_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="terminal, csv, md, latex, json"):
        export(table(), "xls")
    with pytest.raises(ValueError, match="A table"):
        table(rows=(("m", 3),))


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "\r\n@x", "＝1"])
def test_names_are_no_formulas_in_a_spreadsheet(name: str) -> None:
    assert csv_rows(export(table(name), "csv"))[1][0] == "'" + clean(name)


def test_negative_numbers_in_csv_stay_numbers() -> None:
    lowered = table(rows=(("m", 3, -0.25, (-0.5, 0.1), 0.2),))
    assert csv_rows(export(lowered, "csv"))[1][2:5] == ["-0.25", "-0.5", "0.1"]


@given(NAMES)
def test_any_name_is_one_cell_of_a_csv_and_never_a_formula(name: str) -> None:
    first = csv_rows(export(table(name), "csv"))[1][0]
    assert first.removeprefix("'") == clean(name).removeprefix("'")
    assert first[:1] not in ("=", "+", "-", "@")


@given(NAMES)
def test_any_name_is_shown_as_it_is_by_markdown(name: str) -> None:
    shown = markdown_cells(export(table(name), "md"))[5:]
    assert [shown[0].strip(), len(shown)] == [clean(name).strip(), 5]


@given(NAMES)
def test_any_name_is_shown_as_it_is_by_latex(name: str) -> None:
    lines = export(table(name), "latex").split("\n")
    read = latex_cells(lines[lines.index("\\midrule") + 1])
    assert read[1:4] == ["3", "33.3", "[6.1, 79.2]"]
    assert re.sub("[{}]", "", read[0]).strip() == re.sub("[{}]", "", clean(name)).strip()


@given(NAMES)
def test_any_name_survives_json(name: str) -> None:
    text = export(table(name), "json")
    assert text.isascii()
    assert json.loads(text)["rows"][0]["model"] == name


@pytest.mark.parametrize(("name", "set_as"), [("a--b---c", "a-{}-b-{}-{}-c"), ("100%_#{x}", "100\\%\\_\\#\\{x\\}")])
def test_latex_specials_are_escaped(name: str, set_as: str) -> None:
    assert f"\n{set_as} & 3" in export(table(name), "latex")


@pytest.mark.parametrize("name", ["a|b", "a\\|b", "`x|y`", "*a* _b_ <i>c</i> [d](e) &lt;", "~~a~~"])
def test_markdown_specials_are_escaped(name: str) -> None:
    assert markdown_cells(export(table(name), "md"))[5] == name


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("columns", [40, 60, 120])
def test_terminal_gets_what_fits_and_no_number_is_cut(terminal: Terminal, columns: int, locale: str) -> None:
    terminal.resize(columns, 40)
    wide = table("a-very-long-model-name-x-1234567890", notes=("many words " * 12,))
    show(wide, terminal.stream, {"TERM": "xterm", "LANG": locale})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.written()).split("\r\n")
    assert max(map(cells, lines)) < columns
    assert any("[6.1, 79.2]" in line for line in lines)


def test_terminal_without_unicode_gets_ascii() -> None:
    stream = io.StringIO()
    show(table(rows=(("m…", 3, 0.5, (0.1, 0.9), 0.5),)), stream, {"LANG": "C"})
    assert stream.getvalue().isascii()
    assert "-----" in stream.getvalue()


def test_escape_sequences_never_reach_a_terminal() -> None:
    assert "\x1b" not in export(table("\x1b[2Jm", title="\x1b]0;x\x07t", notes=("\x1b[1mn",)), "terminal")


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (0.1234, "points", "+12.3"),
        (-0.1234, "points", "−12.3"),
        (-0.0001, "points", "0.0"),
        ((-0.5, 0.25), "signed", "[−0.500, +0.250]"),
        (0.0006, "p", "<0.001"),
        (0.0512, "p", "0.051"),
        (0.12345, "number", "0.123"),
        (True, "text", "yes"),
    ],
)
def test_numbers_are_rounded_for_people(value: Any, kind: str, told: str) -> None:
    assert spell(value, kind) == told


def test_result_table_holds_the_figures_of_every_cell() -> None:
    figures = CellFigures(planned=20, full=12, partial=4, failed=3, provider_errors=1)
    made = result_table({CellKey("m", "optimal", "0.8", "easy", "simple_task"): figures}, simulated=True)
    cell = json.loads(export(made, "json"))["rows"][0]
    assert [cell[name] for name in ("model", "tool_success_rate", "scored", "planned")] == ["m", "0.8", 19, 20]
    assert cell["full_rate"] == 12 / 19
    assert cell["full_interval"] == list(figures.full_interval)
    assert (cell["coverage"], cell["bounds"], cell["provider_errors"]) == (0.95, [0.6, 0.65], 1)
    assert made.notes == ("20 planned = 19 scored + 1 provider_error + 0 harness_error + 0 pending",)


def test_result_table_of_unscored_cells_claims_no_rate() -> None:
    made = result_table({CellKey("m", "cot", "1.0", "easy", "x"): CellFigures(planned=5)}, simulated=False)
    cell = json.loads(export(made, "json"))["rows"][0]
    assert (cell["full_rate"], cell["full_interval"], cell["bounds"]) == (None, None, [0, 1])


def test_comparison_table_tells_what_was_lost_in_pairing() -> None:
    def rows(outcomes: str) -> list[Row]:
        names = {"F": "full", "-": "failure"}
        base = dict.fromkeys(FIELDS) | {"tool_success_rate": 0.8}
        return [
            base
            | {"task_id": str(n), "status": "scored" if one in names else "provider_error", "outcome": names.get(one)}
            for n, one in enumerate(outcomes)
            if one != " "
        ]

    made = comparison_table(compare_all({"x": rows("FFFF?F"), "y": rows("F---F ")}), simulated=False)
    told = json.loads(export(made, "json"))["rows"][0]
    assert [told[name] for name in ("a", "b", "pairs", "lost", "unpaired_a", "unpaired_b")] == ["x", "y", 4, 1, 1, 0]
    assert (told["rate_a"], told["rate_b"], told["difference"], told["discordant_a"]) == (1, 0.25, 0.75, 3)
    assert told["p"] == told["adjusted_p"] == pytest.approx(0.25)
