"""What a fault happens to: real programs in a directory of their own, a simulator that can be killed, planted secrets.

Shares no code with the product, nor with the other tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

ROOT = Path(__file__).resolve().parents[2]
MARK = "HOUSE_OF_THIS_FAULT"
MODEL = "qwen2.5-7b-instruct"
LONG_S = 150.0
"""No run may take longer, whatever happens to it."""

T = TypeVar("T")

IN_ENVIRONMENT = (
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "DS_API_KEY",
    "IDEALLAB_API_KEY_0",
    "IDEALLAB_API_KEY_1",
    "REDIS_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "A_KEY_OF_MY_OWN",
)
IN_DOTENV = (
    "DEEPSEEK_API_KEY",
    "IDEALLAB_API_KEY_2",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "MISTRAL_API_KEY",
    "HF_TOKEN",
    "GITHUB_TOKEN",
    "DATABASE_PASSWORD",
)
SECRETS = {
    name: f"sk-{place:02d}-never-to-be-seen-{place * 7919:06x}"
    for place, name in enumerate((*IN_ENVIRONMENT, *IN_DOTENV, "list-a", "list-b", "list-c"))
}
"""Twenty values that may stand in no file and be said nowhere, but in ``.env``, where the user wrote them."""


class Late(AssertionError):
    """Something did not happen in time."""


def wait_for(look: Callable[[], T], what: str, timeout_s: float = LONG_S) -> T:
    """Look again and again until there is something to see; return it. Raises Late."""
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise Late(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(0.01)
    return seen


class Served(NamedTuple):
    """How many requests had come, and had been answered whole, at a moment."""

    at: float
    requests: int
    served: int


class Simulator:
    """A simulator that is looked at all the time; killed, it can be started again on the same port."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self._options = options
        self._before = Served(0.0, 0, 0)
        self.history: list[Served] = []
        self.port = 0
        self._start()
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "simulator", "--port", str(self.port), "--until-stdin-closes", *self._options]
        clean = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip().rpartition(" ")[2]
        assert self.url.startswith("http://"), "the simulator did not start"
        self.port = int(self.url.rpartition(":")[2])

    def stats(self) -> dict[str, Any]:
        """Return the counts of its present life. Raises OSError if it does not answer."""
        with urllib.request.urlopen(f"{self.url}/stats?trials=1", timeout=2) as reply:
            found: dict[str, Any] = json.loads(reply.read())
        return found

    @property
    def now(self) -> Served:
        """What was seen last, over all its lives."""
        return self.history[-1] if self.history else Served(time.monotonic(), 0, 0)

    def served_since(self, moment: float) -> int:
        """Return how many requests were answered from then (monotonic seconds) on."""
        before = [one.served for one in self.history if one.at <= moment]
        return self.now.served - (before[-1] if before else 0)

    def look(self) -> None:
        """Note how many have been served so far."""
        found = self.stats()
        self.history.append(
            Served(time.monotonic(), self._before.requests + found["requests"], self._before.served + found["served"])
        )

    def kill(self) -> None:
        """Kill it; what it had counted is remembered."""
        with contextlib.suppress(OSError):
            self.look()
        self._before = self.now
        self.process.kill()
        self.process.communicate()

    def restart(self) -> None:
        """Start it again where it was."""
        self._start()

    def close(self) -> None:
        """End it, and the looking at it."""
        self._over.set()
        self.process.kill()
        self.process.communicate()
        self._watching.join(5)

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            with contextlib.suppress(OSError, ValueError):
                self.look()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a run does, apart from faults. Runs of one ``kind`` must end with the same scores."""

    kind: str
    form: str
    shards: int
    workers: int
    latency_s: float
    simulator: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    stall_s: float | None = None
    transport: str = "auto"
    attempts: int = 9
    timeout_s: float = 10.0

    @property
    def in_flight(self) -> int:
        """Most requests that can be under way at once."""
        return self.shards * self.workers

    @property
    def keyed(self) -> bool:
        """Whether the endpoint is asked as a real one is, with real keys."""
        return self.kind.startswith("keyed")

    def simulator_options(self) -> tuple[str, ...]:
        """Return how the simulator is started."""
        return ("--latency", str(self.latency_s), *self.simulator)

    def arguments(self, bank: Path) -> tuple[str, ...]:
        """Return the command line but for where the simulator is."""
        questions = ("--questions", str(bank), "--scorer", "numeric")
        what = questions if self.kind.endswith("questions") else ("--num-instances", "5")
        how = ("--shards", str(self.shards), "--max-workers", str(self.workers), "--storage-format", self.form)
        calm = ("--qps", "1000", "--stagger", "0", "--patience", "60", "--transport", self.transport)
        tries = ("--timeout", f"{self.timeout_s:g}", "--max-attempts", str(self.attempts))
        stall = () if self.stall_s is None else ("--stall-timeout", f"{self.stall_s:g}")
        return ("--model", MODEL, *what, *how, *calm, *tries, *stall, *self.extra)


class House:
    """A working directory, an environment full of secrets, and the processes that were started from there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True)
        self.logs, self.results = path / "logs", path / "results"
        self._started = 0
        own = {name: SECRETS[name] for name in IN_ENVIRONMENT}
        keys = ",".join(SECRETS[name] for name in ("list-a", "list-b", "list-c"))
        basis = {"PATH": os.environ["PATH"], "HOME": str(path), "LANG": "C.UTF-8", MARK: str(path)}
        self.environment = {**basis, **own, "IDEALLAB_API_KEYS": keys}
        (path / ".env").write_text("".join(f"{name}={SECRETS[name]}\n" for name in IN_DOTENV))

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where the product writes."""
        return (self.logs, self.results)

    def start(self, arguments: tuple[str, ...], env: Mapping[str, str], before: tuple[str, ...] = ()) -> Running:
        """Start the supervisor and return at once."""
        self._started += 1
        out, err = (self.path / f"said-{self._started}.{name}" for name in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*before, sys.executable, str(ROOT / "ultra_parallel_runner.py"), *arguments],
                cwd=self.path,
                env={**self.environment, **env},
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        return Running(process, out, err)

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started from here, however deep."""
        found = []
        for number in psutil.pids():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(number)
                if process.environ().get(MARK) == str(self.path) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_until_empty(self, timeout_s: float) -> None:
        """Return once none of its processes is left. Raises Late."""
        wait_for(lambda: not self.processes(), "no process is left over", timeout_s)

    def kill_everything(self) -> None:
        """Stop every process of this house, then kill it, each by its id."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)

    def journals(self) -> list[Path]:
        """Return the journals of its runs."""
        return sorted(self.logs.glob("*/shards/*/journal.jsonl"))


class Running:
    """A supervisor under way, what it says in files."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self.began_at = time.monotonic()
        self._out, self._err = out, err

    @property
    def said(self) -> str:
        """All it has said so far."""
        return "".join(path.read_text(errors="replace") if path.exists() else "" for path in (self._out, self._err))

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def wait(self, timeout_s: float = LONG_S) -> int:
        """Return its exit code once it has ended. Raises Late."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Late(f"the run had not ended after {timeout_s:g} s; it said:\n{self.said}") from None

    def shards(self) -> dict[int, psutil.Process]:
        """Return the processes of its shards by number."""
        found = {}
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error):
                    line = child.cmdline()
                    if "--shard" in line and child.status() != psutil.STATUS_ZOMBIE:
                        found[int(line[line.index("--shard") + 1])] = child
        return found

    def open_files(self) -> int:
        """Return how many file descriptors the supervisor has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
