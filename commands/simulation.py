"""The simulator that ``--simulate`` starts: a process of its own that ends when its standard input closes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from trials.errors import RunnerError
from trials.spec import RunSpec, WorkflowSpec

_ROOT = Path(__file__).resolve().parent.parent
_GRACE_S = 5.0


class OwnSimulator:
    """A running simulator on a free port of 127.0.0.1; a context manager. It cannot outlive this process."""

    def __init__(self, log_path: Path, spec: RunSpec) -> None:
        """Start one that knows the tasks of a spec. Raises RunnerError if it does not start."""
        log_file = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "simulator", "--port", "0", "--until-stdin-closes", *_files(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                cwd=_ROOT,
                start_new_session=True,
            )
        finally:
            os.close(log_file)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip().rpartition(" ")[2]
        if not self.url.startswith("http://"):
            self.close()
            raise RunnerError(f"the simulator did not start; see {log_path}")

    def close(self) -> None:
        """End it; what is left after a grace time is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> OwnSimulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _files(spec: RunSpec) -> list[str]:
    """Return the options that name the user's own tasks and tools; a question comes with its request."""
    asks = spec.asks
    if not isinstance(asks, WorkflowSpec):
        return []
    own = {"--task-library": asks.task_library, "--tool-registry": asks.tool_registry}
    files = [word for flag, path in own.items() if path for word in (flag, path)]
    return [*files, "--skip-invalid"] if asks.skip_invalid else files
