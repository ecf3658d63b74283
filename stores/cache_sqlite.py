"""The reply cache in an SQLite file, shared by the processes of one machine (not over network file systems: WAL).

SQLite's Python module lets go of the interpreter at every row, and a process whose other threads are busy waits up to
5 ms to get it back. So each question is one statement with one row, however many keys: replies come back joined by
control characters, which JSON text cannot hold. The tables carry their own names and version, so that the file may
belong to something else as well; nothing but them is touched.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from uuid import uuid4

from stores.cache_keeper import LEASE_S
from stores.cached_replies import VERSION
from trials.errors import UsageError

BUSY_S = 0.5
MMAP_BYTES = 1 << 28
AT_ONCE = 256
"""Keys or rows of one statement. Three values a row stay below the 999 that old SQLite takes."""
_REPLIES, _CLAIMS = f"upr_replies_{VERSION}", f"upr_claims_{VERSION}"
_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS {_REPLIES} (key TEXT PRIMARY KEY, expires INTEGER NOT NULL, value TEXT NOT NULL)",
    f"CREATE INDEX IF NOT EXISTS {_REPLIES}_expires ON {_REPLIES} (expires)",
    f"CREATE TABLE IF NOT EXISTS {_CLAIMS} (key TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL)",
)
_SETTINGS = (
    "synchronous = NORMAL",
    f"mmap_size = {MMAP_BYTES}",
    "secure_delete = OFF",
    "journal_size_limit = 67108864",
)
OPENING_S = 1.0
"""For so long opening is tried again: SQLite does not wait when several processes turn a file to WAL at once."""


class SqliteStore:
    """A ``SharedStore`` in a file. ``connect`` raises UsageError for a path that can never work."""

    def __init__(self, path: Path, ttl_s: float) -> None:
        self.name = f"sqlite:{path}"
        self._path = path
        self._ttl_s = ttl_s
        self._owner = uuid4().hex
        self._link: sqlite3.Connection | None = None

    def connect(self) -> None:
        """Open the file, making it and its folders if need be; close what was open."""
        self.close()
        _check_path(self._path)
        until_s = time.monotonic() + OPENING_S
        while self._link is None:
            try:
                self._link = _opened(self._path)
            except sqlite3.OperationalError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.02)

    def fetch(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return what is stored for these keys and has not expired."""
        found: dict[str, bytes] = {}
        for some in _pieces(keys):
            question = (
                f"SELECT group_concat(key || char(31) || value, char(30)) FROM {_REPLIES}"
                f" WHERE key IN ({_marks(some)}) AND expires > ?"
            )
            joined = self._one(question, (*some, int(time.time())))
            for entry in joined.split(b"\x1e") if joined else ():
                key, _, value = entry.partition(b"\x1f")
                found[key.decode(errors="replace")] = value
        return found

    def claim(self, keys: Sequence[str]) -> tuple[dict[str, bytes], set[str]]:
        """Claim what is neither stored nor claimed: first the claim, then the look, which sees what came before it."""
        taken = self._claimed(keys, mine=False)
        free = [key for key in keys if key not in taken]
        self.renew(free)
        mine = self._claimed(free, mine=True)
        found = self.fetch(keys)
        if mine & found.keys():
            self.settle({}, mine & found.keys())
        return found, mine - found.keys()

    def settle(self, puts: Mapping[str, bytes], released: Collection[str]) -> None:
        """Store replies and let go of claims, all of it or nothing; drop some of what has expired."""
        now = int(time.time())
        rows = [(key, now + int(self._ttl_s) + 1, value.decode()) for key, value in puts.items()]
        with self._changes() as link:
            for some in _exact_pieces(rows):
                values = ",".join(["(?,?,?)"] * len(some))
                link.execute(f"INSERT OR REPLACE INTO {_REPLIES} VALUES {values}", [*chain.from_iterable(some)])
            for keys in _pieces(list(released)):
                dropped = f"DELETE FROM {_CLAIMS} WHERE owner = ? AND key IN ({_marks(keys)})"
                link.execute(dropped, (self._owner, *keys))
            link.execute(f"DELETE FROM {_CLAIMS} WHERE until <= ?", (now,))
            expired = f"SELECT key FROM {_REPLIES} WHERE expires <= ? ORDER BY expires LIMIT ?"
            link.execute(f"DELETE FROM {_REPLIES} WHERE key IN ({expired})", (now, 2 * len(rows)))

    def renew(self, keys: Collection[str]) -> None:
        """Claim these keys for another lease, except those that somebody else holds."""
        now = time.time()
        for some in _exact_pieces([(key, self._owner, now + LEASE_S) for key in keys]):
            # A lease from far in the future was given before the clock was set back.
            self._open_link().execute(
                f"INSERT INTO {_CLAIMS} VALUES {','.join(['(?,?,?)'] * len(some))} ON CONFLICT (key) DO UPDATE"
                " SET owner = excluded.owner, until = excluded.until"
                " WHERE owner = excluded.owner OR until <= ? OR until > ?",
                [*chain.from_iterable(some), now, now + 2 * LEASE_S],
            )

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._link is not None:
            link, self._link = self._link, None
            link.close()

    def reason(self, error: Exception) -> str:
        """Return why the store failed, for people."""
        return str(error)

    def _claimed(self, keys: Sequence[str], *, mine: bool) -> set[str]:
        now = time.time()
        found: set[str] = set()
        for some in _pieces(keys):
            question = (
                f"SELECT group_concat(key) FROM {_CLAIMS} WHERE key IN ({_marks(some)})"
                f" AND owner {'=' if mine else '<>'} ? AND until > ? AND until <= ?"
            )
            joined = self._one(question, (*some, self._owner, now, now + 2 * LEASE_S))
            found.update(joined.decode().split(",") if joined else ())
        return found

    def _one(self, question: str, values: Sequence[object]) -> bytes | None:
        value: bytes | None
        (value,) = self._open_link().execute(question, values).fetchone()
        return value

    @contextmanager
    def _changes(self) -> Iterator[sqlite3.Connection]:
        link = self._open_link()
        link.execute("BEGIN IMMEDIATE")
        try:
            yield link
            link.execute("COMMIT")
        except BaseException:
            if link.in_transaction:
                link.execute("ROLLBACK")
            raise

    def _open_link(self) -> sqlite3.Connection:
        if self._link is None:
            self.connect()
        assert self._link is not None
        return self._link


