"""The run directory ``logs/<run>/``: all that resuming a run needs.

    run.json              what is asked (RunSpec), where results go; written once
    run.lock              held by the supervisor, or by shards that run alone, while they work on the run
    shards/NN/shard.json  the deployment of shard NN and how it asks; written at each launch
    shards/NN/journal.jsonl
    supervisor.log, shards/NN/shard.log

Its name is readable and ends in a digest of what is asked and of the results store it is for.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from stores.lock import ProcessLock
from trials.digest import digest
from trials.errors import StoreError, UsageError
from trials.spec import SCHEMA_VERSION, RunSpec

BANKS = "banks"
"""The folder of a logs directory that holds prepared question banks; each is named after its digest."""
_NAME_LENGTH = 80
_PATIENCE_S = 0.5
"""Longer than ``is_idle`` holds a lock."""


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that readers see the old or the new whole."""
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file, for the user alone, that takes this name in one step (fsync, rename) once the block has ended well.

    If it has not, nothing of it is left, and what had the name still has it. Raises OSError.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_lasting(path: Path) -> None:
    """Create a directory, and those above it, for the user alone; their names survive a power cut. Raises OSError."""
    if path.is_dir():
        return
    make_lasting(path.parent)
    path.mkdir(exist_ok=True, mode=0o700)
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Create a directory for the user alone. Raises UsageError if it cannot be written to."""
    try:
        make_lasting(path)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written to ({problem.strerror}); choose another directory") from problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDirectory:
    """One run on disk. ``fresh`` runs ask everything again, whatever the store holds from other runs."""

    path: Path
    spec: RunSpec
    results_dir: Path
    fresh: bool
    created_at: float

    @property
    def run_id(self) -> str:
        """The run's name, unique within its logs directory."""
        return self.path.name

    @property
    def banks_dir(self) -> Path:
        """Where the question banks of this run and its neighbours are."""
        return self.path.parent / BANKS

    def lock(self, *, shared: bool = False) -> ProcessLock:
        """Take the run for this process: a supervisor alone, shards that run by themselves together.

        Raises UsageError after a moment if another process works on it.
        """
        patient_until = time.monotonic() + _PATIENCE_S
        while (lock := self._try_lock(shared)) is None:
            if time.monotonic() > patient_until:
                raise UsageError(
                    f"run {self.run_id} is being worked on by another process; watch it with "
                    f"'python ultra_parallel_runner.py status', or wait for its end"
                )
            time.sleep(_PATIENCE_S / 100)
        (self.path / "run.lock").touch()  # its time tells which run was worked on last
        return lock

    def _try_lock(self, shared: bool) -> ProcessLock | None:
        try:
            return ProcessLock(self.path / "run.lock", shared=shared)
        except BlockingIOError:
            return None

    def is_idle(self) -> bool:
        """Whether no process works on the run now."""
        try:
            ProcessLock(self.path / "run.lock").release()
        except OSError:
            return False
        return True

    def shard_dir(self, number: int) -> Path:
        """Return (and make) the directory of a shard, numbered from 1."""
        path = self.path / "shards" / f"{number:02d}"
        make_lasting(path)
        return path

    def journal_path(self, number: int) -> Path:
        """Return where the journal of a shard stands or will stand."""
        return self.shard_dir(number) / "journal.jsonl"

    def journals(self) -> dict[int, Path]:
        """Return every journal there is, by shard number."""
        found = sorted(self.path.glob("shards/*/journal.jsonl"))
        return {int(path.parent.name): path for path in found if path.parent.name.isdigit()}

    def write_json(self, name: str, value: Any) -> None:
        """Write a file below the run directory in one step."""
        write_whole(self.path / name, orjson.dumps(value, option=orjson.OPT_INDENT_2))

    def read_json(self, name: str) -> Any:
        """Read a file below the run directory. Raises StoreError."""
        return _read_json(self.path / name)


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as problem:
        raise StoreError(f"cannot read {path}: {problem.strerror}") from problem
    except orjson.JSONDecodeError as problem:
        raise StoreError(f"{path} is damaged: {problem}") from problem


def open_run(path: Path) -> RunDirectory:
    """Open an existing run directory. Raises StoreError if it is none, or of another version."""
    head = _read_json(path / "run.json")
    if not isinstance(head, Mapping) or head.get("schema") != SCHEMA_VERSION:
        raise StoreError(f"{path / 'run.json'}: not a run of this version (schema {SCHEMA_VERSION})")
    try:
        return RunDirectory(
            path=path,
            spec=RunSpec.from_json(head["spec"]),
            results_dir=Path(head["results_dir"]),
            fresh=bool(head["fresh"]),
            created_at=float(head["created_at"]),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise StoreError(f"{path / 'run.json'}: damaged ({problem})") from problem


def open_or_create(
    logs_dir: Path,
    spec: RunSpec,
    results_dir: Path,
    *,
    fresh: bool,
    taken: Callable[[], Container[str]] = frozenset,
) -> RunDirectory:
    """Return the newest run of this spec into this store, or a new one if there is none or ``fresh`` is asked for.

    ``taken`` is asked, before a new one is made, which names the rows of the store bear: a run whose directory somebody
    has deleted is another run, and its journals begin anew.
    """
    make_directory(logs_dir)
    results_dir = results_dir.resolve()
    name = run_name(spec, results_dir)
    repeat = 1
    while (logs_dir / _repeat_name(name, repeat + 1) / "run.json").exists():
        repeat += 1
    path = logs_dir / _repeat_name(name, repeat)
    if (path / "run.json").exists():
        if not fresh:
            return open_run(path)
        repeat += 1
    known = taken()
    while _repeat_name(name, repeat) in known:
        repeat += 1
    path = logs_dir / _repeat_name(name, repeat)
    make_lasting(path)
    head = {
        "schema": SCHEMA_VERSION,
        "run_id": path.name,
        "created_at": time.time(),
        "fresh": fresh,
        "results_dir": str(results_dir),
        "spec": spec.to_json(),
    }
    write_whole(path / "run.json", orjson.dumps(head, option=orjson.OPT_INDENT_2))
    return open_run(path)


def runs_in(logs_dir: Path) -> Iterator[RunDirectory]:
    """Yield every readable run below a logs directory, oldest first; what is no run is passed over."""
    found = []
    for head in logs_dir.glob("*/run.json"):
        try:
            found.append(open_run(head.parent))
        except StoreError:
            continue
    yield from sorted(found, key=lambda run: run.created_at)


def run_name(spec: RunSpec, results_dir: Path) -> str:
    """Return a name that is safe as a path and says what is asked, ending in a digest."""
    models = "+".join(spec.models) if len(spec.models) <= 2 else f"{len(spec.models)}-models"
    readable = f"{'sim-' if spec.simulated else ''}{models}-{spec.asks.title}"
    safe = re.sub(r"[^A-Za-z0-9_+.-]+", "_", readable).lstrip(".-")[:_NAME_LENGTH]
    return f"{safe}-{digest([spec.to_json(), str(results_dir)], 4)}"


def _repeat_name(name: str, repeat: int) -> str:
    return name if repeat == 1 else f"{name}-r{repeat}"
