"""A question bank as a workload: every question is asked once an epoch, and its reply is marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from questions.question import Question
from questions.stored import Bank
from questions.verdicts import BAD_TARGET, Scorer, Verdict
from trials.digest import digest
from trials.errors import BadTarget
from trials.per_cell import PerCell
from trials.plan import Group
from trials.spec import QuestionSpec, RunSpec
from trials.words import FAILURE, FULL, PARTIAL, QUESTION, Cell, Chat, Completion, Marked, Message, Opening, Trial

if TYPE_CHECKING:
    from questions.judging import Judge

VERSION = 1
"""Raise when anything changes that decides how a question is asked or marked and that no digest shows."""

_CUT_SHORT = {"length": "truncated", "content_filter": "refused"}
"""Why a reply ended too early → what a wrong answer in it is called."""
_STYLES = {
    "exact": "bare",
    "normalised": "bare",
    "json": "json",
    "math": "boxed",
    "numeric": "boxed",
    "choice": "letter",
}
"""Scorer → the form in which a simulated model answers."""


class Asked(NamedTuple):
    """A question, and the messages that ask it."""

    question: Question
    messages: list[Message]


class QuestionWorkload:
    """Implements ``trials.words.Workload``. Safe to share between threads.

    A judge, where there is one, marks instead of the scorer, whose verdict is kept beside it.
    """

    def __init__(self, bank: Bank, spec: RunSpec, scorer: Scorer, judge: Judge | None = None) -> None:
        assert isinstance(spec.asks, QuestionSpec)
        self.bank = bank
        self._asks = spec.asks
        self._scorer = scorer
        self._judge = judge
        self._rules = [VERSION, scorer.definition, *([_judging(judge, spec, spec.asks.judge)] if judge else [])]
        self._places = {cell: place for place, cell in enumerate(bank.cells)}
        self._whom = PerCell(
            lambda cell: digest([cell.model, cell.origin, asdict(cell.sampling), cell.seed, self._rules])
        )

    @cached_property
    def definition(self) -> str:
        """Digest of everything but the questions themselves that decides what is asked and how it is marked."""
        return digest([self._rules, self.bank.name], 8)

    def groups(self, spec: RunSpec) -> Iterator[Group]:
        """Yield one group per model."""
        counts = tuple(count * self._asks.epochs for count in self.bank.cells.values())
        for model in spec.models:
            cells = tuple(_cell(spec, model, *cell) for cell in self.bank.cells)
            yield Group(phase=0, model=model, cells=cells, counts=counts)

    def remarks(self, spec: RunSpec) -> list[str]:
        """Say what the bank is, and how its answers are marked."""
        judged = f", judged by {self._asks.judge}" if self._judge else ""
        epochs = f", {self._asks.epochs} epochs" if self._asks.epochs > 1 else ""
        return [*self.bank.remarks(), f"marked by the scorer {self._scorer.name!r}{judged}{epochs}"]

    def trial(self, group: Group, number: int) -> Trial:
        """Return a trial of a group: all questions in their order, then all of them again for the next epoch."""
        epoch, place = divmod(number - group.first, len(self.bank))
        cell = group.cells[self._places[self.bank.cell_of(place)]]
        key = digest([self.bank.key(place), self._whom(cell), epoch])
        return Trial(number=number, trial_key=key, cell=cell, task_id=self.bank.id_of(place), epoch=epoch)

    def inputs(self) -> dict[str, str]:
        """Return the digests of the bank's rows, and of all that is made of them: prompts and expected answers."""
        return {"questions": self.bank.input_digest, "prompts": self.bank.digest}

    def opening(self, trial: Trial) -> Asked:
        """Return a trial's question, and the messages that ask it."""
        # Every group holds the bank a whole number of times.
        question = self.bank.question(trial.number % len(self.bank))
        return Asked(question, self.bank.messages(question))

    def run(self, trial: Trial, chat: Chat, opening: Opening | None = None) -> Marked:
        """Ask one question, and mark the reply."""
        question, messages = opening if isinstance(opening, Asked) else self.opening(trial)
        completion = chat(messages, told={"question": self._known(question)})
        own = self._scorer.mark(completion.text, question.target or "", question.choices)
        if own.category == BAD_TARGET and not self._judge:
            raise BadTarget(f"the label {question.target!r} means nothing to the scorer {self._scorer.name!r}")
        verdict = self._judged(question, messages, completion, own, chat) if self._judge else own
        category = verdict.category and _CUT_SHORT.get(completion.finish_reason, verdict.category)
        return Marked(
            outcome=FULL if verdict.score >= 1 else PARTIAL if verdict.score > 0 else FAILURE,
            error_category=category,
            answer=verdict.answer,
            target=question.target,
            score=verdict.score,
            scorer_score=own.score if self._judge else None,
            turns=1,
            conversation=[*messages, {"role": "assistant", "content": completion.text}],
            detail={"scorer": self._scorer.name, "finish_reason": completion.finish_reason, **verdict.detail},
        )

    def close(self) -> None:
        """End the processes that marking has started."""
        self._scorer.close()

    def _judged(
        self, question: Question, messages: Sequence[Message], completion: Completion, own: Verdict, chat: Chat
    ) -> Verdict:
        """Return the judge's verdict, with the answer that the scorer took from the reply if it found one."""
        assert self._judge is not None

        def ask(asked: list[Message]) -> Completion:
            # A perfect judge goes by what is true, which a wrong label is not.
            right = self._scorer.mark(completion.text, question.truth or "", question.choices).score >= 1
            return chat(asked, judge=True, told={"judge": {"correct": right}, "model": self._asks.judge})

        said = question.text or str(messages[-1].get("content") or "")
        judged = self._judge.grade(said, question.target, completion.text, ask)
        return replace(judged, answer=own.answer or judged.answer, detail={**judged.detail, "judge": self._asks.judge})

    def _known(self, question: Question) -> Mapping[str, Any]:
        """Return what a simulated model needs to play its part."""
        style = _STYLES.get(self._scorer.name, "plain")
        return {"answer": question.truth or "", "choices": question.choices, "style": style}


def _judging(judge: Judge, spec: RunSpec, model: str) -> list[Any]:
    """Return all that decides what a judge says."""
    return [judge.definition, model, spec.origins[model], asdict(spec.sampling[model])]


def _cell(spec: RunSpec, model: str, subject: str, difficulty: str) -> Cell:
    return Cell(
        model=model,
        prompt_type=QUESTION,
        tool_success_rate=1.0,
        difficulty=difficulty,
        task_type=subject,
        tool_protocol="",
        sampling=spec.sampling[model],
        max_turns=1,
        seed=spec.seed,
        origin=spec.origins.get(model, ""),
    )
