"""How long until something happens: ``python benchmarks/startup.py``; about half a minute.

Times are from the start of a process to its end (``--help``), or until its first request is whole at a local server.
A shard is measured as the supervisor starts it, its first trial waiting in the pipe: its time holds the interpreter,
all imports, opening the run, the key, the journal, the prompt and the connection. Each is told as a multiple of
``python -c pass``, which takes turns with the others, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from local_server import Running, serving

from processes.messages import pack
from stores.run_directory import runs_in

ROOT = Path(__file__).resolve().parent.parent
KEY_VARIABLE = "LOCAL_SERVER_KEY"
ONE_TRIAL = ("--model", "local", "--task-types", "simple_task", "--num-instances", "1", "--fresh")
Measure = Callable[[], float]


class Starts:
    """Starts programs in a folder of its own, against one server."""

    def __init__(self, server: Running, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._environment = {**os.environ, KEY_VARIABLE: "none"}

    def whole(self, *arguments: str) -> float:
        """Return the seconds from the start of a Python program to its end."""
        began = time.monotonic()
        self._end(self._begin(*arguments), b"")
        return time.monotonic() - began

    def until_request(self, program: str, *, child_of_ours: bool = False) -> float:
        """Return the seconds from the start of a program to its first request, the only one it makes."""
        before = self._server.stats().requests
        began = time.monotonic()
        if child_of_ours:
            process = self._begin(str(ROOT / program), "--run-dir", str(self.run_dir()), "--shard", "1")
            self._end(process, pack("assign", trials=[0], begun={}) + pack("finish"))
        else:
            self._end(self._begin(str(ROOT / program), *self._one_trial()), b"")
        stats = self._server.stats()
        assert stats.requests == before + 1, f"{program} made {stats.requests - before} requests instead of one"
        return stats.asked_at - began

    def run_dir(self) -> Path:
        """Return a run that a supervisor has made."""
        return next(runs_in(self._folder / "logs")).path

    def _one_trial(self) -> list[str]:
        whom = ["--base-url", self._server.base_url, "--api-key-env", KEY_VARIABLE]
        where = ["--results-dir", str(self._folder / "results"), "--logs-dir", str(self._folder / "logs")]
        return [*ONE_TRIAL, *whom, *where]

    def _begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def _end(self, process: subprocess.Popen[bytes], told: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(told)
        process.stdin.flush()  # closing it would tell a shard that its supervisor has gone
        process.wait()
        assert process.stderr is not None
        if process.returncode:
            raise SystemExit(f"{process.args!r} failed: {process.stderr.read().decode(errors='replace')}")
        process.stdin.close()
        process.stderr.close()


def compare(runs: int) -> None:
    """Print the table: medians, taken in turns after one run of each that does not count."""
    with serving(latency_ms=0.0) as server, tempfile.TemporaryDirectory() as folder:
        starts = Starts(server, Path(folder))
        measures: dict[str, Measure] = {
            "`python -c pass`": lambda: starts.whole("-c", "pass"),
            "`ultra_parallel_runner.py --help`": lambda: starts.whole(str(ROOT / "ultra_parallel_runner.py"), "--help"),
            "`ultra_parallel_runner.py`, first request": lambda: starts.until_request("ultra_parallel_runner.py"),
            "`smart_batch_runner.py` alone, first request": lambda: starts.until_request("smart_batch_runner.py"),
            "a shard of a supervisor, first request": lambda: starts.until_request(
                "smart_batch_runner.py", child_of_ours=True
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(runs + 1):
            for name, measure in measures.items():
                times[name].append(measure())
    middle = {name: median(found[1:]) for name, found in times.items()}
    least = next(iter(middle.values()))
    print(f"medians of {runs}\n\n| from the start to | ms | ÷ `python -c pass` |\n|---|---|---|")
    for name, seconds in middle.items():
        print(f"| {name} | {seconds * 1000:,.0f} | {seconds / least:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How long until something happens.")
    parser.add_argument("--runs", type=int, default=11, help="of which the median counts")
    compare(parser.parse_args().runs)
