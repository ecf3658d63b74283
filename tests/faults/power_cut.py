"""What a power cut leaves of a directory tree, from the shim's log of what was synced.

The rules are those of POSIX, and harsher than most file systems: of a file's bytes only those are safe that an fsync of
the file has covered; a name (a new file, a rename, a removal, a new directory) only once its directory was synced.
Names that were not safe are undone from a random moment on, the latest first, as a file system with ordered metadata
would lose them; bytes that were not safe are kept up to a random place, and what follows is gone or zeros.

Left out, as nothing here writes so: bytes changed within what was safe (the cache's SQLite file lies elsewhere).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


@dataclass(slots=True)
class _Name:
    """A change of a name that its directory has not been synced since."""

    what: str
    directory: int
    path: Path
    other: Path
    kept: int


@dataclass(slots=True)
class _Disk:
    """What is safe, as the log tells it: bytes by inode, and the changes of names that are not."""

    safe_bytes: dict[int, int] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    loose: list[_Name] = field(default_factory=list)
    syncing: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def read(self, log: Path) -> None:
        for line in log.read_text().splitlines():
            self._take(line.split("\t"))

    def _take(self, words: list[str]) -> None:
        what, first, second, path, other, number = words
        if what in ("create", "emptied", "here"):
            self.safe_bytes[int(first)] = int(second) if what == "here" else 0
            self.known.add(int(first))
        if what in ("create", "mkdir"):
            self.loose.append(_Name(what, int(second), Path(path), Path(), 0))
        elif what in ("rename", "unlink"):
            self.loose.append(_Name(what, int(first), Path(path), Path(other), int(number)))
        elif what == "syncing":
            self.syncing[int(number)] = (int(first), int(second), len(self.loose))
        elif what == "synced" and int(number) in self.syncing:
            self._synced(*self.syncing.pop(int(number)))

    def _synced(self, inode: int, size: int, names: int) -> None:
        self.safe_bytes[inode] = max(size, self.safe_bytes.get(inode, 0))
        gone = [one for one in self.loose[:names] if one.directory == inode]
        for one in gone:
            self.loose.remove(one)
        for number, (other, bytes_then, count) in self.syncing.items():
            self.syncing[number] = (other, bytes_then, max(0, count - len(gone)))


@dataclass(frozen=True, slots=True)
class Losses:
    """What a cut has cost: changes of names that were undone, bytes that were lost."""

    names: tuple[str, ...]
    bytes: int


def cut(log: Path, stash: Path, roots: tuple[Path, ...], rng: Random) -> Losses:
    """Leave below ``roots`` what survives; everything that wrote there must have been killed.

    The log begins anew, with what is there now, all of it safe.
    """
    disk = _Disk()
    if log.exists():
        disk.read(log)
    loose = disk.loose
    from_here = 0 if rng.random() < 0.5 else rng.randint(0, len(loose))
    undone = tuple(said for one in reversed(loose[from_here:]) if (said := _undo(one, stash)))
    lost = sum(_tear(path, disk, rng) for path in _files(roots))
    here = [(path.stat().st_ino, path.stat().st_size) for path in _files(roots)]
    log.write_text("".join(f"here\t{inode}\t{size}\t\t\t0\n" for inode, size in here))
    return Losses(undone, lost)


def _undo(change: _Name, stash: Path) -> str:
    """Take back one change of a name; return what was done, empty if there was nothing to take back."""
    path, other, kept = change.path, change.other, stash / str(change.kept)
    if change.what in ("create", "mkdir"):
        if not path.exists():
            return ""
        path.rename(stash / f"lost-{len(list(stash.iterdir()))}")
    elif change.what == "rename":
        if not other.exists():
            return ""
        path.parent.mkdir(parents=True, exist_ok=True)
        other.rename(path)
        if change.kept and kept.exists():
            os.link(kept, other)
    elif change.kept and kept.exists() and not path.exists() and path.parent.exists():
        os.link(kept, path)
    else:
        return ""
    return f"{change.what} {path.name}"


def _files(roots: tuple[Path, ...]) -> Iterator[Path]:
    for root in roots:
        yield from (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())


def _tear(path: Path, disk: _Disk, rng: Random) -> int:
    """Lose what of a file was not safe; return how many bytes."""
    found = path.stat()
    safe = disk.safe_bytes.get(found.st_ino, 0)
    if found.st_ino not in disk.known or found.st_size <= safe:
        return 0
    survives = rng.randint(safe, found.st_size)
    zeros = rng.random() < 0.3
    with path.open("r+b") as file:
        file.truncate(survives)
        if zeros:
            file.truncate(found.st_size)
    return found.st_size - survives
