"""A question bank in one thread, in parallel, and out of the cache: the founding document's table, in one command.

    python benchmarks/pipeline.py                          some two minutes
    python benchmarks/pipeline.py --questions 150000       the size of the real thing

The provider is the simulator, at a mean latency of 24 ms (with which one thread reaches some 42 questions a second) and
with 12 % failing requests. Every line is a whole command as a user gives it, results scored, stored and counted.
``QPS`` is rows over the time from the first one's beginning to the last one's end; ``whole`` is over the command's
whole time, its start and the merge included. Latencies of calls are those of the provider as the client saw them, of
hits from taking the question up to its row. A cached line is a second run of the same questions, into another store.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from throughput import run

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(1, str(ROOT / "tests" / "stores"))  # where Redis is started for the tests, too
SIMULATED = ("--latency", "0.024", "--fault", "500=0.12")
MODEL = "DeepSeek-V3-0324"
"""It has three deployments, hence as many shards as are asked for."""
ALONE = ("--shards", "1", "--max-workers", "1")
TITLES = ("configuration", "questions", "QPS", "whole", "failures", "calls P50 / P99 ms", "hits P50 / P99 ms")
HEAD = f"| {' | '.join(TITLES)} |\n{'|---' * len(TITLES)}|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A configuration: how many questions, and which further options."""

    name: str
    questions: int
    options: tuple[str, ...]


def write_bank(path: Path, questions: int) -> None:
    """Write a bank of so many different sums."""
    numbers = range(questions)
    columns = {
        "id": [f"sum-{n}" for n in numbers],
        "question": [f"What is {n} + {n % 97}?" for n in numbers],
        "answer": [str(n + n % 97) for n in numbers],
    }
    pq.write_table(pa.table(columns), path)


def measure(line: Line, bank: Path, url: str, folder: Path) -> str:
    """Run one configuration; return its line of the table."""
    command = [sys.executable, str(ROOT / "ultra_parallel_runner.py"), "--simulator-url", url, "--model", MODEL]
    command += ["--questions", str(bank), "--limit", str(line.questions), "--scorer", "exact", "--qps", "20000"]
    place = folder / line.name.replace(" ", "-").replace(",", "")
    place.mkdir()
    spent = run([*command, *line.options], place, may_fail=True)
    rows = pq.read_table(place / "results" / "simulated" / "trials")
    began, ended = pc.min(rows["started_at"]).as_py(), pc.max(rows["ended_at"]).as_py()
    failures = 1 - pc.sum(pc.equal(rows["status"], "scored")).as_py() / line.questions
    calls = rows.filter(pc.and_(pc.equal(rows["cache_hits"], 0), pc.equal(rows["status"], "scored")))
    hits = rows.filter(pc.greater(rows["cache_hits"], 0))
    figures = [
        f"{line.questions:,}",
        f"{rows.num_rows / (ended - began):,.0f}",
        f"{line.questions / spent.seconds:,.0f}",
    ]
    figures += [f"{failures:.2%}", _percentiles(calls, "provider_ms"), _percentiles(hits, "duration_ms")]
    return f"| {' | '.join([line.name, *figures])} |"


def _percentiles(rows: pa.Table, name: str) -> str:
    if not rows.num_rows:
        return "-"
    low, high = pc.quantile(rows[name], [0.5, 0.99]).to_pylist()
    return f"{low:.3g} / {high:.3g}"


@contextmanager
def provider() -> Iterator[str]:
    """Run the simulator; give its address."""
    command = [sys.executable, "-m", "simulator", "--port", "0", "--until-stdin-closes", *SIMULATED]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield server.stdout.readline().decode().strip().rpartition(" ")[2]
        assert server.stdin is not None
        server.stdin.close()


@contextmanager
def caches(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """Give the caches that can be measured here, by name and address; a cluster has six shards."""
    found = [("SQLite", f"sqlite:{folder / 'cache.db'}")]
    with ExitStack() as stack:
        if shutil.which("redis-server"):
            from redis_servers import running_cluster, running_server

            found.append(("Redis", f"redis://127.0.0.1:{stack.enter_context(running_server()).port}"))
            found.append(("Redis Cluster", stack.enter_context(running_cluster(6)).url))
        yield found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", type=int, default=40_000, help="of the parallel and cached runs")
    parser.add_argument("--shards", type=int, default=2, help="of the cached runs; the parallel one has one")
    parser.add_argument(
        "--workers",
        type=int,
        default=300,
        help="threads of a shard; one that backs off after a failure holds no request",
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, provider() as url, caches(Path(name)) as stores:
        folder = Path(name)
        bank = folder / "questions.parquet"
        write_bank(bank, given.questions)
        threads = ("--max-workers", str(given.workers))
        shards = (*threads, "--shards", str(given.shards), "--stagger", "0")
        lines = [
            Line(name="single thread", questions=400, options=(*ALONE, "--max-attempts", "1")),
            Line(name="parallel", questions=given.questions, options=(*threads, "--shards", "1")),
        ]
        for kind, place in stores:
            cached = (*shards, "--cache", place)
            lines.append(Line(name=f"parallel, fills {kind}", questions=given.questions, options=cached))
            lines.append(Line(name=f"cached, {kind}", questions=given.questions, options=cached))
        print(f"{os.cpu_count()} cores, shared with the provider\n\n{HEAD}", flush=True)
        for line in lines:
            print(measure(line, bank, url, folder), flush=True)


if __name__ == "__main__":
    main()
