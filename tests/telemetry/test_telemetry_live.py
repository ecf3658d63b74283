from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pseudo_terminal import FakeClock, Terminal

from telemetry.columns import text_of
from telemetry.live import LiveTable, PlainLines, choose_display, plain_figures, write_view
from telemetry.terminal import Look
from telemetry.view import HINTS, WATCHING_HINTS, view_lines

Make = Callable[..., Any]
Replay = Callable[[str], list[str]]
FULL = Look(terminal=True, colour=True, unicode=True)


def picture(view: Any, width: int = 99, height: int = 29) -> list[str]:
    return [text_of(line) for line in view_lines(view, width, height=height)]


def shown(replay: Replay, text: str) -> list[str]:
    return [line.rstrip() for line in replay(text.replace("\r\n", "\n"))]


@pytest.fixture
def table(terminal: Terminal, clock: FakeClock) -> Iterator[LiveTable]:
    one = LiveTable(terminal.stream, FULL, interval_s=1.0, clock=clock)
    yield one
    one.close()


def settle(table: LiveTable) -> None:
    while not table._outlet.idle:
        time.sleep(0.001)


def test_last_picture_stands_alone_however_often_it_was_drawn(
    table: LiveTable, terminal: Terminal, clock: FakeClock, make_view: Make, replay: Replay
) -> None:
    for scored in range(100, 140):
        table.show(make_view(scored))
        settle(table)
        clock.now += 3
    table.close()
    assert shown(replay, terminal.written()) == [*picture(make_view(139)), ""]


def test_unchanged_lines_are_not_drawn_again(
    table: LiveTable, terminal: Terminal, clock: FakeClock, make_view: Make
) -> None:
    table.show(make_view(100))
    settle(table)
    first = terminal.written()
    clock.now += 3
    table.show(make_view(101))
    settle(table)
    second = terminal.written()
    assert "qwen-key0" in first
    assert "qwen-key0" not in second
    assert "101 scored" in second


def test_views_that_come_too_fast_are_skipped_but_the_last_is_drawn(
    table: LiveTable, terminal: Terminal, make_view: Make
) -> None:
    for scored in range(100, 140):
        table.show(make_view(scored))
        settle(table)
    table.close()
    written = terminal.written()
    assert "100 scored" in written
    assert "139 scored" in written
    assert not re.search(r"1[12]\d scored", written)


def test_notes_stay_above_the_table(
    table: LiveTable, terminal: Terminal, clock: FakeClock, make_view: Make, replay: Replay
) -> None:
    table.show(make_view(100))
    table.note("shard 2 died;\x1b[2J started again")
    clock.now += 3
    settle(table)
    table.show(make_view(101))
    table.note("second")
    table.close()
    expected = ["shard 2 died; started again", "second", *picture(make_view(101)), ""]
    assert shown(replay, terminal.written()) == expected


def test_narrower_terminal_gets_a_narrower_picture(
    table: LiveTable, terminal: Terminal, clock: FakeClock, make_view: Make
) -> None:
    table.show(make_view(100))
    settle(table)
    terminal.written()
    terminal.resize(50, 20)
    clock.now += 3
    table.show(make_view(101))
    settle(table)
    drawn = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", terminal.written()).replace("\r", "").split("\n")
    assert [line.rstrip() for line in drawn] == [*picture(make_view(101), 49, 19), ""]


