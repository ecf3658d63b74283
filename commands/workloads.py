"""Which workload a run's trials come from, opened the same way by the supervisor, by every shard, and by reports."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from trials.errors import UsageError
from trials.spec import QuestionSpec, RunSpec
from trials.words import Workload
from workflows.libraries import MOST_BYTES, Document, library_from
from workflows.tasks import TaskLibrary


def open_workload(spec: RunSpec, banks_dir: Path) -> Workload:
    """Return the workload of a spec. Raises UsageError if a file it names cannot be used."""
    if isinstance(spec.asks, QuestionSpec):
        return _questions(spec, spec.asks, banks_dir)
    from workflows.workload import WorkflowWorkload

    asks = spec.asks
    library = open_library(asks.task_library, asks.tool_registry, skip_invalid=asks.skip_invalid)
    return WorkflowWorkload(library, control_for=asks.drawn_for)


def _questions(spec: RunSpec, asks: QuestionSpec, banks_dir: Path) -> Workload:
    from questions.bank import open_bank
    from questions.scorers import open_scorer
    from questions.workload import QuestionWorkload

    bank = open_bank(banks_dir / f"{asks.bank}.arrow")
    scorer = open_scorer(asks.scorer, asks.scorer_options)
    if not asks.judge:
        return QuestionWorkload(bank, spec, scorer)
    from questions.judging import Judge

    return QuestionWorkload(bank, spec, scorer, Judge())


@lru_cache(maxsize=8)
def open_library(task_library: str, tool_registry: str, *, skip_invalid: bool) -> TaskLibrary:
    """Return the tasks of a run; empty paths stand for what is built in. Raises UsageError."""
    tasks = _read("--task-library", task_library)
    return library_from(tasks, _read("--tool-registry", tool_registry), skip_invalid=skip_invalid)


def _read(flag: str, path: str) -> Document | None:
    if not path:
        return None
    try:
        size_bytes = Path(path).stat().st_size
        if size_bytes > MOST_BYTES:
            raise UsageError(f"{flag}: {path} has {size_bytes:,} bytes, more than the {MOST_BYTES:,} that are read")
        return Document(content=Path(path).read_bytes(), source=path)
    except OSError as problem:
        raise UsageError(f"{flag}: cannot read {path}: {problem.strerror}") from problem
