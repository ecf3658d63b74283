"""Finds the files of a bank: one file, a folder or a glob, here or on any file system that Arrow knows by its URI.

S3 takes its keys, region and endpoint from the usual AWS variables, or from the URI's query
(``s3://bucket/folder?region=eu-west-1``). Files are found, not read: see ``formats``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from trials.errors import UsageError

FORMS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
}
COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")

_IN_LOCAL, _IN_URI = re.compile(r"[*?\[]"), re.compile(r"[*\[]")  # in a URI, a question mark begins the query
_CREDENTIALS = re.compile(r"[\w+.-]+://[^/?#]*:[^/?#]*@")
_SAFE_IN_URI = ":/?&=%@+,;~!$'()"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a bank. ``name`` is what the user knows it by, ``path`` what its (Arrow) file system does."""

    name: str
    form: str
    path: str
    filesystem: Any


def find_files(path: str, flag: str = "--questions") -> list[SourceFile]:
    """Return the files that ``path`` means, in the order of their names; all are of one form.

    A folder is searched to the bottom; in it, names that begin with a dot or an underscore and endings that are none of
    ``FORMS`` are passed over. ``**`` in a glob stands for any folders. Raises UsageError, which begins with ``flag``.
    """
    if _CREDENTIALS.match(path):
        raise UsageError(
            f"{flag}: an address with keys in it would be written to the run's files; leave them out, and give those "
            f"of S3 as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        filesystem, place, prefix = _open(path)
        found = _found(filesystem, place, f"{flag} {path}")
    except (OSError, ValueError, ImportError, RuntimeError) as problem:  # RuntimeError: of whom is ~name the home?
        raise UsageError(f"{flag} {path} cannot be read: {why(problem)}") from problem
    files = [
        SourceFile(name=prefix + one, form=form, path=one, filesystem=filesystem)
        for one in found
        if (form := form_of(one))
    ]
    forms = {file.form: file for file in files}
    if not files:
        raise UsageError(f"{flag} {path}: {_no_form(found)}; a bank ends in {', '.join(FORMS)}")
    if len(forms) > 1:
        one, other = sorted(file.name for file in forms.values())[:2]
        raise UsageError(
            f"{flag} {path} mixes formats ({one}, {other}); choose one with a glob such as "
            f"{path.rstrip('/')}/*{PurePosixPath(one).suffix}"
        )
    return files


def form_of(path: str) -> str:
    """Return the form that a file's ending tells, or nothing."""
    name = PurePosixPath(path.lower())
    return FORMS.get(PurePosixPath(name.stem).suffix if name.suffix in COMPRESSIONS else name.suffix, "")


def name_of(path: str) -> str:
    """Return a short readable name for a bank: of the file, or of the folder if the file's is all wildcards."""
    parts = [
        part for part in re.sub(r"^\w+://", "", path).partition("?" if "://" in path else "\0")[0].split("/") if part
    ]
    for part in reversed(parts):
        stem = part
        while PurePosixPath(stem).suffix.lower() in (*FORMS, *COMPRESSIONS):
            stem = PurePosixPath(stem).stem
        if name := re.sub(r"[^\w.-]+", "-", stem).strip("-_."):
            return name[:40]
    return "bank"


def why(problem: BaseException) -> str:
    """Return the first line of an error's text, without what only its library's authors can use."""
    text = str(problem).partition("\n")[0].strip() or type(problem).__name__
    text = re.sub(r"\s*\((?:Request ID|Detail)[^)]*\)", "", text)
    return text.rstrip(". ")


def _open(path: str) -> tuple[Any, str, str]:
    """Return the file system, the path in it, and what stands before such paths when they are shown."""
    from pyarrow import fs

    if "://" not in path:
        return fs.LocalFileSystem(), str(Path(path).expanduser()), ""
    address, mark, query = path.partition("?")
    fixed, tail = _split(address, _IN_URI)
    filesystem, place = fs.FileSystem.from_uri(quote(fixed + mark + query, safe=_SAFE_IN_URI))
    scheme = path.partition("://")[0]
    return filesystem, f"{place.rstrip('/')}/{unquote(tail)}" if tail else place, f"{scheme}://"


def _split(path: str, wildcards: re.Pattern[str]) -> tuple[str, str]:
    """Return the folder that a glob begins in, and its rest from the first part with a wildcard."""
    parts = path.split("/")
    first = next((place for place, part in enumerate(parts) if wildcards.search(part)), len(parts))
    return "/".join(parts[:first]), "/".join(parts[first:])


def _found(filesystem: Any, place: str, asked: str) -> list[str]:
    from pyarrow.fs import FileType

    kind = filesystem.get_file_info(place).type
    if kind == FileType.File:
        return [place]
    if kind == FileType.Directory:
        return list(_below(filesystem, place, recursive=True))
    folder, pattern = _split(place, _IN_LOCAL)
    if not pattern:
        far = " (is the bucket's name right, and may these credentials read it?)" if "://" in asked else ""
        raise UsageError(f"{asked}: there is no such file or folder{far}")
    parts = pattern.split("/")
    begin = len(folder) + 1 if folder or place.startswith("/") else 0
    below = _below(filesystem, folder or ("/" if place.startswith("/") else "."), recursive=len(parts) > 1)
    matching = [one for one in below if _fits(one.removeprefix("./")[begin:].split("/"), parts)]
    if not matching:
        raise UsageError(f"{asked}: the pattern matches no file")
    return matching


def _below(filesystem: Any, folder: str, *, recursive: bool) -> Iterator[str]:
    from pyarrow.fs import FileSelector, FileType

    infos = filesystem.get_file_info(FileSelector(folder, recursive=recursive))
    skip = len(folder.rstrip("/"))
    for info in sorted(infos, key=lambda info: info.path):
        hidden = any(part[:1] in (".", "_") for part in info.path[skip:].removeprefix("/").split("/"))
        if info.type == FileType.File and not hidden:
            yield info.path


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_fits(names[start:], patterns[1:]) for start in range(len(names)))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and _fits(names[1:], patterns[1:])


def _no_form(found: Sequence[str]) -> str:
    if not found:
        return "the folder holds no files"
    shown = ", ".join(PurePosixPath(one).name for one in found[:3])
    return f"cannot tell the format of {shown}{' …' if len(found) > 3 else ''}"
