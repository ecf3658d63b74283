"""What lies about in a store and its runs: leftovers, files that are none of ours, and what others may read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stores.findings import ASIDE, REPAIR, UNTIDY, Finding
from stores.parts import CONVERSATIONS, SUFFIXES
from stores.results import ResultsStore
from stores.verify_parts import FOLDERS

_OTHERS = 0o077
_OURS = {"store.json", "summary.json", ".lock", ASIDE, *FOLDERS}
_PART = re.compile(r"part-\d+")
_TEMPORARY = re.compile(r"\.part-\d+\.\w+\.tmp|\.(store|summary)\.json\.\w+")


def check_files(store: ResultsStore) -> Iterator[Finding]:
    """Yield what is in a store's folders and should not be."""
    for path in sorted(store.path.iterdir()):
        if path.name not in _OURS and not (path / "store.json").exists():
            yield _strange(path)
    for folder in FOLDERS:
        for path in sorted((store.path / folder).glob("*")):
            if not _PART.fullmatch(path.stem) or path.suffix not in SUFFIXES.values():
                yield _strange(path)
    for path in other_form(store):
        what = "is in the other form: a conversion was cut off, and nothing reads it"
        yield Finding(severity=UNTIDY, path=str(path), what=what, todo=REPAIR)


def other_form(store: ResultsStore) -> list[Path]:
    """Return parts that are not in the store's form."""
    forms = {CONVERSATIONS: "parquet"}
    found = []
    for folder in FOLDERS:
        suffix = SUFFIXES[forms.get(folder, store.form)]
        found += [path for path in sorted((store.path / folder).glob("part-*")) if _is_part(path, but=suffix)]
    return found


def _is_part(path: Path, but: str) -> bool:
    return bool(_PART.fullmatch(path.stem)) and path.suffix in SUFFIXES.values() and path.suffix != but


def temporary_files(store: Path) -> list[Path]:
    """Return what processes that were killed left in a store; only while it is locked is nobody writing them."""
    places = [store, *(store / folder for folder in FOLDERS)]
    return sorted(path for place in places for path in place.glob(".*") if _TEMPORARY.fullmatch(path.name))


def _strange(path: Path) -> Finding:
    if _TEMPORARY.fullmatch(path.name):
        what = "is a temporary file that a killed process left"
        return Finding(severity=UNTIDY, path=str(path), what=what, todo=REPAIR)
    return Finding(severity=UNTIDY, path=str(path), what="is unknown here", todo="nothing; it is left alone")


def check_permissions(root: Path) -> Iterator[Finding]:
    """Yield that others may read what is below a folder, if they may."""
    if found := list(open_to_others(root)):
        what = f"others than you have rights to {len(found):,} files or folders (the first: {found[0]})"
        yield Finding(severity=UNTIDY, path=str(root), what=what, todo=f"{REPAIR}, or chmod -R go-rwx")


def open_to_others(root: Path) -> Iterator[Path]:
    """Yield what is below a folder, and itself, to which others have rights; links are not followed."""
    for path in (root, *sorted(root.rglob("*"))):
        if not path.is_symlink() and path.exists() and path.stat().st_mode & _OTHERS:
            yield path
