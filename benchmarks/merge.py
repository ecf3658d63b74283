"""How fast results become durable, and how fast they are merged: ``python benchmarks/merge.py``; some minutes.

    python benchmarks/merge.py --results 50000 --folder /big/disk

Journals are written by the journal's own writer, each result as a shard writes it: ``begun``, ``completion`` and
``ended`` with its row and conversation, of real trials of the tool-use benchmark that end after one reply. A thread
syncs every 50 ms, as a shard's main thread does. Making the events is not on the clock, encoding and writing them is.
Then a process of its own merges them into an empty store, and once more with nothing new. The journals of 1,000,000
results take about 5 GB below ``--folder``, which are removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from local_server import TEXT

from batch_test_runner import Asked, TrialRunner, Work
from processes.garbage import collect_seldom
from stores.journal import JournalWriter
from stores.results import open_store
from stores.run_directory import RunDirectory, open_or_create, open_run, runs_in
from trials.plan import TrialPlan
from trials.spec import RunSpec, WorkflowSpec
from trials.words import Completion, Message, Sampling, Trial
from workflows.tasks import TASK_TYPES
from workflows.workload import WorkflowWorkload

SYNC_EVERY_S = 0.05
AT_ONCE = 1000
CELLS = 2 * len(TASK_TYPES)
Event = dict[str, Any]


def make_run(folder: Path, results: int) -> RunDirectory:
    """Make a run of at least so many trials."""
    spec = RunSpec(
        models=("local",),
        asks=WorkflowSpec(
            prompt_types=("baseline", "optimal"),
            difficulties=("easy",),
            task_types=TASK_TYPES,
            tool_success_rates=(0.8,),
            num_instances=-(-results // CELLS),
        ),
        sampling={"local": Sampling()},
        definition=WorkflowWorkload().definition,
    )
    return open_or_create(folder / "logs", spec, folder / "results", fresh=False)


def events(run: RunDirectory, numbers: Sequence[int]) -> Iterator[Event]:
    """Yield what a shard tells its journal while it runs these trials: three events each."""
    workload = WorkflowWorkload()
    plan = TrialPlan(run.spec, workload)
    told: list[Event] = []

    def ask(trial: Trial, messages: Sequence[Message], tools: Any, **more: Any) -> Completion:
        return Completion(text=TEXT, reported_model="local", prompt_tokens=250, completion_tokens=16, provider_ms=200.0)

    asked = Asked(provider="local", deployment="local", simulated=False)
    runner = TrialRunner(workload, ask, told.append, asked)
    for number in numbers:
        runner.run(Work(trial=plan.trial(number)))
        yield from told
        told.clear()


def append(path: Path, run: RunDirectory, numbers: Sequence[int]) -> float:
    """Write one journal; return the seconds that appending and the last sync took."""
    journal, over = JournalWriter(path), threading.Event()

    def keep_syncing() -> None:
        while not over.wait(SYNC_EVERY_S):
            journal.sync()

    thread = threading.Thread(target=keep_syncing)
    thread.start()
    coming, seconds = events(run, numbers), 0.0
    while batch := list(islice(coming, AT_ONCE)):
        began = time.monotonic()
        for event in batch:
            journal.append(event, soon=event["kind"] != "begun")
        seconds += time.monotonic() - began
    over.set()
    thread.join()
    began = time.monotonic()
    journal.close()
    return seconds + time.monotonic() - began


def step_append(folder: Path, results: int, shards: int) -> dict[str, float]:
    """Write the journals of all shards, one after another."""
    run = make_run(folder, results)
    paths = [run.journal_path(shard) for shard in range(1, shards + 1)]
    seconds = sum(append(path, run, range(results)[place::shards]) for place, path in enumerate(paths))
    return {"seconds": seconds, "results": results, "mb": sum(path.stat().st_size for path in paths) / 1e6}


def step_merge(folder: Path, results: int, shards: int) -> dict[str, float]:
    """Merge what is there."""
    run = open_run(next(runs_in(folder / "logs")).path)
    began = time.monotonic()
    added = open_store(folder / "results", simulated=False, form="parquet").merge([run])
    return {"seconds": time.monotonic() - began, "results": added}


STEPS = {"append": step_append, "merge": step_merge}


def in_own_process(step: str, folder: Path, results: int, shards: int) -> dict[str, float]:
    """Run a step and return what it measured, its peak memory too."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    command += ["--results", str(results), "--shards", str(shards)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(parent: Path | None, results: int, shards: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        written = in_own_process("append", folder, results, shards)
        os.sync()  # journals that grew over hours have been on disk for long when they are merged
        merged = in_own_process("merge", folder, results, shards)
        again = in_own_process("merge", folder, results, shards)
    assert (merged["results"], again["results"]) == (results, 0), "a merge takes in each result once"
    print(f"{results:,} results in {shards} journals, {written['mb']:,.0f} MB\n")
    print("| step | seconds | results/s | peak RSS MB |\n|---|---|---|---|")
    for what, found in (("journal append", written), ("merge", merged), ("merge, nothing new", again)):
        per_s = results / found["seconds"]
        print(f"| {what} | {found['seconds']:.1f} | {per_s:,.0f} | {found['rss_mb']:,.0f} |")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Journal appends and merges, in results per second.")
    parser.add_argument("--results", type=int, default=1_000_000, help="how many")
    parser.add_argument("--shards", type=int, default=4, help="over so many journals")
    parser.add_argument("--folder", type=Path, help="where there is room  [default: the system's temp directory]")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is None:
        measure(options.folder, options.results, options.shards)
        return
    collect_seldom()  # as the programs do
    found = STEPS[options.step](options.folder, options.results, options.shards)
    unit = 1 if sys.platform == "darwin" else 1024
    found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    print(json.dumps(found))


if __name__ == "__main__":
    main()
