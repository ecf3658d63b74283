from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from pseudo_terminal import Terminal

from telemetry.columns import cells
from telemetry.tables import PlanRow, render_plan, render_results
from trials.accounting import MIXED, CellFigures, CellKey

TYPES = ("simple_task", "basic_task", "data_pipeline", "api_integration", "multi_stage_pipeline")
TERMINAL = {"TERM": "xterm", "LANG": "C.UTF-8", "NO_COLOR": "1"}


def cells_of(models: int = 1, **changes: Any) -> dict[CellKey, CellFigures]:
    counts: dict[str, Any] = {"planned": 20, "full": 12, "partial": 4, "failed": 3, "provider_errors": 1}
    counts |= {"variant": "v"} | changes
    return {
        CellKey(f"model-{number}", "optimal", "0.8", "easy", task_type): CellFigures(**counts)
        for number in range(models)
        for task_type in TYPES
    }


def written(figures: Mapping[CellKey, CellFigures], **options: Any) -> list[str]:
    stream = io.StringIO()
    render_results(figures, stream, **options)
    return stream.getvalue().splitlines()


def test_piped_results_hold_every_column_of_every_cell_in_full() -> None:
    row = next(line for line in written(cells_of(), environ={}) if "data_pipeline" in line)
    expected = "model-0 optimal 0.8 easy data_pipeline 19/20 63.2 [41.0, 80.9] 21.1 0.737 95.0 % 1 [60.0, 65.0]"
    assert " ".join(row.split()) == expected


def test_several_task_types_get_a_total() -> None:
    row = next(line for line in written(cells_of(), environ={}) if "all 5 types" in line)
    assert "95/100 63.2 [53.1, 72.2]" in " ".join(row.split())
    single = {key: one for key, one in cells_of().items() if key.task_type == "simple_task"}
    assert not any("all" in line for line in written(single, environ={}))


def test_last_line_adds_everything_up() -> None:
    lines = written(cells_of(), environ={})
    assert lines[-1] == "100 planned = 95 scored + 5 provider_error + 0 harness_error + 0 pending"


def test_simulated_results_are_marked_above_and_below() -> None:
    lines = written(cells_of(), simulated=True, environ={})
    assert lines[0].startswith("SIMULATED")
    assert lines[-1].startswith("SIMULATED")
    assert not any("SIMULATED" in line for line in written(cells_of(), environ={}))


def test_many_cells_are_grouped_unless_asked_for() -> None:
    grouped = written(cells_of(models=9), environ={})
    assert sum("all 5 types" in line for line in grouped) == 9
    assert not any("simple_task" in line for line in grouped)
    assert grouped[-1] == "45 cells; all of them: report --by cell"
    assert sum("simple_task" in line for line in written(cells_of(models=9), by="cell", environ={})) == 9


def test_bounds_are_shown_only_when_something_is_missing() -> None:
    assert "if missing" in "".join(written(cells_of(), environ={}))
    assert "if missing" not in "".join(written(cells_of(planned=0, provider_errors=0), environ={}))


def test_unscored_cells_show_dashes_rather_than_rates() -> None:
    figures = {CellKey("m", "cot", "1.0", "easy", "x"): CellFigures(planned=5)}
    row = " ".join(written(figures, environ={})[-3].split())
    assert row == "m cot 1.0 easy x 0/5 - - - - 0.0 % 0 [0.0, 100.0]"


def test_rows_left_out_and_mixed_settings_are_told() -> None:
    figures = cells_of(left_out=2)
    first = next(iter(figures))
    figures[first] = CellFigures(planned=1, full=1, variant="other")
    lines = written(figures, environ={})
    assert "left out: 8 older rows that were asked with other settings" in lines
    assert lines[-1].startswith("* pools")
    assert any("*" in line for line in lines if "all 5 types" in line)
    assert MIXED not in "".join(lines)


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_terminal_gets_what_fits_and_no_number_is_cut(terminal: Terminal, columns: int) -> None:
    terminal.resize(columns, 40)
    render_results(cells_of(models=2), terminal.stream, simulated=True, environ=TERMINAL)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.written()).split("\r\n")
    assert max(map(cells, lines)) < columns
    assert sum("[41.0, 80.9]" in line for line in lines) == 10
    if columns >= 80:
        assert any("tool rate 0.8" in line for line in lines)


def test_names_from_outside_have_no_effect(terminal: Terminal) -> None:
    figures = {CellKey("[red]m\x1b[2J", "cot", "1.0", "easy", "x"): CellFigures(planned=5)}
    render_results(figures, terminal.stream, environ=TERMINAL)
    shown = terminal.written()
    assert "[red]m" in shown
    assert "\x1b[2J" not in shown


def plan() -> list[PlanRow]:
    return [
        PlanRow(
            shard=number + 1,
            model="qwen2.5-72b-instruct",
            deployment=f"qwen-key{number}",
            key_name=f"IDEALLAB_API_KEY_{number}",
            workers=5,
            qps=10,
            trials=100,
            start_delay_s=(0, 30, 20)[number],
        )
        for number in range(3)
    ]


def test_plan_is_an_aligned_table_with_totals() -> None:
    stream = io.StringIO()
    render_plan(plan(), stream, caption="rate mode adaptive", environ={})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "rate mode adaptive"
    assert " ".join(lines[4].split()) == "2 qwen2.5-72b-instruct qwen-key1 IDEALLAB_API_KEY_1 5 10 100 +30 s"
    assert lines[6].split() == ["total", "15", "300"]
    assert lines[4].index("100") == lines[6].index("300")


def test_plan_says_when_a_shard_need_not_wait(terminal: Terminal) -> None:
    render_plan(plan(), terminal.stream, start_when_ready=True, environ=TERMINAL)
    shown = terminal.written()
    assert "≤ +30 s" in shown
    assert "≤ +20 s" in shown


def test_a_gone_reader_does_not_end_the_caller() -> None:
    gone = Terminal()
    gone.hang_up()
    render_plan(plan(), gone.stream, environ=TERMINAL)
    render_results(cells_of(), gone.stream, environ=TERMINAL)