def _check_path(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--cache sqlite:{path}: its folder cannot be made ({error.strerror})") from None
    if path.is_dir():
        raise UsageError(f"--cache sqlite:{path} is a folder; name a file in it")
    # Not by opening it: closing a file drops every lock that this process holds on it, SQLite's too.
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.R_OK | os.W_OK)):
        raise UsageError(f"--cache sqlite:{path} cannot be written; choose another path, or mend its permissions")


def _opened(path: Path) -> sqlite3.Connection:
    link = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        for setting in _SETTINGS:
            link.execute(f"PRAGMA {setting}")
        if link.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            link.execute("PRAGMA journal_mode = WAL")
        for statement in _SCHEMA:
            link.execute(statement)
    except sqlite3.OperationalError:
        link.close()
        raise
    except sqlite3.DatabaseError as error:
        link.close()
        raise UsageError(f"--cache sqlite:{path}: {error}; choose another path, or remove the file") from None
    link.text_factory = bytes
    return link


def _pieces(keys: Sequence[str]) -> Iterator[list[str | None]]:
    """Yield keys in lists of few different lengths, filled with None: as many statements to prepare."""
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        length = next(size for size in (1, 4, 16, 64, AT_ONCE) if size >= len(some))
        yield [*some, *[None] * (length - len(some))]


def _exact_pieces(rows: Sequence[tuple[object, ...]]) -> Iterator[Sequence[tuple[object, ...]]]:
    """Yield rows in lists whose lengths are powers of two."""
    start = 0
    while left := len(rows) - start:
        size = min(AT_ONCE, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
