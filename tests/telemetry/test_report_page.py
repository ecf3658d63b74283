from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser

import pytest
from made_up_results import NASTY, many, row, said, unscored

from telemetry.report.conversations import Said, Shortlist, pack
from telemetry.report.facts import Facts
from telemetry.report.page import Report, write_page
from telemetry.report.plot_files import write_plots
from trials.rows import Row


def report_of(rows: Iterable[Row], conversations: Iterable[Said] = ()) -> Report:
    facts, shortlist, talks = Facts(), Shortlist(), list(conversations)
    for one in rows:
        facts.add(one)
        shortlist.offer(one)
    return Report(source="results", facts=facts, written_at=1.7e9, conversations=pack(shortlist, lambda: talks, 10**6))


def page_of(report: Report) -> str:
    out = io.BytesIO()
    write_page(report, out)
    return out.getvalue().decode()


class Reader(HTMLParser):
    """Reads a page as a browser does, and keeps what matters for safety and for readers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, *one) for one in attrs]
        if tag == "script":
            self.scripts.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_strangers_text_never_becomes_markup() -> None:
    plain = Reader(page_of(report_of([row(0), unscored(1)], [said(0, "a")])))
    rows = [row(n, model=text, task_type=text, task_id=text) for n, text in enumerate(NASTY)]
    rows += [unscored(100 + n, error_category=text, error_message=text) for n, text in enumerate(NASTY)]
    page = page_of(report_of(rows, [said(n, text) for n, text in enumerate(NASTY)]))
    nasty = Reader(page)
    assert len(nasty.scripts) == len(plain.scripts)
    assert [one for one in nasty.scripts if one.get("type") == "module"] == [{"type": "module"}]
    assert "img" not in nasty.tags
    assert not [name for _, name, _ in nasty.attributes if name.startswith("on") or name == "style"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    assert any("onerror=" in text for text in nasty.texts)  # shown, as the text it is


def test_policy_names_the_very_script_and_style_and_nothing_can_be_loaded() -> None:
    from base64 import b64encode
    from hashlib import sha256

    page = page_of(report_of([row(0)]))
    policy = next(
        value for tag, name, value in Reader(page).attributes if tag == "meta" and "default-src" in (value or "")
    )
    script = page[page.rindex('<script type="module">') + 22 : page.rindex("</script>")]
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    for text in (script, style):
        assert f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")
    assert "unsafe" not in (policy or "")
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "url(" not in style
    assert "@import" not in style


def test_simulated_results_are_marked_and_real_ones_are_not() -> None:
    assert "SIMULATED results: they measure no real model" in page_of(report_of([row(0, simulated=True)]))
    assert "SIMULATED" not in page_of(report_of([row(0)]))


def test_an_empty_store_makes_a_page_that_says_so() -> None:
    page = page_of(Report(source="results", facts=Facts(), written_at=1.7e9))
    assert "holds no results yet" in page
    assert "<table" not in page


def test_a_store_of_provider_errors_alone_makes_a_page_without_rates() -> None:
    page = page_of(report_of(unscored(n) for n in range(5)))
    assert "Why trials have no score" in page
    assert "Full success by" not in page
    assert "5 planned = 0 scored + 5 provider_error" in page


def test_every_table_has_a_caption_and_every_plot_a_title_and_a_description() -> None:
    reader = Reader(page_of(report_of(many(400))))
    assert reader.tags.count("table") == reader.tags.count("caption") > 5
    drawn = reader.tags.count("svg")
    assert drawn == reader.tags.count("desc") > 8
    named = [value for tag, name, value in reader.attributes if tag == "svg" and name == "aria-labelledby"]
    ids = [value for _, name, value in reader.attributes if name == "id"]
    assert len(named) == drawn
    assert {part for one in named for part in (one or "").split()} <= set(ids)
    assert len(ids) == len(set(ids))


def test_cost_shows_only_where_rows_tell_of_it() -> None:
    assert "cost" not in page_of(report_of([row(0)])).split("<script")[0]
    page = page_of(report_of([row(0, cost_usd=0.25), row(1, cost_usd=0.5)]))
    assert "Tokens and cost" in page
    assert "0.750" in page


def test_questions_are_told_per_subject() -> None:
    answers = [row(n, prompt_type="question", task_type="algebra", score=float(n % 4 > 0)) for n in range(40)]
    answers += [row(50 + n, prompt_type="question", task_type="history", score=0.5) for n in range(10)]
    page = page_of(report_of(answers))
    assert "Accuracy by subject" in page
    assert "algebra, alpha-7b: 75.0 [" in page
    assert "history, alpha-7b: 50.0 [" in page


def test_the_control_of_flaws_has_the_same_tasks() -> None:
    rows = [row(n, prompt_type="flawed_missing_step", outcome="failure") for n in range(10)]
    rows += [row(100 + n, task_id=f"basic_task-{n:03d}") for n in range(10)]
    rows += [row(200 + n, outcome="failure") for n in range(50)]  # other tasks, which would drag the control down
    page = page_of(report_of(rows))
    assert "optimal, same tasks, alpha-7b: 100.0 [" in page


def test_the_same_rows_make_the_same_page() -> None:
    rows = list(many(200))
    assert page_of(report_of(rows)) == page_of(report_of(list(rows)))


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\nc", "m" * 3000, "قلب", ""])
def test_odd_model_names_do_no_harm(name: str, tmp_path) -> None:
    report = report_of([row(0, model=name), row(1, model="other")])
    page_of(report)
    written = write_plots(report.figures(), tmp_path / "plots", simulated=False)
    assert {path.parent for path in written} == {tmp_path / "plots"}
    assert len(page_of(report)) < 10**6


def test_plots_are_files_that_stand_alone(tmp_path) -> None:
    import xml.etree.ElementTree as ET

    report = report_of(many(300))
    written = write_plots(report.figures(), tmp_path, simulated=True)
    pictures = [path for path in written if path.suffix == ".svg"]
    assert {"success-by-flaw", "success-by-tool-reliability", "over-time"} <= {path.stem for path in pictures}
    for path in pictures:
        tree = ET.parse(path)
        assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert "SIMULATED" in path.read_text()


def test_plots_are_png_where_they_can_be_drawn(tmp_path) -> None:
    pytest.importorskip("resvg_py")
    written = write_plots(report_of(many(300)).figures(), tmp_path, simulated=False)
    pictures = [path for path in written if path.suffix == ".png"]
    assert len(pictures) == len(written) / 2
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_what_is_packed_is_what_was_said() -> None:
    import gzip
    from base64 import b64decode

    packed = report_of([row(0), row(1)], [said(1, "one"), said(0, "zero"), said(9, "stranger")]).conversations
    assert packed is not None
    index = json.loads(gzip.decompress(b64decode(packed.index)))
    (chunk,) = (gzip.decompress(b64decode(one)).decode().split("\n") for one in packed.chunks())
    told = [json.loads(chunk[line])[0][-1]["content"] for _, line in index["at"]]
    assert told == ["zero", "one"]


def test_when_room_is_short_the_failed_go_in_first_and_the_page_says_so() -> None:
    rows = list(many(600))
    shortlist = Shortlist(seed=3)
    facts = Facts()
    for one in rows:
        shortlist.offer(one)
        facts.add(one)
    from made_up_results import long_talk

    talks = [long_talk(n) for n in range(600)]
    packed = pack(shortlist, lambda: talks, 600_000)
    assert sum(map(len, packed.chunks())) <= 600_000
    short = sum(one["outcome"] != "full" for one in rows)
    assert packed.shown_short == packed.offered_short == short
    assert short < packed.shown < 600
    page = page_of(Report(source="results", facts=facts, written_at=1.7e9, conversations=packed))
    assert f"<strong>{packed.shown} of 600 trials are in this file</strong>: all {short} that fell short" in page
    again = Shortlist(seed=3)
    for one in reversed(rows):
        again.offer(one)
    assert pack(again, lambda: talks, 600_000).index == packed.index


def test_the_shortlist_keeps_the_failed_in_constant_memory() -> None:
    shortlist = Shortlist(most=50)
    for one in many(2000):
        shortlist.offer(
            one | ({"outcome": "full", "status": "scored"} if one["epoch"] % 100 else {"outcome": "failure"})
        )
    kept = shortlist.rows()
    assert len(kept) == 50
    assert sum(one["outcome"] == "failure" for one in kept) == 20
