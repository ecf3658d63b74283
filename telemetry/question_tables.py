"""The results of a question bank as a table: a row per model and, where they are few, per subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from telemetry.exports import COUNT, SHARE, Field, Table, Value, show
from telemetry.wording import percent
from trials.question_figures import QuestionFigures

MOST_SUBJECTS = 12
ALL = "all"

_Column = tuple[Field, Callable[[QuestionFigures], Value]]


def render_questions(
    figures: Sequence[QuestionFigures],
    file: TextIO,
    *,
    simulated: bool,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Write the table of a bank's results; where the file is a terminal, as much of it as fits."""
    show(question_table(figures, simulated=simulated), file, environ)


def question_table(figures: Sequence[QuestionFigures], *, simulated: bool, title: str = "Questions") -> Table:
    """Return a row per model: of each subject, if there are 2 to 12 of them, and of all together."""
    whole = [one for one in figures if not one.subject]
    subjects = len({one.subject for one in figures} - {""})
    by_subject = 2 <= subjects <= MOST_SUBJECTS
    columns = _columns(whole, by_subject)
    notes = [_account(whole), *_remarks(whole), *map(_passes, whole)]
    if subjects > MOST_SUBJECTS:
        notes.append(f"{subjects} subjects, which are too many for this table")
    return Table(
        title=title,
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(value(one) for _, value in columns) for one in (figures if by_subject else whole)),
        notes=tuple(note for note in notes if note),
        simulated=simulated,
    )


def _columns(whole: Sequence[QuestionFigures], by_subject: bool) -> list[_Column]:
    columns: list[_Column] = [(Field(key="model", title="model"), lambda one: one.model)]
    if by_subject:
        columns.append((Field(key="subject", title="subject"), lambda one: one.subject or ALL))
    columns += [
        (Field(key="planned", title="planned", kind=COUNT, rank=5), lambda one: one.planned),
        (Field(key="scored", title="scored", kind=COUNT), lambda one: one.scored),
        (Field(key="provider_errors", title="prov.err", kind=COUNT, rank=2), lambda one: one.provider_errors),
        (Field(key="coverage", title="coverage %", kind=SHARE, rank=4), lambda one: one.coverage),
        (Field(key="accuracy", title="accuracy %", kind=SHARE), lambda one: one.accuracy),
        (Field(key="interval", title="95 % interval", kind=SHARE, pair=True), _interval),
    ]
    if any(one.score != one.right for one in whole):
        columns.append((Field(key="mean_score", title="score %", kind=SHARE, rank=3), lambda one: one.mean_score))
    if most := _most_epochs(whole):
        columns += [
            (Field(key=f"pass_at_{most}", title=f"pass@{most} %", kind=SHARE, rank=1), lambda one: _pass(one, most)),
            (
                Field(key="majority", title="majority %", kind=SHARE, rank=1),
                _majority,
            ),
        ]
    return [
        *columns,
        (Field(key="no_answer", title="no answer %", kind=SHARE, rank=5), lambda one: one.no_answer_share),
        (Field(key="cache_hits", title="hits", kind=COUNT, rank=4), lambda one: one.cache_hits),
        (Field(key="p50_ms", title="P50 ms", kind=COUNT, rank=3), lambda one: _whole(one.p50_ms)),
        (Field(key="p99_ms", title="P99 ms", kind=COUNT, rank=3), lambda one: _whole(one.p99_ms)),
        (Field(key="prompt_tokens", title="tokens in", kind=COUNT, rank=6), lambda one: one.prompt_tokens),
        (Field(key="completion_tokens", title="tokens out", kind=COUNT, rank=6), lambda one: one.completion_tokens),
    ]


def _interval(one: QuestionFigures) -> Value:
    return (one.interval.low, one.interval.high) if one.scored else None


def _whole(ms: float | None) -> int | None:
    return None if ms is None else round(ms)


def _most_epochs(whole: Sequence[QuestionFigures]) -> int:
    """Return the most epochs of a question, or 0 where no question was asked twice."""
    most = max((one.epochs.epochs for one in whole if one.epochs), default=0)
    return most if most > 1 else 0


def _pass(one: QuestionFigures, k: int) -> float | None:
    return one.epochs.pass_at.get(k) if one.epochs else None


def _majority(one: QuestionFigures) -> float | None:
    return one.epochs.majority if one.epochs else None


def _account(whole: Sequence[QuestionFigures]) -> str:
    def total(count: Callable[[QuestionFigures], int]) -> int:
        return sum(map(count, whole))

    return (
        f"{total(lambda one: one.planned)} planned = {total(lambda one: one.scored)} scored"
        f" + {total(lambda one: one.provider_errors)} provider_error"
        f" + {total(lambda one: one.harness_errors)} harness_error + {total(lambda one: one.pending)} pending"
    )


def _remarks(whole: Sequence[QuestionFigures]) -> list[str]:
    """Say what is in no figure, or in one where a reader may not expect it."""
    hits, unmarked, left_out = (
        (sum(counts) for counts in zip(*((one.cache_hits, one.unmarked, one.left_out) for one in whole), strict=True))
        if whole
        else (0, 0, 0)
    )
    notes = ["latencies are of calls alone; hits are answers out of the cache"] if hits else []
    if unmarked:
        notes.append(f"{unmarked} replies count as wrong because comparing them came to no end")
    if left_out:
        notes.append(f"left out: {left_out} older rows that were asked with other settings")
    return notes


def _passes(one: QuestionFigures) -> str:
    epochs = one.epochs
    if epochs is None or epochs.epochs < 2:
        return ""
    passes = ", ".join(f"pass@{k} {percent(share)}" for k, share in epochs.pass_at.items())
    fewer = epochs.questions - epochs.behind[epochs.epochs]
    missing = (
        f"; {fewer} of {epochs.questions} questions lack an epoch and count up to the k they have" if fewer else ""
    )
    return f"{one.model}: {passes}; two epochs agree {percent(epochs.consistency)}{missing}"
