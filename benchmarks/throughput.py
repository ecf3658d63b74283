"""Samples per second, CPU and memory of this runner and of others, against one local server: one command.

    python benchmarks/throughput.py                                  everything, 600 in flight, 200 ms: some minutes
    python benchmarks/throughput.py --only curl --in-flight 200      those whose name holds a text, beside ours
    python benchmarks/throughput.py --venvs ~/.cache/peers           keep the peers' virtualenvs there

Every program is run as a user would run it: a process of its own, results stored in its own form, counted afterwards.
Each runs twice, with few samples and with many; what the many cost more, per sample, is its figure, so that nobody is
charged for starting. CPU is user and system time of the program and all its children (wait4(2)); memory is the biggest
sum of resident sizes seen, ten looks a second. The server's CPU is in no figure, but it shares the machine.

Peers are installed on demand from the package index, each into a virtualenv of its own; see benchmarks/peers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from local_server import Running, serving
from peers.asked import prompt

ROOT = Path(__file__).resolve().parent.parent
PEERS_DIR = Path(__file__).resolve().parent / "peers"
KEY_VARIABLE = "LOCAL_SERVER_KEY"
OUR_COMMAND = (str(ROOT / "ultra_parallel_runner.py"), "--model", "local", "--qps", "20000", "--scorer", "includes")
"""A question bank of the peers' prompts. The rate control is on, and above what the machine can do."""
LOOK_EVERY_S = 0.1


class Memory(NamedTuple):
    """Resident bytes of a process; its ``own`` are those that are no file's, which others can have back at any time."""

    resident: int
    own: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one run of a program took.

    ``rss_bytes`` is the biggest sum over it and its descendants; ``looks`` says of each look which had how much by
    process id, the program itself first.
    """

    seconds: float
    cpu_s: float
    rss_bytes: int
    looks: Sequence[Mapping[int, Memory]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program to compare with. The first package is the one whose version is told."""

    name: str
    script: str
    packages: tuple[str, ...]


PEERS = (
    Peer(name="pycurl in threads", script="pycurl_threads", packages=("pycurl",)),
    Peer(name="aiohttp loop", script="aiohttp_loop", packages=("aiohttp",)),
    Peer(name="aiohttp loop, uvloop", script="aiohttp_loop", packages=("aiohttp", "uvloop")),
    Peer(name="cookbook-style aiohttp", script="cookbook", packages=("aiohttp",)),
    Peer(name="OpenAI SDK in threads", script="openai_threads", packages=("openai",)),
    Peer(name="lm-eval", script="lm_eval_api", packages=("lm_eval[api]",)),
    Peer(name="Curator", script="curator_llm", packages=("bespokelabs-curator",)),
    Peer(name="LiteLLM Router", script="litellm_router", packages=("litellm",)),
    Peer(name="Inspect", script="inspect_eval", packages=("inspect_ai", "openai")),
)


class CannotRun(Exception):
    """A program could not be installed, failed, or did not store what it should; the text is one line."""


Once = Callable[[Running, int, Path], Spent]
"""Ask so many samples of a server, store them below a folder, check that they are there."""


def run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, *, may_fail: bool = False
) -> Spent:
    """Run a program to its end in a folder and measure it. Raises CannotRun with its last words if it fails.

    ``may_fail`` lets it end with exit code 1, as a run does of which some trials have no score.
    """
    with (folder / "output.log").open("w+b") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **(environment or {})}, stdout=output, stderr=subprocess.STDOUT
        )
        with watched(process.pid) as looks:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if process.returncode and not (may_fail and process.returncode == 1):
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
            raise CannotRun(f"exit code {process.returncode}: {''.join(last)[:200]}")
    most = max((sum(memory.resident for memory in look.values()) for look in looks), default=0)
    return Spent(seconds=seconds, cpu_s=usage.ru_utime + usage.ru_stime, rss_bytes=most, looks=looks)


