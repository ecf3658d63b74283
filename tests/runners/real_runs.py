"""Runs of the real programs: each house has a directory and an environment of its own, and knows its processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import psutil

from stores.results import read_store

ROOT = Path(__file__).resolve().parents[2]
SUPERVISOR, SHARD, WORKER = "ultra_parallel_runner.py", "smart_batch_runner.py", "batch_test_runner.py"
THREE_KEYS = "qwen2.5-7b-instruct"
WORKERS = 15
"""Of THREE_KEYS: most requests in flight at once."""

MARK = "HOUSE_OF_THIS_TEST"
LONG_S = 90.0
SCORES = (
    "status",
    "outcome",
    "error_category",
    "coverage",
    "order",
    "execution",
    "recovery",
    "efficiency",
    "followed_flaw",
    "recovered",
    "turns",
    "tool_calls",
    "tool_failures",
    "deviations",
    "plan_diff",
)

T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str, timeout_s: float = LONG_S) -> T:
    """Look again and again until there is something to see; return it."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain until {what}"
        time.sleep(0.01)
    return seen


class Simulator:
    """A simulator on its own: a process, its address and its counts."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "simulator", "--port", "0", "--until-stdin-closes", *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip().rpartition(" ")[2]
        assert self.url.startswith("http://"), "the simulator did not start"

    def stats(self) -> dict[str, Any]:
        """Return all counts, those of each trial too."""
        return json.loads(self._send("GET", "/stats?trials=1"))

    def reset(self) -> None:
        """Start all counts anew."""
        self._send("POST", "/stats/reset")

    def wait_for_requests(self, count: int) -> None:
        """Return once so many requests have come."""
        wait_for(lambda: self.stats()["requests"] >= count, f"{count} requests have come")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def _send(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, path)
            return connection.getresponse().read()
        finally:
            connection.close()


class Ended(NamedTuple):
    """What a program that has ended had to say."""

    stdout: str
    stderr: str


class Running:
    """A program under way, its output in files."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def output(self) -> str:
        """What it has said on standard output so far."""
        return self._out.read_text()

    @property
    def complaints(self) -> str:
        """What it has said on standard error so far."""
        return self._err.read_text()

    def send(self, number: int) -> None:
        """Send a signal to this one process."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = LONG_S) -> int:
        """Return its exit code once it has ended."""
        return self.process.wait(timeout_s)

    def wait_to_say(self, words: str) -> None:
        """Return once it has said this."""
        wait_for(lambda: words in self.output or self.process.poll() is not None, f"it says {words!r}")
        assert words in self.output, self.output + self.complaints

    def shards(self) -> dict[int, psutil.Process]:
        """Return the processes of its shards by number."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                line = child.cmdline()
                if "--shard" in line:
                    found[int(line[line.index("--shard") + 1])] = child
        return found

    def kill_shard(self, number: int) -> None:
        """Kill a shard as ``kill -9`` does, once it is there."""
        wait_for(lambda: number in self.shards(), f"shard {number} is there")
        self.shards()[number].kill()


class House:
    """A working directory with an environment in which no key and no setting stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(path), "LANG": "C.UTF-8", MARK: str(path)}
        self._started = 0
        path.mkdir(exist_ok=True)

    def run(
        self, *arguments: str, program: str = SUPERVISOR, env: Mapping[str, str] | None = None, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and check its exit code."""
        ended = subprocess.run(
            [sys.executable, str(ROOT / program), *arguments],
            cwd=self.path,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
        )
        assert code is None or ended.returncode == code, ended.stdout + ended.stderr
        return ended

    def start(
        self,
        *arguments: str,
        program: str = SUPERVISOR,
        env: Mapping[str, str] | None = None,
        before: tuple[str, ...] = (),
    ) -> Running:
        """Start a program, ``before`` in front of its command line, and return at once."""
        self._started += 1
        out, err = self.path / f"said-{self._started}.out", self.path / f"said-{self._started}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*before, sys.executable, str(ROOT / program), *arguments],
                cwd=self.path,
                env={**self.environment, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        return Running(process, out, err)

    def status(self, logs_dir: str = "logs") -> dict[str, Any]:
        """Return what ``status --json`` says of the newest run."""
        return json.loads(self.run("status", "--json", "--logs-dir", logs_dir).stdout)

    def rows(self, results_dir: str = "results/simulated") -> list[dict[str, Any]]:
        """Return the rows that count of a results store."""
        return list(read_store(self.path / results_dir).rows())

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started from here, however deep."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.path) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_until_empty(self) -> None:
        """Return once none of its processes is left."""
        wait_for(lambda: not self.processes(), "no process is left over", 60)

    def files(self) -> set[str]:
        """Return the paths of all files and directories here."""
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*")}

    def kill_everything(self) -> None:
        """Kill every process of this house, each by its id."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)


def scores(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return all score columns by trial key; there may be one row per key only."""
    found: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        assert row["trial_key"] not in found, f"two rows of trial {row['trial_key']}"
        found[row["trial_key"]] = tuple(row[name] for name in SCORES)
    return found


def adds_up(view: Mapping[str, Any]) -> bool:
    """Whether a picture's counts add up to what is planned."""
    return view["planned"] == sum(view[name] for name in ("scored", "provider_errors", "harness_errors", "pending"))
