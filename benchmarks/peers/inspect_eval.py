"""Inspect: one task with as many samples, a generate step and a scorer, its log with all samples as it writes it."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import os
from pathlib import Path

from asked import KEY, MAX_TOKENS, MODEL, Job, main, prompt
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


def run(job: Job) -> None:
    """Ask everything."""
    os.environ.update(LOCAL_API_KEY=KEY, LOCAL_BASE_URL=job.base_url)
    samples = [Sample(id=number, input=prompt(number), target="order") for number in range(job.n)]
    eval(
        Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes()),
        model=f"openai-api/local/{MODEL}",
        display="none",
        log_dir=str(job.folder),
        max_samples=job.concurrency,
        max_connections=job.concurrency,
        temperature=0.0,
        max_tokens=MAX_TOKENS,
    )


def count(folder: Path) -> int:
    """Return how many scored samples its log holds."""
    logs = [read_eval_log(path) for path in folder.glob("*.eval")]
    return sum(bool(sample.scores) for log in logs for sample in log.samples or [])


if __name__ == "__main__":
    main(run, count)
