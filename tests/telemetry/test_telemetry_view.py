from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from telemetry.columns import cells, text_of
from telemetry.shard_table import Glyphs, bar
from telemetry.view import DRAINING_HINTS, HINTS, WATCHING_HINTS, render_view, view_lines
from trials.progress import RunView, ShardView

Make = Callable[..., Any]
TITLES = ["#", "model", "deployment", "state", "done", "full", "part", "fail", "prov.err"]
TITLES += ["req/s", "limit", "429s", "p50", "p99", "workers", "memory", "eta"]


def texts(view: RunView, width: int, **options: Any) -> list[str]:
    return [text_of(line) for line in view_lines(view, width, **options)]


@pytest.mark.parametrize("width", [20, 40, 60, 79, 100, 120, 160, 200, 300])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(make_view: Make, make_shard: Make, width: int, unicode: bool) -> None:
    long = make_shard(
        4, deployment="a-deployment-with-a-very-long-name-4", message="密钥无效 " * 40, cost_usd=12345.678
    )
    view = make_view(
        shards=(*make_view().shards, long),
        message="word " * 60,
        slowdown="→ " * 90,
        cost_usd=12345.678,
        cache_hits=9**9,
    )
    lines = texts(view, width, unicode=unicode)
    assert max(map(cells, lines)) <= width
    assert unicode or "".join(lines).isascii()


@pytest.mark.parametrize(
    ("width", "there", "gone"), [(40, "done eta", "model req/s"), (79, "full fail 429s", "memory p50")]
)
def test_columns_drop_by_priority(make_view: Make, width: int, there: str, gone: str) -> None:
    header = texts(make_view(), width)[1].split()
    assert set(there.split()) <= set(header)
    assert not set(gone.split()) & set(header)


def test_wide_terminals_show_every_column(make_view: Make) -> None:
    header = texts(make_view(), 200)[1]
    assert header.split() == TITLES
    assert " ".join(texts(make_view(), 200)[3].split()) == (
        "1 qwen2.5-72b-instruct qwen-key0 running ━━━━━╾────── 47/100 30 10 6 1 10.4 10.0 3 1.5% 101 ms 1.2 s 4/5 84 MB"
        " 0:12"
    )


def test_columns_for_trouble_appear_with_the_trouble(make_view: Make, make_shard: Make) -> None:
    assert "restarts" not in texts(make_view(), 200)[1]
    header = texts(make_view(shards=(make_shard(restarts=1, harness_errors=2),)), 200)[1]
    assert {"restarts", "harness"} <= set(header.split())


def test_counts_add_up_in_the_picture(make_view: Make) -> None:
    view = make_view(scored=100)
    assert "300 planned = 100 scored + 2 provider_error + 1 harness_error + 197 pending" in texts(view, 120)
    total = next(line for line in texts(view, 120) if "total" in line).split()
    assert total[1:6] == ["141/300", "90", "30", "18", "3"]


def test_trials_of_an_earlier_start_count_as_done(make_view: Make, make_shard: Make) -> None:
    assert "67/100" in texts(make_view(shards=(make_shard(earlier=20),)), 79)[3]


def test_simulated_runs_say_so_at_any_width(make_view: Make) -> None:
    long_id = "qwen2.5-72b-instruct-optimal-8f3a2c1d"
    for width in (40, 80, 200):
        assert "SIMULATED" in texts(make_view(run_id=long_id), width)[0]
        assert "SIMULATED" not in texts(make_view(run_id=long_id, simulated=False), width)[0]


def test_what_to_press_is_told_while_there_is_something_to_stop(make_view: Make) -> None:
    assert texts(make_view(), 80)[-1] == HINTS[1]
    assert texts(make_view(state="draining"), 80)[-1] == DRAINING_HINTS[1]
    assert not any("Ctrl-C" in line for line in texts(make_view(state="done"), 80))
    assert texts(make_view(), 80, hints=WATCHING_HINTS)[-1] == WATCHING_HINTS[0]
    assert not any("Ctrl-C" in line for line in texts(make_view(), 80, hints=()))


@pytest.mark.parametrize("state", ["running", "draining"])
@pytest.mark.parametrize("width", [39, 79, 119, 199])
def test_what_to_press_is_told_whole_at_any_width(make_view: Make, state: str, width: int) -> None:
    assert texts(make_view(state=state), width)[-1] in HINTS + DRAINING_HINTS
    assert texts(make_view(state=state), 199)[-1] in (HINTS[0], DRAINING_HINTS[0])


