"""Seals: a part file tells by itself whether it still is what was written, under the name it was written for.

A seal is the text ``sealed trials/part-000001 <digest>``. In Parquet it is the file's metadata ``seal``, and the digest
is of the whole file with zeros for its own digits; pages have checksums, too. In JSON Lines each line ends in the
checksum that journal lines have, and the last one has a field ``seal``, whose digest is of all that stands before it.
Digests are BLAKE2b (RFC 7693). They tell accidents, not a forger: there is no key.
"""

from __future__ import annotations

import base64
import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from stores.journal import check_line, with_checksum

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "seal"
_SIZE_BYTES = 16
_BLANK = "0" * 2 * _SIZE_BYTES
_BLOCK_BYTES = 1 << 20
_ROWS_AT_A_TIME = 1 << 12
_ENDS_CHECKED = re.compile(rb',"crc":"[0-9a-f]{8}"}\n\Z')
_SEAL_FIELD = b',"seal":"sealed '
_TEXT = re.compile(rf"sealed (\S+) ([0-9a-f]{{{len(_BLANK)}}})")
MAGIC = b"PAR1"
_TAIL_BYTES = 8


def name_of(path: Path) -> str:
    """Return what a part is called in its seal; converting it to another form keeps the name."""
    return f"{path.parent.name}/{path.stem}"


class SealedParquet:
    """Takes tables and writes them to a file, open for reading and writing, as sealed Parquet."""

    def __init__(self, file: Any, schema: pa.Schema, name: str) -> None:
        import pyarrow.parquet as pq

        self._file = _Digesting(file)
        self._text = f"sealed {name} {_BLANK}"
        self._writer = pq.ParquetWriter(
            self._file, schema.with_metadata({KEY: self._text}), compression="zstd", write_page_checksum=True
        )
        self._open = True

    def write_table(self, table: pa.Table) -> None:
        """Add rows."""
        self._writer.write_table(table)

    def close(self) -> None:
        """End the file and seal it; a second call does nothing. The file stays open. Raises OSError."""
        if not self._open:
            return
        self._open = False
        self._writer.close()
        self._file.flush()
        number = self._file.fileno()
        # Texts of rows stand in the footer as well, as statistics; the file's own metadata comes behind them.
        start, footer = _footer(number)
        place = footer.rfind(self._text.encode())
        if place < 0:
            raise OSError("the seal is not where it was put")
        digits = place + len(self._text) - len(_BLANK)
        os.pwrite(number, self._file.digest.hexdigest().encode(), start + digits)


class SealedLines:
    """Takes tables and writes them to a file as sealed JSON Lines."""

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self._name = name
        self._digest = blake2b(digest_size=_SIZE_BYTES)
        self._last = b""

    def write_table(self, table: pa.Table) -> None:
        """Add rows; the last one waits for the next, or for the seal."""
        for batch in table.to_batches(max_chunksize=_ROWS_AT_A_TIME):
            for row in batch.to_pylist():
                self._put_last()
                self._last = orjson.dumps(row)

    def _put_last(self) -> None:
        if self._last:
            line = with_checksum(self._last)
            self._digest.update(line)
            self._file.write(line)

    def close(self) -> None:
        """Seal the last line; a second call does nothing. The file stays open."""
        if self._last:
            body, self._last = self._last[:-1], b""
            self._digest.update(body)
            seal = f'{self._name} {self._digest.hexdigest()}"}}'.encode()
            self._file.write(with_checksum(body + _SEAL_FIELD + seal))


class _Digesting:
    """A binary file, as far as Arrow writes to it, that digests what goes in."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = blake2b(digest_size=_SIZE_BYTES)
        self.flush, self.fileno, self.tell = file.flush, file.fileno, file.tell

    def write(self, data: Any) -> int:
        self.digest.update(data)
        written: int = self._file.write(data)
        return written

    def close(self) -> None:
        """Leave the file to whoever opened it."""


def _footer(number: int) -> tuple[int, bytes]:
    """Return where the footer of a Parquet file begins, and its bytes. Raises OSError if there is none."""
    size = os.fstat(number).st_size
    tail = os.pread(number, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or length > size - _TAIL_BYTES:
        raise OSError("the file has no end as Parquet files have")
    start = size - _TAIL_BYTES - length
    return start, os.pread(number, length, start)


def check_seal(path: Path) -> bool:
    """Return whether a part is sealed; an unsealed one is of an earlier version. Memory stays flat.

    Raises ValueError saying what is wrong if the seal does not fit, OSError if the file cannot be read.
    """
    text, digest = (_parquet if path.suffix == ".parquet" else _lines)(path)
    if text is None:
        return False
    found = _TEXT.fullmatch(text)
    if found is None or found[2] != digest:
        raise ValueError("its content is not what was written (the seal does not fit)")
    if found[1] != name_of(path):
        raise ValueError(f"it is the part {found[1]} under another name: swapped, moved or copied")
    return True


def _parquet(path: Path) -> tuple[str | None, str]:
    import pyarrow.parquet as pq

    known = pq.read_metadata(path).metadata or {}
    seal = known.get(KEY.encode())
    if seal is None:
        # Arrow keeps a second copy of what it was told; who has only that one has lost the first.
        if b"sealed " in base64.b64decode(known.get(b"ARROW:schema", b"")):
            raise ValueError("its seal is damaged")
        return None, ""
    with path.open("rb") as file:
        start, footer = _footer(file.fileno())
        place = start + footer.rfind(seal) + len(seal) - len(_BLANK)
        digest, offset = blake2b(digest_size=_SIZE_BYTES), 0
        for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
            digest.update(_blanked(block, place - offset))
            offset += len(block)
    return seal.decode("utf-8", "replace"), digest.hexdigest()


def _blanked(block: bytes, place: int) -> bytes:
    """Return a block with zeros for what it has of the digits that begin at ``place``."""
    first, last = max(place, 0), min(place + len(_BLANK), len(block))
    return block if first >= last else block[:first] + b"0" * (last - first) + block[last:]


def _lines(path: Path) -> tuple[str | None, str]:
    digest, line = blake2b(digest_size=_SIZE_BYTES), b""
    kinds: set[bool] = set()
    with path.open("rb") as file:
        for line in file:
            checked = line_is_checked(line)
            kinds.add(checked)
            if checked and _SEAL_FIELD in line:  # a text cannot hold it: its quotes would be escaped
                break
            digest.update(line)
        more = file.read(1)
    body, sealed, rest = line.partition(_SEAL_FIELD)
    if not kinds:
        raise ValueError("it is empty")
    if more or len(kinds) > 1 or bool(sealed) != (True in kinds):
        raise ValueError("it does not end as it was ended, or has lines of different origin")
    digest.update(body if sealed else b"")
    seal = rest.split(b'"', 1)[0].decode("utf-8", "replace")
    return (f"sealed {seal}" if sealed else None), digest.hexdigest()


def line_is_checked(line: bytes) -> bool:
    """Return whether a line of a part has a checksum, which is right. Raises ValueError if it is wrong, or no line."""
    if _ENDS_CHECKED.search(line):
        check_line(line)
        return True
    if not line.endswith(b"\n"):
        raise ValueError("its last line is torn")
    orjson.loads(line)
    return False
