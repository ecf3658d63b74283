"""What starts shards, and what the supervisor sees of one: the same whether it runs here or on another machine."""

from __future__ import annotations

import queue
import sys
from pathlib import Path
from typing import Any, Protocol

from processes.child import Child
from processes.messages import Message

SHARD_PROGRAM = Path(__file__).resolve().parent.parent / "smart_batch_runner.py"


class ShardProcess(Protocol):
    """A running shard. Its messages come through the inbox it was started with; None says that it has ended."""

    @property
    def pid(self) -> int:
        """The process's id, on the machine where it runs."""
        ...

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        ...

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message, without waiting; one to a shard that has gone is dropped."""
        ...

    def kill(self) -> None:
        """End it at once. Its end comes through the inbox."""
        ...

    def is_held_up(self) -> bool:
        """Whether others may be what keeps it from going on."""
        ...

    def usage(self) -> tuple[int, float]:
        """Return (resident bytes, CPU percent of one core); zeros where that is not known."""
        ...


Inbox = queue.SimpleQueue[tuple[ShardProcess, Message | None]]


class Engine(Protocol):
    """Starts the shards of one run, whose orders stand in its directory."""

    def launch(self, shard: int, inbox: Inbox) -> ShardProcess:
        """Start the process of a shard."""
        ...

    def close(self) -> None:
        """Let go of what the run had; all its shards have ended."""
        ...


def shard_command(run_dir: Path, shard: int) -> list[str]:
    """Return the command line of a shard's process."""
    return [sys.executable, str(SHARD_PROGRAM), "--run-dir", str(run_dir), "--shard", str(shard)]


class LocalEngine:
    """Shards are processes of this machine, and write into the run's directory themselves."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def launch(self, shard: int, inbox: Inbox) -> Child:
        """See ``Engine``."""
        folder = self._run_dir / "shards" / f"{shard:02d}"
        return Child(shard_command(self._run_dir, shard), inbox=inbox, stderr_path=folder / "stderr.log")

    def close(self) -> None:
        """See ``Engine``."""
