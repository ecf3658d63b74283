"""Writes the report as one HTML file that asks nothing of anyone: style, script, plots and conversations are inside.

A content security policy (W3C CSP, level 3) lets run only the style and the script whose hashes it names, lets nothing
be loaded or sent, and keeps text from becoming markup (Trusted Types): what a model wrote is data, whatever it holds.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import BinaryIO

from telemetry.exports import SIMULATED
from telemetry.report.conversations import Packed
from telemetry.report.course import course_figure
from telemetry.report.facts import Facts
from telemetry.report.figures import Figure, error_figures, phase_figure, rate_figures, subject_figure
from telemetry.report.limits import LimitChange
from telemetry.report.markup import figure_html, table_html, text_of
from telemetry.report.tables import (
    SuiteResult,
    bank_table,
    cell_table,
    condition_table,
    phase_table,
    phase_words,
    spent_table,
    whole,
    workflow_cells,
)
from telemetry.wording import percent
from trials.accounting import pool
from trials.statistics import clustered_rate_interval

_HERE = Path(__file__).parent
_SCRIPTS = ("data.js", "list.js", "conversation.js", "main.js")
_MOST_OPEN_ROWS = 40
FILTERS = {
    "model": "model",
    "prompt_type": "prompt type",
    "outcome": "outcome",
    "status": "status",
    "error_category": "error category",
    "tool_success_rate": "tool rate",
    "difficulty": "difficulty",
    "task_type": "task type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a page shows. ``source`` names the results store; ``written_at`` is in Unix seconds."""

    source: str
    facts: Facts
    written_at: float
    changes: Sequence[LimitChange] = ()
    suites: Sequence[SuiteResult] = ()
    notes: Sequence[str] = ()
    conversations: Packed | None = None

    def figures(self) -> list[Figure]:
        """Return every plot."""
        single = (subject_figure(self.facts), course_figure(self.facts, self.changes), phase_figure(self.facts))
        return [*rate_figures(self.facts), *(one for one in single if one), *error_figures(self.facts)]


def write_page(report: Report, out: BinaryIO) -> None:
    """Write a report as UTF-8."""
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    sections = [one for one in _sections(report) if one.body]
    for part in _head(report, style, script, sections):
        out.write(part.encode("utf-8", "replace"))
    for one in sections:
        out.write(f'<section id="{one.name}" aria-labelledby="{one.name}-h"><h2 id="{one.name}-h">'.encode())
        out.write(f"{escape(one.title)}</h2>{one.body}</section>\n".encode("utf-8", "replace"))
    out.write(f"</main>{_footer(report)}".encode("utf-8", "replace"))
    if report.conversations is not None:
        out.write(b'<script type="text/plain" id="trial-index">' + report.conversations.index + b"</script>\n")
        for number, chunk in enumerate(report.conversations.chunks()):
            out.write(b'<script type="text/plain" id="chunk-%d">%b</script>\n' % (number, chunk))
    out.write(f'<script type="module">{script}</script></body></html>\n'.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    name: str
    title: str
    short: str
    body: str


def _head(report: Report, style: str, script: str, sections: Iterable[_Section]) -> Iterator[str]:
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    title = f"Results of {text_of(report.source, 200)}"
    links = "".join(f'<li><a href="#{one.name}">{escape(one.short)}</a></li>' for one in sections)
    yield (
        f'<!doctype html>\n<html lang="en" data-theme="auto"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="no-referrer"><title>{title}</title><style>{style}</style></head>\n<body>'
        f'<a class="skip" href="#main">Skip to the results</a><header class="page"><h1>{title}</h1>'
        f'<p class="meta">{text_of(_about(report))}</p>'
    )
    if report.facts.simulated:
        yield f'<p class="banner" role="note">{escape(SIMULATED)}.</p>'
    yield f"{_tiles(report.facts)}</header>"
    yield (
        f'<nav aria-label="Sections"><div><ul>{links}</ul><label><span class="unseen">Colours</span>'
        '<select id="theme" autocomplete="off"><option value="auto">Auto</option><option value="light">Light</option>'
        '<option value="dark">Dark</option></select></label></div></nav><main id="main" tabindex="-1">'
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _about(report: Report) -> str:
    facts = report.facts
    told = [_count(len(facts.runs), "run"), _count(len(facts.spent), "model")]
    sittings = facts.timeline.sittings()
    if sittings:
        first, last = (
            time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) for at in (sittings[0].start, sittings[-1].end)
        )
        told.append(f"worked on from {first} to {last}" if first != last else f"worked on at {first}")
    told.append(time.strftime("report written %Y-%m-%d %H:%M %Z", time.localtime(report.written_at)))
    return " · ".join(told)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _tiles(facts: Facts) -> str:
    every = pool(facts.cells.values())
    tiles = [("trials stored", f"{facts.rows:,}", ""), ("with a score", percent(every.coverage), " %")]
    if every.scored:
        low, high = clustered_rate_interval(facts.counts(facts.cells).values())
        tiles.append(
            (f"full success, all conditions [{percent(low)}, {percent(high)}]", percent(every.full_rate), " %")
        )
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in facts.spent.values())
    tiles.append(("tokens", _big(tokens), ""))
    if len(facts.phases["provider"]):
        tiles.append(("per trial, median", f"{facts.phases['whole'].percentile(50) / 1000:.2f}", " s"))
    cost = [one.cost_usd for one in facts.spent.values() if one.cost_usd is not None]
    if cost:
        tiles.append(("cost", f"{sum(cost):,.2f}", " USD"))
    parts = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(unit)}</small></dd></div>"
        for name, value, unit in tiles
    )
    return f'<dl class="tiles">{"".join(parts)}</dl>'


