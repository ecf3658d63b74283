"""Builds and steers the disk, the clock and the name service that misbehave (io_shim.c).

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
NAME_UNKNOWN, NAME_LATER = -2, -3
"""EAI_NONAME and EAI_AGAIN of <netdb.h>."""

A_NAME = "models.faults.test"
"""A name of 127.0.0.1, as long as names are known."""

_INTS = ("calls", "error", "skip", "remaining", "shorten", "frozen", "failed", "names")
_FIELDS = {name: ("=i", 4 * place) for place, name in enumerate(_INTS)}
_FIELDS |= {"clock_offset_ns": ("=q", 32), "name_error": ("=i", 40), "lookups": ("=i", 44)}
"""Form and place of each field of the page: ``struct control``."""


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
        form, place = _FIELDS[name]
        found: int = struct.unpack_from(form, self._page, place)[0]
        return found

    def set(self, **fields: int) -> None:
        """Change fields of the page, the one that arms the shim (``calls``) last."""
        for name in sorted(fields, key=lambda one: one == "calls"):
            form, place = _FIELDS[name]
            struct.pack_into(form, self._page, place, fields[name])

    def heal(self) -> None:
        """Let everything work again."""
        self.set(calls=0, shorten=0, frozen=0, name_error=0)
