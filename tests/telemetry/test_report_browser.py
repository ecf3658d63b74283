from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from browser import Page, chromium
from made_up_results import NASTY, long_talk, many, row, said, unscored
from selenium.webdriver.common.keys import Keys

from telemetry.report.conversations import Said, Shortlist, pack
from telemetry.report.facts import Facts
from telemetry.report.page import Report, write_page
from trials.rows import Row

pytestmark = pytest.mark.slow
ROWS = list(many(1000))


def write(path: Path, rows: Iterable[Row], talks: Callable[[], Iterable[Said]]) -> Path:
    facts, shortlist = Facts(), Shortlist()
    for one in rows:
        facts.add(one)
        shortlist.offer(one)
    packed = pack(shortlist, talks, 25_000_000)
    with path.open("wb") as file:
        write_page(Report(source="results", facts=facts, written_at=1.7e9, conversations=packed), file)
    return path


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[object]:
    with chromium(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write(path, ROWS, lambda: map(long_talk, range(1000)))


@pytest.fixture
def page(driver, report) -> Iterator[Page]:
    driver.get("about:blank")  # so that nothing of the page before is left
    one = Page(driver, report)
    yield one
    assert one.complaints() == []


def having(**levels: object) -> int:
    return sum(all(one[name] == level for name, level in levels.items()) for one in ROWS)


def test_each_filter_shows_as_many_trials_as_there_are(page) -> None:
    for name, level in {
        "model": "beta-70b",
        "prompt_type": "cot",
        "outcome": "partial",
        "status": "provider_error",
        "error_category": "dependency",
        "tool_success_rate": 0.9,
    }.items():
        assert page.choose(name, str(level)) == f"{having(**{name: level})} of 1,000 trials"
        assert page.choose(name, "all") == "1,000 of 1,000 trials"


def test_filters_and_search_narrow_each_other_and_reset_undoes_them(page) -> None:
    needles = [one for number, one in enumerate(ROWS) if number % 100 == 7]
    assert page.search("NEEDLE") == "10 of 1,000 trials"
    both = sum(one["model"] == "beta-70b" for one in needles)
    assert page.choose("model", "beta-70b") == f"{both} of 1,000 trials"
    page.one("#reset").click()
    assert page.count() == "1,000 of 1,000 trials"
    assert page.search("nothing has this in it") == "0 of 1,000 trials"
    assert page.search(ROWS[5]["trial_key"][:8]) == "1 of 1,000 trials"


def test_search_finds_what_was_said_and_not_how_it_is_stored(page) -> None:
    assert page.search("assistant") == "0 of 1,000 trials"  # a role's name, in every conversation's JSON
    assert page.search('"role"') == "0 of 1,000 trials"
    assert page.search("</tool_call>") == "1,000 of 1,000 trials"


def test_the_list_goes_by_keyboard_and_holds_only_what_is_in_sight(page) -> None:
    listed = page.one("#trials")
    listed.send_keys(Keys.HOME)
    for key, place in ((Keys.ARROW_DOWN, 1), (Keys.ARROW_DOWN, 2), (Keys.ARROW_UP, 1), (Keys.END, 999), (Keys.HOME, 0)):
        listed.send_keys(key)
        chosen = page.run("document.querySelector('[aria-selected=true]').dataset.place")
        assert int(chosen) == place
        assert (
            page.run("document.getElementById('trials').getAttribute('aria-activedescendant')") == f"trial-row-{place}"
        )
    assert page.run("document.querySelectorAll('.row').length") < 60
    assert page.run("document.querySelector('.row').getAttribute('aria-setsize')") == "1000"
    listed.send_keys(Keys.PAGE_DOWN)
    assert int(page.run("document.querySelector('[aria-selected=true]').dataset.place")) > 3
    listed.send_keys(Keys.ENTER)
    assert page.run("document.activeElement.id") == "conversation"
    page.one("#conversation").send_keys(Keys.ESCAPE)
    assert page.run("document.activeElement.id") == "trials"


def test_a_chosen_trial_shows_its_whole_conversation_marked_where_it_was_found(page) -> None:
    page.search("needle")
    page.one(".row").click()
    page.until("document.querySelectorAll('#conversation .message').length == 21")
    assert page.run("document.querySelector('#conversation mark').textContent") == "Needle"
    folds = page.run("document.querySelectorAll('#conversation details summary').length")
    page.one("#conversation details summary").click()
    page.until("document.querySelector('#conversation pre').textContent.includes('breakdown')")
    assert folds == 1


def test_a_link_to_a_trial_opens_it(driver, report) -> None:
    driver.get("about:blank")
    driver.get(f"{report.as_uri()}#trial={ROWS[321]['trial_key']}")
    page = Page.__new__(Page)
    page.driver = driver
    page.until("document.querySelector('#conversation .message')")
    assert "Order 321" in page.said()
    assert page.complaints() == []


def test_colours_follow_the_switch_and_folds_open(page) -> None:
    from selenium.webdriver.support.ui import Select

    shades = []
    for theme in ("dark", "light", "auto"):
        Select(page.one("#theme")).select_by_value(theme)
        shades.append(page.run("getComputedStyle(document.body).backgroundColor"))
    assert shades[0] != shades[1] == shades[2]
    for fold in page.driver.find_elements("css selector", "main details"):
        fold.find_element("css selector", "summary").click()
        assert fold.get_attribute("open") is not None
        assert len(fold.find_elements("css selector", "tr")) > 1
    for link in page.driver.find_elements("css selector", "nav a"):
        assert page.run("document.querySelector(arguments[0])", link.get_attribute("hash"))


def test_dark_is_what_a_dark_system_gets(tmp_path, report) -> None:
    with chromium(tmp_path / "profile", dark=True) as one:
        page = Page(one, report)
        assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 26)"
        assert page.complaints() == []