def test_change_of_width_draws_all_anew_from_where_the_broken_lines_begin(
    table: LiveTable, terminal: Terminal, clock: FakeClock, make_view: Make
) -> None:
    terminal.resize(200, 30)
    table.show(make_view(100))
    settle(table)
    terminal.written()
    terminal.resize(150, 30)
    clock.now += 3
    table.show(make_view(100))
    settle(table)
    rows = sum(-(-len(line) // 150) for line in picture(make_view(100), 199))
    assert rows > len(picture(make_view(100), 199))
    written = terminal.written()
    assert written.startswith(f"\r\x1b[{rows}A\x1b[J")
    assert "qwen-key2" in written


def test_picture_that_shrinks_leaves_nothing_behind(
    table: LiveTable, terminal: Terminal, clock: FakeClock, make_view: Make, replay: Replay
) -> None:
    table.show(make_view(100, message="something to say " * 10))
    settle(table)
    clock.now += 3
    table.show(make_view(101))
    table.close()
    assert shown(replay, terminal.written()) == [*picture(make_view(101)), ""]


def test_reason_of_the_last_slowdown_stays_when_the_limit_rises_again(
    table: LiveTable, terminal: Terminal, clock: FakeClock, make_view: Make, make_shard: Make
) -> None:
    table.show(make_view(shards=(make_shard(1, limit_reason="cut from 9.0 to 5.0/s, a 429"), make_shard(2))))
    clock.now += 3
    settle(table)
    assert "slowed down 0:00 ago: qwen-key0 cut from 9.0 to 5.0/s, a 429" in terminal.written()
    both = (make_shard(1, limit_reason="raised from 5.0 to 6.0/s"), make_shard(2, limit_reason="start value 9.0/s"))
    table.show(make_view(shards=both, elapsed_s=73.0))
    table.close()
    assert "slowed down 0:42 ago: qwen-key0 cut from 9.0 to 5.0/s, a 429" in terminal.written()


def test_who_watches_is_told_what_to_press(terminal: Terminal, make_view: Make) -> None:
    display = choose_display(terminal.stream, {"TERM": "xterm", "LANG": "C.UTF-8"}, hints=WATCHING_HINTS)
    display.show(make_view())
    display.close()
    written = terminal.written()
    assert WATCHING_HINTS[0] in written
    assert HINTS[1] not in written


def test_without_colour_no_colour_is_written(terminal: Terminal, make_view: Make) -> None:
    table = LiveTable(terminal.stream, Look(terminal=True))
    table.show(make_view())
    table.close()
    written = terminal.written()
    assert written.isascii()
    codes = {code for codes in re.findall(r"\x1b\[([0-9;]*)m", written) for code in codes.split(";")}
    assert codes <= {"", "0", "1", "2"}  # reset, bold, dim


def test_cursor_is_never_hidden_and_no_screen_taken_over(terminal: Terminal, make_view: Make) -> None:
    table = LiveTable(terminal.stream, FULL)
    table.show(make_view())
    table.close()
    assert "\x1b[?" not in terminal.written()


@pytest.mark.parametrize("kind", [LiveTable, PlainLines])
def test_closed_terminal_never_ends_the_run(kind: Any, clock: FakeClock, make_view: Make) -> None:
    terminal = Terminal()
    display = kind(terminal.stream, FULL, clock=clock)
    display.show(make_view(100))
    terminal.hang_up()
    for scored in range(100, 120):
        clock.now += 10
        display.show(make_view(scored))
        display.note("still here")
    display.close()
    display.close()
    assert display._outlet.silent


def test_display_is_chosen_by_what_the_stream_is(terminal: Terminal, tmp_path: Path) -> None:
    variables = {"TERM": "xterm", "LANG": "C.UTF-8"}
    assert isinstance(choose_display(terminal.stream, variables), LiveTable)
    assert isinstance(choose_display(terminal.stream, variables | {"TERM": "dumb"}), PlainLines)
    with (tmp_path / "nohup.out").open("w") as stream:
        assert isinstance(choose_display(stream, variables), PlainLines)


def plain(tmp_path: Path, clock: FakeClock) -> tuple[PlainLines, Callable[[], list[str]]]:
    stream = (tmp_path / "nohup.out").open("w", encoding="utf-8")
    lines = PlainLines(stream, Look(unicode=True), interval_s=5.0, clock=clock, wall_clock=clock)

    def written() -> list[str]:
        lines.close()
        stream.close()
        found = (tmp_path / "nohup.out").read_text(encoding="utf-8").splitlines()
        assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in found)
        return [line[10:] for line in found]

    return lines, written


def test_plain_lines_come_every_few_seconds(tmp_path: Path, clock: FakeClock, make_view: Make) -> None:
    lines, written = plain(tmp_path, clock)
    for second in range(11):
        lines.show(make_view(100 + second))
        clock.now += 1
    assert [line for line in written() if "scored" in line] == [plain_figures(make_view(n)) for n in (100, 105, 110)]


def test_plain_line_adds_up_and_says_how_fast_it_goes(make_view: Make) -> None:
    assert plain_figures(make_view(138)) == (
        "141/300 scored 138 provider_error 2 harness_error 1 pending 159  31.2 req/s  0.0 trials/s  429s 9  eta 0:35"
    )
    spent = plain_figures(make_view(138, cost_usd=0.5, cache_hits=7, trials_per_s=4.0))
    assert spent.endswith("4.0 trials/s  429s 9  cost at least $0.5000  7 cache hits  eta 0:35")


def test_changes_of_state_are_told_at_once(tmp_path: Path, clock: FakeClock, make_view: Make, make_shard: Make) -> None:
    lines, written = plain(tmp_path, clock)
    lines.show(make_view(shards=(make_shard(state="starting"),)))
    clock.now += 0.1
    lines.show(make_view(shards=(make_shard(state="failed", message="401\x1b[2J\nkey refused"),)))
    told = written()
    assert told[:2] == ["run: running", "shard 1 qwen-key0: starting"]
    assert told[3:5] == ["shard 1 qwen-key0: failed", "shard 1 qwen-key0: 401 key refused"]


def test_last_figures_are_written_at_the_end_but_not_twice(tmp_path: Path, clock: FakeClock, make_view: Make) -> None:
    lines, written = plain(tmp_path, clock)
    lines.show(make_view(100))
    lines.show(make_view(101))
    lines.close()
    assert [line for line in written() if "scored" in line] == [plain_figures(make_view(n)) for n in (100, 101)]


def test_reason_of_a_slowdown_is_told_once(tmp_path: Path, clock: FakeClock, make_view: Make, make_shard: Make) -> None:
    lines, written = plain(tmp_path, clock)
    for second in range(3):
        lines.show(make_view(shards=(make_shard(limit_reason="cut from 9.0 to 5.0/s"),), elapsed_s=5.0 * second))
        clock.now += 5
    assert "\n".join(written()).count("slowed down: qwen-key0 cut from 9.0 to 5.0/s") == 1


def test_a_view_can_be_written_once_for_another_terminal(terminal: Terminal, make_view: Make) -> None:
    write_view(make_view(), terminal.stream, {"TERM": "xterm", "LANG": "C.UTF-8"})
    assert "138 scored" in terminal.written()
    stream = io.StringIO()
    write_view(make_view(), stream, {})
    assert "138 scored" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "Ctrl-C" not in stream.getvalue()
