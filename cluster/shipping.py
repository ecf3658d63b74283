"""The program itself, packed for the nodes: they run what this machine runs, whatever is installed there."""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "trials",
    "workflows",
    "questions",
    "providers",
    "stores",
    "telemetry",
    "processes",
    "simulator",
    "cluster",
    "commands",
)
_DATA = (".toml", ".js", ".css")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def pack_program(path: Path) -> None:
    """Write a zip file of the source, different each time.

    Ray knows a package by its content, and removes it once the last driver that has it leaves: another one that has
    just begun with the same would find it gone.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(".start", _LONG_AGO), secrets.token_bytes(16))
        for source in _sources():
            archive.writestr(zipfile.ZipInfo(str(source.relative_to(ROOT)), _LONG_AGO), source.read_bytes())


def _sources() -> Iterator[Path]:
    yield from sorted(ROOT.glob("*_runner.py"))
    for room in ROOMS:
        yield from sorted(one for one in (ROOT / room).rglob("*") if one.suffix == ".py" or one.suffix in _DATA)