@contextmanager
def watched(pid: int) -> Iterator[list[dict[int, Memory]]]:
    """Note how much memory a process and its descendants have resident, again and again, while the block runs."""
    looks: list[dict[int, Memory]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            looks.append(tree_memory(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()


def tree_memory(pid: int) -> dict[int, Memory]:
    """Return what a process and each of its descendants have in memory, by process id."""
    found: dict[int, Memory] = {}
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            told = process.memory_info()
            found[process.pid] = Memory(told.rss, told.rss - getattr(told, "shared", 0))
    except psutil.NoSuchProcess:
        pass
    return found


def our_arguments(server: Running, samples: int, in_flight: int, folder: Path) -> list[str]:
    """Return the command of this runner for so many samples: as its users call it, against an endpoint of their own.

    The bank is written here; reading it is part of the run.
    """
    bank = folder / "questions.jsonl"
    write_bank(bank, samples)
    what = ["--base-url", server.base_url, "--api-key-env", KEY_VARIABLE, "--max-workers", str(in_flight)]
    what += ["--questions", str(bank)]
    where = ["--results-dir", str(folder / "results"), "--logs-dir", str(folder / "logs")]
    return [sys.executable, *OUR_COMMAND, *what, *where]


def write_bank(path: Path, samples: int) -> None:
    """Write what the peers are asked as a bank of questions, with answers to mark against."""
    with path.open("w") as file:
        for number in range(samples):
            file.write(json.dumps({"id": f"sample-{number}", "question": prompt(number), "answer": "work"}) + "\n")


def ours(in_flight: int) -> Once:
    """Return how this runner is run once."""
    from pyarrow import dataset

    def once(server: Running, samples: int, folder: Path) -> Spent:
        spent = run(our_arguments(server, samples, in_flight, folder), folder, {KEY_VARIABLE: "none"})
        rows = dataset.dataset(folder / "results" / "trials", format="parquet")
        check(rows.count_rows(filter=dataset.field("status") == "scored"), samples)
        return spent

    return once


def theirs(peer: Peer, python: str, in_flight: int) -> Once:
    """Return how a peer is run once."""
    program = [python, str(PEERS_DIR / f"{peer.script}.py")]

    def once(server: Running, samples: int, folder: Path) -> Spent:
        data = folder / "data"
        spent = run([*program, "run", server.base_url, str(samples), str(in_flight), str(data)], folder)
        counted = subprocess.run([*program, "count", str(data)], capture_output=True, text=True, check=False)
        words = counted.stdout.split()
        check(int(words[-1]) if words else 0, samples)
        return spent

    return once


def check(stored: int, samples: int) -> None:
    """Raise CannotRun unless as many results were stored as samples were asked."""
    if stored != samples:
        raise CannotRun(f"stored {stored:,} of {samples:,} results")


def installed(peer: Peer, venvs: Path) -> tuple[str, str]:
    """Return a peer's interpreter and its version; make its virtualenv if it is not there. Raises CannotRun."""
    place = venvs / re.sub(r"\W+", "-", " ".join(peer.packages)).strip("-")
    python, done = str(place / "bin" / "python"), place / "installed"
    if not done.exists():
        print(f"installing {' '.join(peer.packages)} …", file=sys.stderr, flush=True)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(place)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.packages],
        ):
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                raise CannotRun(f"cannot be installed: {made.stderr.strip().splitlines()[-1][:200]}")
        done.touch()
    package = peer.packages[0].partition("[")[0]
    asking = f"from importlib.metadata import version; print(version({package!r}))"
    return python, subprocess.run([python, "-c", asking], capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one sample more costs, and the most memory of a run."""

    samples_per_s: float
    cpu_us: float
    rss_mb: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How everybody is measured: ``few`` and at most ``samples`` samples, the latter for about ``seconds``."""

    few: int
    samples: int
    seconds: float
    repeats: int
    latency_ms: float

    def figures(self, once: Once) -> Figures:
        """Measure one program: the median of the repeats at either size, and the slope between them."""
        few, asking_s = self._median(once, self.few)
        in_time = int(self.few * self.seconds / asking_s)
        samples = max(3 * self.few, min(self.samples, in_time))
        many, _ = self._median(once, samples)
        more = samples - self.few
        return Figures(
            samples_per_s=more / max(many.seconds - few.seconds, 1e-9),
            cpu_us=(many.cpu_s - few.cpu_s) / more * 1e6,
            rss_mb=many.rss_bytes / 1e6,
            samples=samples,
        )

    def _median(self, once: Once, samples: int) -> tuple[Spent, float]:
        runs = [self._once(once, samples) for _ in range(self.repeats)]
        spent = Spent(
            seconds=median(spent.seconds for spent, _ in runs),
            cpu_s=median(spent.cpu_s for spent, _ in runs),
            rss_bytes=int(median(spent.rss_bytes for spent, _ in runs)),
        )
        return spent, median(asking_s for _, asking_s in runs)

    def _once(self, once: Once, samples: int) -> tuple[Spent, float]:
        """Return what a run took, and the seconds from its first request to the last reply."""
        with tempfile.TemporaryDirectory() as folder, serving(self.latency_ms) as server:
            spent = once(server, samples, Path(folder))
            stats = server.stats()
            return spent, stats.last_at - stats.first_at


HEAD = (
    "| program | version | samples/s | ÷ ours | CPU µs a sample | ÷ ours | peak RSS MB | ÷ ours | samples |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def row(name: str, version: str, figures: Figures, mine: Figures) -> str:
    """Return a program's row of the table."""
    parts = [f"| {name} | {version}"]
    for value, ours_value in (
        (figures.samples_per_s, mine.samples_per_s),
        (figures.cpu_us, mine.cpu_us),
        (figures.rss_mb, mine.rss_mb),
    ):
        parts.append(f"{value:,.0f} | {value / ours_value:.2f}")
    return " | ".join(parts) + f" | {figures.samples:,} |"


def compare(bench: Bench, in_flight: int, only: str, venvs: Path) -> dict[str, Figures]:
    """Print the table, row by row, and return its figures by program."""
    ideal = in_flight / bench.latency_ms * 1000
    print(f"{in_flight} in flight, {bench.latency_ms:g} ms: at most {ideal:,.0f} samples/s\n\n{HEAD}", flush=True)
    mine = bench.figures(ours(in_flight))
    print(row("**this runner**", "", mine, mine), flush=True)
    found = {"this runner": mine}
    for peer in PEERS:
        if only.lower() not in peer.name.lower():
            continue
        version = ""
        try:
            python, version = installed(peer, venvs)
            figures = bench.figures(theirs(peer, python, in_flight))
        except CannotRun as problem:
            print(f"| {peer.name} | {version} | {problem} | | | | | | |", flush=True)
        else:
            print(row(peer.name, version, figures, mine), flush=True)
            found[peer.name] = figures
    return found


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Samples per second, CPU and memory: this runner and others.")
    parser.add_argument("--only", default="", metavar="TEXT", help="only peers whose name holds this")
    parser.add_argument("--in-flight", type=int, default=600, help="requests in flight")
    parser.add_argument("--latency-ms", type=float, default=200.0, help="of the server")
    parser.add_argument("--samples", type=int, default=50_000, help="at most so many, for the fast ones")
    parser.add_argument("--seconds", type=float, default=15.0, help="about how long the slow ones may take")
    parser.add_argument("--repeats", type=int, default=1, help="runs at either size, of which the median counts")
    default = Path(tempfile.gettempdir()) / "ultra-parallel-runner-peers"
    parser.add_argument("--venvs", type=Path, default=default, help="where the peers' virtualenvs are kept")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the table as well (needs matplotlib)")
    options = parser.parse_args()
    bench = Bench(
        few=3 * options.in_flight,
        samples=options.samples,
        seconds=options.seconds,
        repeats=options.repeats,
        latency_ms=options.latency_ms,
    )
    found = compare(bench, options.in_flight, options.only, options.venvs.expanduser().resolve())
    if options.plot:
        from throughput_plot import save_plot

        title = f"{options.in_flight} in flight, {options.latency_ms:g} ms, 2 cores shared with the server"
        save_plot(found, title.replace("2 cores", f"{os.cpu_count()} cores"), options.plot)


if __name__ == "__main__":
    main()