def test_cost_and_hits_are_told_where_there_are_any(make_view: Make, make_shard: Make) -> None:
    plain = texts(make_view(), 119)
    assert not any("cost" in line or "hits" in line for line in plain)
    shards = (make_shard(1, cost_usd=0.25), make_shard(2, cost_usd=1.0))
    lines = texts(make_view(shards=shards, cost_usd=1.25, max_cost_usd=5.0, cache_hits=1204), 119)
    assert "cost $1.25 of $5.00 · 1,204 cache hits" in lines
    assert "cost" in lines[1].split()
    assert "$0.2500" in lines[3]
    assert "cost $1.25 of $5.00 · 1,204 cache hits" in texts(
        make_view(shards=shards, cost_usd=1.25, max_cost_usd=5.0, cache_hits=1204), 40
    )


def test_a_price_that_is_not_known_is_no_zero(make_view: Make, make_shard: Make) -> None:
    shards = (make_shard(1, cost_usd=0.25), make_shard(2))
    lines = texts(make_view(shards=shards, cost_usd=0.25), 119)
    assert "cost at least $0.2500" in lines
    assert lines[4].split()[-2] == "-"


def test_trials_a_second_tell_that_a_cached_run_goes_on(make_view: Make, make_shard: Make) -> None:
    view = make_view(shards=(make_shard(requests_per_s=0.0),), trials_per_s=812.0, cache_hits=5)
    assert any("812 trials/s" in line for line in texts(view, 80))
    assert not any("trials/s" in line for line in texts(make_view(state="finished"), 80))


def test_last_slowdown_is_told_in_words(make_view: Make) -> None:
    told = "slowed down 0:42 ago: qwen-key1 cut from 10.0 to 5.0/s, 3 requests answered 429"
    assert told in texts(make_view(slowdown=told), 119)
    assert told in texts(make_view(), 119, reason=told)


def test_many_shards_fold_into_the_height_and_trouble_stays_visible(make_view: Make, make_shard: Make) -> None:
    shards = [make_shard(number) for number in range(1, 41)]
    shards[35] = make_shard(36, state="failed")
    shards[37] = make_shard(38, message="key refused")
    lines = texts(make_view(shards=tuple(shards)), 100, height=20)
    assert len(lines) <= 20
    assert any(re.search(r"^36 .*failed", line) for line in lines)
    assert any(line.startswith("38 ") for line in lines)
    shown = sum(bool(re.match(r" ?\d+  qwen", line)) for line in lines)
    assert f"… {40 - shown} more: {40 - shown} running" in lines


@pytest.mark.parametrize("height", range(1, 30))
def test_picture_is_never_higher_than_the_terminal(make_view: Make, make_shard: Make, height: int) -> None:
    shards = tuple(make_shard(number, message="m" * 300) for number in range(1, 12))
    view = make_view(shards=shards, slowdown="r " * 200, message="w " * 900, cost_usd=1.0)
    assert len(texts(view, 60, height=height)) <= height


def test_a_run_without_shards_or_trials_can_be_shown(make_view: Make) -> None:
    empty = make_view(scored=0, planned=0, provider_errors=0, harness_errors=0, pending=0, shards=(), eta_s=None)
    assert any("0/0  100 %" in line for line in texts(empty, 80))


def test_bar_is_full_only_when_all_is_done() -> None:
    drawn = [text_of(bar(done, 4, Glyphs())) for done in (0, 0.001, 0.5, 0.99, 1, 2, -1)]
    assert drawn == ["────", "────", "━━──", "━━━╾", "━━━━", "━━━━", "────"]


def test_servers_words_are_shown_as_they_are_without_effect(make_view: Make, make_shard: Make) -> None:
    shard: ShardView = make_shard(message="[bold red]no\x1b[2J [/]entry")
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    console.print(render_view(make_view(shards=(shard,)), 119, reason="[link=x]429[/link]"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "[bold red]no [/]entry" in shown
    assert "[link=x]429[/link]" in shown
    assert "\x1b[2J" not in shown


def test_picture_can_be_exported_as_svg(make_view: Make) -> None:
    console = Console(record=True, width=120, file=io.StringIO(), force_terminal=True)
    console.print(render_view(make_view(), 119))
    assert "qwen-key2" in console.export_svg(title="live table")
