"""Runs on disk with journals of made-up rows."""

from __future__ import annotations

from pathlib import Path

from sample_specs import spec_of

from stores.journal import JournalWriter
from stores.run_directory import RunDirectory, open_or_create
from trials.rows import FIELDS

SPEC = spec_of(num_instances=3, simulated=True)


def row(key: str, *, status: str = "scored", ended_at: float = 1.0, outcome: str = "full") -> dict:
    """A result row as a shard's journal holds it."""
    made = dict.fromkeys(FIELDS)
    made.update(
        trial_key=key,
        status=status,
        outcome=outcome if status == "scored" else None,
        model="m",
        prompt_type="optimal",
        tool_success_rate=0.8,
        difficulty="easy",
        task_type="simple_task",
        task_id=f"task {key}",
        epoch=0,
        variant="v",
        simulated=True,
        ended_at=ended_at,
        error_message="größer als 0, 错误\n",
        recovery=None,
        followed_flaw=None,
        recovered=True,
    )
    return made


class Work:
    """Makes runs and appends rows to their journals."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.results = root / "results"

    def run(self, **changes) -> RunDirectory:
        fresh = changes.pop("fresh", False)
        spec = spec_of(**{"num_instances": 3, "simulated": True, **changes})
        return open_or_create(self.root / "logs", spec, self.results, fresh=fresh)

    def end(self, run: RunDirectory, shard: int, *rows: dict) -> None:
        journal = JournalWriter(run.journal_path(shard))
        for number, one in enumerate(rows):
            journal.append({"kind": "begun", "number": number, "trial_key": one["trial_key"]})
            said = [{"role": "user", "content": f"about {one['trial_key']}"}]
            journal.append({"kind": "ended", "number": number, "row": one, "conversation": said, "detail": {"n": 1}})
        journal.close()
