"""Moves files out of the way and says why; what has been moved is never deleted, nor moved over something else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from stores.findings import ASIDE, LOST
from stores.run_directory import sync_directory
from trials.errors import StoreError

NOTES = "notes.jsonl"


class Aside:
    """The folder ``damaged/<time>/`` of one repair below ``root``, which is made once it is needed.

    ``moved`` holds what was moved. Raises StoreError if the disk does not take it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.moved: list[Path] = []
        self._path: Path | None = None

    def move(self, path: Path, why: str) -> None:
        """Move a file or folder of the root here, where it keeps its place; first the reason is noted."""
        target = self._folder() / path.relative_to(self.root)
        try:
            for folder in reversed(target.relative_to(self._folder()).parents):
                (self._folder() / folder).mkdir(mode=0o700, exist_ok=True)
            self._append(NOTES, [{"path": str(path), "moved_to": str(target), "why": why}])
            path.rename(target)
            sync_directory(target.parent)
            sync_directory(path.parent)
        except OSError as problem:
            raise StoreError(f"cannot move {path} to {target}: {problem.strerror or problem}") from problem
        self.moved.append(path)

    def lost(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Note what cannot be brought back."""
        try:
            self._append(LOST, lines)
        except OSError as problem:
            raise StoreError(f"cannot write {self._folder() / LOST}: {problem.strerror or problem}") from problem

    def _append(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        handle = os.open(self._folder() / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.writelines(orjson.dumps(line) + b"\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._folder())

    def _folder(self) -> Path:
        if self._path is None:
            now, number = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), 1
            path = self.root / ASIDE / now
            try:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                while path.exists():
                    number += 1
                    path = self.root / ASIDE / f"{now}-{number}"
                path.mkdir(mode=0o700)
            except OSError as problem:
                raise StoreError(f"cannot make {path}: {problem.strerror or problem}") from problem
            self._path = path
        return self._path
