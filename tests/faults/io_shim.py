"""Builds and steers the disk and the clock that misbehave (io_shim.c).

It is compiled when the campaign starts, with the C compiler that CI has anyway (gcc, or what CC names); without one,
the faults that need it are skipped, and the report says so.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("io_shim.c")
WRITE, SYNC, RENAME, OPEN, TRUNCATE, MKDIR, UNLINK = (1 << bit for bit in range(7))
EVERYTHING = 127
FOR_EVER = -1
_FORM = struct.Struct("=8iq")
_FIELDS = ("calls", "error", "skip", "remaining", "shorten", "frozen", "failed", "names", "clock_offset_ns")


def compiler() -> str | None:
    """Return the path of the C compiler, None if there is none."""
    return shutil.which(os.environ.get("CC", "gcc"))


def build(folder: Path) -> Path:
    """Compile the shim into a folder; return the library. Raises CalledProcessError."""
    library, found = folder / "io_shim.so", compiler()
    assert found is not None, "there is no C compiler"
    command = [found, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


class Shim:
    """The shim as one run has it: a page that all its processes share, and a log of what a power cut must know."""

    def __init__(self, library: Path, folder: Path, roots: tuple[Path, ...], *, logs: bool) -> None:
        self._library, self._roots, self._logs = library, roots, logs
        self.folder = folder
        self.log = folder / "operations.log"
        self.stash = folder / "stash"
        self.stash.mkdir(parents=True)
        page = folder / "control"
        page.write_bytes(bytes(mmap.PAGESIZE))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def environment(self) -> Mapping[str, str]:
        """Return what a program needs to be run with the shim."""
        values = {
            "LD_PRELOAD": str(self._library),
            "FAULT_SHIM_CONTROL": str(self.folder / "control"),
            "FAULT_SHIM_ROOTS": ":".join(map(str, self._roots)),
        }
        if self._logs:
            values |= {"FAULT_SHIM_LOG": str(self.log), "FAULT_SHIM_STASH": str(self.stash)}
        return values

    def read(self, name: str) -> int:
        """Return a field of the page."""
        found: int = _FORM.unpack_from(self._page)[_FIELDS.index(name)]
        return found

    def set(self, **fields: int) -> None:
        """Change fields of the page, the one that arms the shim (``calls``) last."""
        for name in sorted(fields, key=lambda one: one == "calls"):
            place = _FIELDS.index(name)
            struct.pack_into("=q" if name == "clock_offset_ns" else "=i", self._page, place * 4, fields[name])

    def heal(self) -> None:
        """Let everything work again."""
        self.set(calls=0, shorten=0, frozen=0)
