"""How much memory a run needs, by its size and by its workers: ``python benchmarks/memory.py``; some minutes.

    python benchmarks/memory.py --sizes 50000,1000000     what it must not grow with: the number of trials
    python benchmarks/memory.py --sizes '' --workers 600  only one shard with 600 workers at work

The real programs run single-turn trials against a local server, which is in no figure. What supervisor and shard have
in memory is looked at ten times a second: over the first, the second, the third and the last quarter of the run, and
the most there ever was. The last quarter holds the merge, which the supervisor does when the shard has gone. Counted is
a process's own memory; what is resident besides are files (libraries, and the question bank, which every shard maps and
the kernel takes back when it needs room), and stands in a column of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from local_server import Stats, serving
from throughput import KEY_VARIABLE, Memory, Spent, our_arguments, run

QUARTERS = 4
TRIALS_A_WORKER = 4
SECONDS_A_TRIAL = 8.0
"""So slow that every worker has a trial at the same time, whatever one shard can do in a second."""


def measure(trials: int, workers: int, latency_ms: float, parent: Path | None) -> tuple[Spent, Stats]:
    """Run so many trials on one shard; return what that took, and what the server saw of it."""
    with tempfile.TemporaryDirectory(dir=parent) as name, serving(latency_ms) as server:
        spent = run(our_arguments(server, trials, workers, Path(name)), Path(name), {KEY_VARIABLE: "none"})
        return spent, server.stats()


def quarters(sizes: Sequence[int]) -> list[float]:
    """Return the most in each quarter of the looks, in MB."""
    cuts = [len(sizes) * place // QUARTERS for place in range(QUARTERS + 1)]
    return [max(sizes[start:stop], default=0) / 1e6 for start, stop in pairwise(cuts)]


def by_process(spent: Spent) -> dict[str, list[Memory]]:
    """Return the sizes of the supervisor and of all its shards, look by look."""
    looks = [list(look.values()) for look in spent.looks if look]
    added = [Memory(*map(sum, zip((0, 0), *look[1:], strict=True))) for look in looks]
    return {"supervisor": [look[0] for look in looks], "shard": added}


def compare_sizes(sizes: Sequence[int], workers: int, latency_ms: float, parent: Path | None) -> None:
    """Print a table of runs that differ in how many trials they have."""
    print(f"{workers} workers, {latency_ms:g} ms\n")
    print(
        "| trials | process | 1st quarter MB | 2nd | 3rd | 4th | most MB | with files | seconds |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for trials in sizes:
        spent, stats = measure(trials, workers, latency_ms, parent)
        assert stats.replies == trials, f"{stats.replies:,} replies for {trials:,} trials"
        for name, seen in by_process(spent).items():
            own, resident = [memory.own for memory in seen], max(memory.resident for memory in seen)
            parts = " | ".join(f"{mb:.0f}" for mb in [*quarters(own), max(own) / 1e6, resident / 1e6])
            print(f"| {trials:,} | {name} | {parts} | {spent.seconds:.0f} |", flush=True)
    print()


def compare_workers(counts: Sequence[int], parent: Path | None) -> None:
    """Print a table of shards that differ in how many workers they have."""
    print("| workers | at work at once | shard, most MB | kB a worker more | with files |\n|---|---|---|---|---|")
    before: tuple[int, int] | None = None
    for workers in counts:
        trials = workers * TRIALS_A_WORKER
        spent, stats = measure(trials, workers, SECONDS_A_TRIAL * 1000, parent)
        looks = by_process(spent)["shard"]
        most, resident = max(memory.own for memory in looks), max(memory.resident for memory in looks)
        more = f"{(most - before[1]) / (workers - before[0]) / 1e3:.0f}" if before else ""
        before = before or (workers, most)
        told = [f"{workers:,}", f"{stats.most_in_flight:,}", f"{most / 1e6:.0f}", more, f"{resident / 1e6:.0f}"]
        print(f"| {' | '.join(told)} |", flush=True)


def main() -> None:
    """Parse the command line."""

    def numbers(text: str) -> list[int]:
        return [int(one) for one in text.split(",") if one]

    parser = argparse.ArgumentParser(description="Memory of supervisor and shard, by trials and by workers.")
    parser.add_argument("--sizes", type=numbers, default=[10_000, 100_000], metavar="N,N", help="trials of a run")
    parser.add_argument("--workers", type=numbers, default=[1, 600, 2100], metavar="N,N", help="workers of one shard")
    parser.add_argument("--in-flight", type=int, default=100, help="workers of the runs that differ in size")
    parser.add_argument("--latency-ms", type=float, default=20.0, help="of the server, for them")
    parser.add_argument("--folder", type=Path, help="where there is room  [default: the system's temp directory]")
    options = parser.parse_args()
    if options.sizes:
        compare_sizes(options.sizes, options.in_flight, options.latency_ms, options.folder)
    if options.workers:
        compare_workers(options.workers, options.folder)


if __name__ == "__main__":
    main()
