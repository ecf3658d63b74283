"""The sub-command ``audit``: which labels of a question bank are probably wrong, judged by the models' answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson

from commands.inspect_results import open_results
from commands.options import EXIT_SCORED
from commands.run_rows import RunRows, find_run
from stores.parts import CONVERSATIONS, part_paths, read_part
from stores.results import ResultsStore
from stores.table_file import check_table_path, write_table
from telemetry.exports import COUNT, NUMBER, SHARE, Field, Table, show
from trials.answer_votes import VOTE_FIELDS, Votes
from trials.errors import UsageError
from trials.label_audit import LabelAudit, Verdict, audit_labels
from trials.question_identity import Banks
from trials.rows import Row
from trials.words import QUESTION, SCORED

TOP = 20
_SHOWN = 40
"""Characters of an answer or a label that the table shows."""

Read = Callable[[], Iterator[Row]]
Spelling = Callable[[str], str]
Asked = Mapping[int, tuple[str, str]]
"""Identity of an item → its label as the bank writes it, and the key of a trial that asked it."""


def run_audit(
    results_dir: str, *, run: str | None, logs_dir: str, least: float = 0.5, export: str | None = None
) -> int:
    """Print the labels that are wrong with a probability of ``least`` or more; write all of them to ``export``."""
    if not 0 <= least <= 1:
        raise UsageError(f"--least: {least:g} is not a probability between 0 and 1")
    target = check_table_path("--export", export) if export else None
    store, read = _source(results_dir, run, Path(logs_dir))
    votes = _collect(read)
    found = list(votes.items())
    if not found:
        hint = f" ({votes.unlabelled} answers are to questions without a label)" if votes.unlabelled else ""
        raise UsageError(
            f"{store.path}: no scored answers to labelled questions here{hint}; run with --questions first"
        )
    try:
        audit = audit_labels(votes.models, [item for item, _, _ in found])
    except ValueError as problem:
        raise UsageError(f"{store.path}: {problem}; ask the same questions of another model") from problem
    asked = {id(item): (label, trial_key) for item, label, trial_key in found}
    suspects = audit.suspects(least)
    show(_suspect_table(audit, suspects, asked, votes.spelling, least, simulated=store.simulated), sys.stdout)
    show(_accuracy_table(audit, simulated=store.simulated), sys.stdout)
    if target is not None:
        _export(store, audit, suspects, asked, votes.spelling, target)
    return EXIT_SCORED


def _source(results_dir: str, run: str | None, logs_dir: Path) -> tuple[ResultsStore, Read]:
    if run is None:
        store = open_results(results_dir)
        return store, partial(store.rows, VOTE_FIELDS)
    rows = RunRows(find_run(run, logs_dir), logs_dir)
    return rows.store, partial(rows.read, VOTE_FIELDS)


def _collect(read: Read) -> Votes:
    """Read the rows twice: which runs asked the same bank must be known before answers are put together."""
    banks = Banks()
    for row in read():
        if row["prompt_type"] == QUESTION and row["status"] == SCORED:
            banks.add(row["run_id"], row["task_id"], (row["task_type"], row["target"]))
    votes = Votes(banks.assigned())
    del banks
    for row in read():
        votes.add(row)
    return votes


def _suspect_table(
    audit: LabelAudit, suspects: list[Verdict], asked: Asked, spelling: Spelling, least: float, *, simulated: bool
) -> Table:
    notes = [
        f"{len(suspects)} of {len(audit.items)} labels are wrong with P >= {least:g}"
        + (f"; the first {TOP} are shown, --export writes all" if len(suspects) > TOP else ""),
        f"expected among all: {audit.wrong_labels:.0f} wrong labels ({audit.wrong_labels / len(audit.items):.1%})",
        "P holds if models err independently; a mistake that they share looks like a wrong label, so read before"
        " relabelling",
    ]
    notes += [f"near copies of each other, counted as one vote: {', '.join(group)}" for group in audit.copies]
    fields = [Field(key=name, title=name) for name in ("id", "label", "likely answer")]
    return Table(
        title="Labels that are probably wrong",
        columns=(*fields, Field(key="wrong", title="P(wrong)", kind=NUMBER), Field(key="agree", title="who agrees")),
        rows=tuple(
            (
                one.item.item_id,
                _cut(asked[id(one.item)][0]),
                _cut(spelling(one.answer)),
                one.wrong,
                ", ".join(one.agree),
            )
            for one in suspects[:TOP]
        ),
        notes=tuple(notes),
        simulated=simulated,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _accuracy_table(audit: LabelAudit, *, simulated: bool) -> Table:
    return Table(
        title="Accuracy by the labels, and by what the answers probably are",
        columns=(
            Field(key="model", title="model"),
            Field(key="items", title="questions", kind=COUNT, rank=2),
            Field(key="before", title="before %", kind=SHARE),
            Field(key="before_interval", title="95 % interval", kind=SHARE, pair=True, rank=1),
            Field(key="after", title="after %", kind=SHARE),
            Field(key="after_interval", title="95 % interval", kind=SHARE, pair=True),
        ),
        rows=tuple(
            (one.model, one.items, one.before, one.before_interval, one.after, one.after_interval)
            for one in audit.accuracies()
        ),
        notes=("of several epochs the most frequent answer counts",),
        simulated=simulated,
    )


def _export(
    store: ResultsStore, audit: LabelAudit, suspects: list[Verdict], asked: Asked, spelling: Spelling, target: Path
) -> None:
    texts = _texts(store, {asked[id(one.item)][1] for one in suspects})
    answers = {f"answer_{model}": str for model in audit.models}
    columns = {"id": str, "label": str, "suggestion": str, "p_wrong": float, "p_suggestion": float, "agree": str}
    columns |= {"simulated": bool} | answers | ({"question": str} if texts else {})
    rows = (
        {
            "id": one.item.item_id,
            "label": asked[id(one.item)][0],
            "suggestion": spelling(one.answer),
            "p_wrong": one.wrong,
            "p_suggestion": one.probability,
            "agree": ", ".join(one.agree),
            "simulated": store.simulated,
            "question": texts.get(asked[id(one.item)][1]),
            **dict(zip(answers, (each and spelling(each) for each in one.item.answers), strict=True)),
        }
        for one in suspects
    )
    click.echo(f"{write_table(target, columns, rows)} labels to look at written to {target}")


def _texts(store: ResultsStore, trial_keys: set[str]) -> dict[str, str]:
    """Return what was asked in these trials: the last message of the user."""
    found: dict[str, str] = {}
    for part in part_paths(store.path / CONVERSATIONS, "parquet") if trial_keys else ():
        for row in read_part(part, ("trial_key", "conversation")):
            if row["trial_key"] in trial_keys and row["trial_key"] not in found:
                found[row["trial_key"]] = _last_said(orjson.loads(row["conversation"] or b"[]"))
    return found


def _last_said(conversation: list[dict[str, Any]]) -> str:
    said = (message.get("content") for message in reversed(conversation) if message.get("role") == "user")
    content = next(said, None) or ""
    return content if isinstance(content, str) else orjson.dumps(content).decode()