def _big(n: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if n >= size:
            return f"{n / (1000 if letter == 'k' else size):.1f} {letter}"
    return f"{n:,}"


def _sections(report: Report) -> Iterator[_Section]:
    facts = report.facts
    if not facts.rows:
        yield _Section(name="results", title="Results", short="Results", body="<p>This store holds no results yet.</p>")
        return
    body = _results(report) if workflow_cells(facts) else ""
    yield _Section(name="results", title="Results", short="Results", body=body)
    plots = "".join(map(figure_html, rate_figures(facts)))
    yield _Section(name="comparisons", title="What makes a difference", short="Comparisons", body=plots)
    subjects, bank = subject_figure(facts), bank_table(facts)
    body = (table_html(bank) if bank else "") + (figure_html(subjects) if subjects else "")
    yield _Section(name="questions", title="Question banks", short="Questions", body=body)
    yield _Section(name="suites", title="Suites", short="Suites", body="".join(map(_suite, report.suites)))
    course = course_figure(facts, report.changes)
    yield _Section(name="time", title="Over time", short="Time", body=figure_html(course) if course else "")
    yield _Section(name="latency", title="Latency", short="Latency", body=_phases(facts))
    errors = "".join(map(figure_html, error_figures(facts)))
    body = errors or "<p>Every trial that was marked succeeded in full, and every one has a score.</p>"
    yield _Section(name="errors", title="Errors", short="Errors", body=body)
    cost = any(one.cost_usd is not None for one in facts.spent.values())
    title = "Tokens and cost" if cost else "Tokens"
    yield _Section(name="tokens", title=title, short=title, body=table_html(spent_table(facts)))
    if report.conversations is not None:
        body = _browser(report.conversations)
        yield _Section(name="conversations", title="Conversations", short="Conversations", body=body)


def _results(report: Report) -> str:
    notes = "".join(f"<li>{text_of(note)}</li>" for note in report.notes)
    every, groups = cell_table(report.facts), condition_table(report.facts)
    body = f'<ul class="notes">{notes}</ul>' if notes else ""
    body += table_html(groups)
    if len(every.rows) > len(groups.rows):
        kept = " open" if len(every.rows) <= _MOST_OPEN_ROWS // 4 else ""
        title = f"All {len(every.rows)} cells, by kind of task"
        body += f"<details{kept}><summary>{title}</summary>{table_html(every)}</details>"
    return body


def _suite(suite: SuiteResult) -> str:
    main, *others = map(whole, suite.tables)
    more = "".join(f"<details><summary>{text_of(one.title)}</summary>{table_html(one)}</details>" for one in others)
    return f'{table_html(main)}<p class="reading">{text_of(suite.reading)}</p>{more}'


def _phases(facts: Facts) -> str:
    figure, table = phase_figure(facts), phase_table(facts)
    return (figure_html(figure) if figure else "") + (table_html(phase_words(table)) if table else "")


def _browser(packed: Packed) -> str:
    fields = "".join(
        f'<label>{escape(title)}<select name="{name}" autocomplete="off"><option value="">all</option></select></label>'
        for name, title in FILTERS.items()
    )
    return (
        f"{_left_out(packed)}"
        '<div id="browser"><div class="filters" role="search" aria-label="Trials"><label class="wide-field">'
        'search in conversations, task and key<input id="search" type="search" autocomplete="off" spellcheck="false">'
        f'</label>{fields}<button type="button" id="reset">Reset</button></div>'
        '<p id="count" role="status" aria-live="polite">unpacking…</p><div class="panes">'
        '<div id="trials" role="listbox" tabindex="0" aria-label="Trials; arrow keys choose, Enter goes there"></div>'
        '<div id="conversation" role="region" tabindex="-1" aria-label="The chosen conversation; Escape goes back">'
        '<p class="soft">Choose a trial to read what was said.</p></div></div></div>'
    )


def _left_out(packed: Packed) -> str:
    if packed.shown == packed.offered:
        return f"<p>All {_count(packed.offered, 'trial')} can be read here.</p>"
    short, shown_short = packed.offered_short, packed.shown_short
    fell = f"all {short:,}" if short == shown_short else f"{shown_short:,} of {short:,}"
    return (
        f"<p><strong>{packed.shown:,} of {packed.offered:,} trials are in this file</strong>: {fell} that fell short"
        " or have no score, and a random sample of the others. The results store holds them all.</p>"
    )


def _footer(report: Report) -> str:
    return (
        "<footer><p>Rates are over scored trials; intervals are at 95 %. Times are those of the machine that wrote this"
        " file. It needs no network, and nothing in it leaves your machine.</p></footer>\n"
    )
