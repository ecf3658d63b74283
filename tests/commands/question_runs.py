"""Runs over a made-up question bank, on disk: run directories, journals and the store they are for. Not a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stores.journal import JournalWriter
from stores.results import open_store
from stores.run_directory import RunDirectory, open_or_create
from trials.rows import FIELDS, Row
from trials.spec import QuestionSpec, RunSpec
from trials.words import Sampling


def question_row(task: str, model: str, answer: str | None, target: str, **changes: Any) -> Row:
    """A row as a scorer of plain texts leaves it."""
    right = answer == target
    row: Row = dict.fromkeys(FIELDS)
    row.update(
        trial_key=f"{model} {task} {changes.get('epoch', 0)} {changes.get('definition', 'd')}",
        status="scored",
        outcome="full" if right else "failure",
        model=model,
        origin="p",
        prompt_type="question",
        tool_success_rate=1.0,
        difficulty="",
        task_type="sums",
        task_id=task,
        epoch=0,
        severity="",
        tool_protocol="",
        temperature=0.0,
        max_tokens=2048,
        seed=42,
        variant="v",
        definition="d",
        error_category="" if right else "wrong_answer" if answer else "no_answer",
        answer=answer,
        target=target,
        score=float(right),
        requests=1,
        cache_hits=0,
        provider_ms=24.0,
        prompt_tokens=10,
        completion_tokens=2,
        ended_at=1.0,
    )
    row.update(changes)
    return row


class Banks:
    """Makes runs in one folder, each merged into a store of its own kind."""

    def __init__(self, root: Path) -> None:
        self.logs = root / "logs"
        self.root = root

    def store(self, *, simulated: bool = True) -> Path:
        return self.root / ("simulated" if simulated else "real")

    def run(self, models: Iterable[str], rows: Iterable[Row], *, merged: bool = True, **changes: Any) -> RunDirectory:
        models, simulated = tuple(models), changes.pop("simulated", True)
        fresh = changes.pop("fresh", False)
        spec = RunSpec(
            models=models,
            asks=QuestionSpec(bank=changes.pop("bank", "b1"), name="sums", questions=10, scorer="exact"),
            sampling={model: changes.pop("sampling", Sampling()) for model in models},
            definition=changes.pop("definition", "d"),
            simulated=simulated,
            origins=dict.fromkeys(models, "p"),
            **changes,
        )
        return self.run_of(spec, rows, merged=merged, fresh=fresh)

    def run_of(self, spec: RunSpec, rows: Iterable[Row], *, merged: bool = True, fresh: bool = False) -> RunDirectory:
        simulated = spec.simulated
        store_path = self.store(simulated=simulated)
        store = open_store(_made(store_path), simulated=simulated, form="parquet")
        run = open_or_create(_made(self.logs), spec, store_path, fresh=fresh)
        journal = JournalWriter(run.journal_path(1))
        for number, row in enumerate(rows):
            said = [{"role": "system", "content": "Answer."}, {"role": "user", "content": f"What is {row['task_id']}?"}]
            row = {**row, "simulated": simulated}
            journal.append({"kind": "begun", "number": number, "trial_key": row["trial_key"]})
            journal.append({"kind": "ended", "number": number, "row": row, "conversation": said, "detail": {}})
        journal.close()
        if merged:
            store.merge([run])
        return run


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