def test_a_phone_shows_all_of_it_without_scrolling_sideways(tmp_path, report) -> None:
    with chromium(tmp_path / "profile", width=360) as one:
        page = Page(one, report)
        assert page.run("document.documentElement.scrollWidth") == 360
        assert page.run("getComputedStyle(document.querySelector('.narrow')).display") == "block"
        page.one("#trials").send_keys(Keys.HOME)
        page.until("document.querySelector('#conversation .message')")
        assert page.complaints() == []


def test_what_a_model_wrote_runs_nothing_and_is_shown_as_text(driver, tmp_path) -> None:
    rows = [row(n, model=text, task_id=text, error_category=text) for n, text in enumerate(NASTY)]
    rows += [unscored(50 + n, error_message=text) for n, text in enumerate(NASTY)]
    talks = [said(n, text, text * 2000) for n, text in enumerate(NASTY)]
    talks.append(Said(("run", 1, 50), "{not json", "null"))
    page = Page(driver, write(tmp_path / "report.html", rows, lambda: talks))
    listed, seen = page.one("#trials"), []
    listed.send_keys(Keys.HOME)
    for _ in rows:
        page.until("document.querySelector('#conversation .heading')")
        seen.append(page.said())
        for more in page.driver.find_elements("css selector", "#conversation button"):
            more.click()
        listed.send_keys(Keys.ARROW_DOWN)
    everything = "\n".join(seen)
    assert page.run("window.broken") is None
    assert "</script><script>window.broken=2</script>" in everything
    assert "␛[31mred␛[0m" in everything
    assert "⟨U+202E⟩rtl override" in everything
    assert "NUL ␀" in everything
    assert "damaged and cannot be shown" in everything
    assert page.run("document.querySelectorAll('main img, main iframe, main script').length") == 0
    assert page.complaints() == []


def test_a_reply_of_a_megabyte_is_cut_until_asked_for(driver, tmp_path) -> None:
    page = Page(driver, write(tmp_path / "report.html", [row(0)], lambda: [said(0, "word " * 200_000 + "the end")]))
    page.one("#trials").send_keys(Keys.HOME)
    page.until("document.querySelector('#conversation .message button')")
    assert len(page.said()) < 10_000
    page.one("#conversation .message button").click()
    page.until("document.getElementById('conversation').textContent.endsWith('the endHow it was marked')")
    assert page.search("the end") == "1 of 1 trials"
    assert page.complaints() == []


def test_an_empty_store_and_one_of_errors_alone_open_in_peace(driver, tmp_path) -> None:
    path = tmp_path / "empty.html"
    with path.open("wb") as file:
        write_page(Report(source="results", facts=Facts(), written_at=1.7e9), file)
    driver.get(path.as_uri())
    assert "holds no results yet" in driver.find_element("css selector", "main").text
    errors = [unscored(n) for n in range(3)]
    page = Page(driver, write(tmp_path / "errors.html", errors, lambda: [said(0, "begun")]))
    assert page.count() == "3 of 3 trials"
    page.one("#trials").send_keys(Keys.END)
    page.until("document.getElementById('conversation').textContent.includes('No conversation is stored')")
    assert page.complaints() == []


def test_ten_thousand_trials_fit_and_are_found(driver, tmp_path) -> None:
    path = write(tmp_path / "report.html", many(10_000), lambda: map(long_talk, range(10_000)))
    assert path.stat().st_size < 30_000_000
    page = Page(driver, path)
    assert page.run("document.querySelectorAll('.row').length") < 60
    assert page.search("the needle") == "100 of 10,000 trials"
    page.one("#trials").send_keys(Keys.END)
    page.until("document.querySelector('#conversation mark')")
    assert page.complaints() == []
