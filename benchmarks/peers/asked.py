"""What every peer is asked, and how a peer is called.

    python NAME.py run BASE_URL N CONCURRENCY FOLDER     ask N prompts, store N results below FOLDER, print nothing
    python NAME.py count FOLDER                          print how many results FOLDER holds

Each peer runs in a virtualenv of its own (see benchmarks/throughput.py), so nothing here is imported but the standard
library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

MODEL = "local"
KEY = "none"
MAX_TOKENS = 2048
_FILLER = "Read the order, name the tools it needs, and say in which order they are called. " * 11


@dataclass(frozen=True, slots=True)
class Job:
    """Ask ``n`` prompts with ``concurrency`` in flight, results to ``folder``."""

    base_url: str
    n: int
    concurrency: int
    folder: Path

    @property
    def url(self) -> str:
        """Where chat completions are asked for."""
        return f"{self.base_url}/chat/completions"

    @property
    def results(self) -> Path:
        """The JSON lines of the peers that store them themselves."""
        return self.folder / "results.jsonl"


def prompt(number: int) -> str:
    """Return the prompt of one sample, about a kilobyte."""
    return f"Work order {number}. {_FILLER}"


def messages(number: int) -> list[dict[str, str]]:
    """Return the messages of one sample."""
    return [{"role": "user", "content": prompt(number)}]


def body(number: int) -> dict[str, Any]:
    """Return the request of one sample."""
    return {"model": MODEL, "messages": messages(number), "temperature": 0.0, "max_tokens": MAX_TOKENS}


def result(number: int, reply: Any) -> dict[str, Any]:
    """Return what is stored of one sample: what was said, and what it used. ``reply`` is the parsed JSON."""
    choice, usage = reply["choices"][0], reply["usage"]
    return {
        "sample": number,
        "text": choice["message"]["content"],
        "finish_reason": choice["finish_reason"],
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
    }


class Store:
    """Appends results as JSON lines, one write each. Thread-safe."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._lock = Lock()

    def add(self, number: int, reply: Any) -> None:
        """Store one result."""
        line = json.dumps(result(number, reply)).encode() + b"\n"
        with self._lock:
            self._file.write(line)


def lines(paths: Iterable[Path]) -> int:
    """Return how many lines these files have."""
    return sum(path.read_bytes().count(b"\n") for path in paths)


def stored_lines(folder: Path) -> int:
    """Return how many results ``Store`` wrote."""
    return lines([folder / "results.jsonl"])


def main(run: Callable[[Job], object], count: Callable[[Path], int] = stored_lines) -> None:
    """Do what the command line says."""
    if sys.argv[1] == "count":
        print(count(Path(sys.argv[2])))
        return
    _, _, base_url, n, concurrency, folder = sys.argv
    run(Job(base_url, int(n), int(concurrency), Path(folder)))
