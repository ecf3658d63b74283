"""The reply cache: a question that was answered before is not asked again, one that is being asked is asked once.

Several processes and hosts share a cache by naming the same place. It is an offer and never a duty: while its store is
broken, slow or full every caller asks for itself. What determines a reply is up to whoever makes the keys.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from stores import cached_replies
from stores.cache_keeper import Keeper, SharedStore
from stores.cache_redis import RedisStore, check_redis_package, redis_address
from stores.cache_sqlite import SqliteStore
from stores.single_flight import Flight, Flights
from trials.errors import ProviderError, UsageError
from trials.words import Completion

OFF = "off"
LONGEST_TTL_S = 10 * 365 * 86_400.0
LOOK_UP_AT_ONCE = 1024
_SQLITE = "sqlite:"
_REDIS = ("redis://", "rediss://", "redis+cluster://", "rediss+cluster://")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """What a cache did so far in this process.

    ``hits`` and ``misses`` are keys of ``look_up``; ``shared`` are calls of ``ask_once`` that another's reply answered,
    ``asked`` those that asked. Of what was asked, ``puts`` were stored, ``unfit`` may not be, ``dropped`` were lost
    while the store was passed by. ``errors`` are failures of the store, and tries that found it still broken.
    """

    hits: int = 0
    misses: int = 0
    shared: int = 0
    asked: int = 0
    puts: int = 0
    unfit: int = 0
    dropped: int = 0
    errors: int = 0


def check_cache(url: str) -> None:
    """Raise UsageError for a place that cannot be used as a cache; touches neither files nor servers."""
    if url == OFF:
        return
    if url.startswith(_SQLITE):
        _sqlite_path(url)
    elif url.startswith(_REDIS):
        redis_address(url)
        check_redis_package()
    else:
        forms = "off, sqlite:PATH, redis://host:port, rediss://host:port or redis+cluster://host:port[,host:port…]"
        raise UsageError(f"--cache is none of {forms}")


def open_cache(
    url: str, *, ttl_s: float, warn: Callable[[str], None], password: str | None = None
) -> ReplyCache | None:
    """Return the cache, None for "off". A server that is down only makes it warn.

    ``password`` is that of a Redis whose URL has none. ``ttl_s`` is how old, in seconds, a reply
    may be. ``warn`` is called at most once, from any thread. Raises UsageError for a place that cannot be used, a file
    that cannot be written or is no database, and a ``ttl_s`` that is not above 0.
    """
    check_cache(url)
    if not ttl_s > 0:
        raise UsageError("--cache-ttl must be above 0 seconds; use --cache off for no cache")
    if url == OFF:
        return None
    ttl_s = min(ttl_s, LONGEST_TTL_S) if math.isfinite(ttl_s) else LONGEST_TTL_S
    store: SharedStore
    if url.startswith(_SQLITE):
        store = SqliteStore(_sqlite_path(url), ttl_s)
        with suppress(sqlite3.OperationalError):  # Locked or full: the cache finds out by itself, and warns.
            store.connect()
    else:
        address = redis_address(url)
        store = RedisStore(replace(address, password=address.password or password), ttl_s)
    return ReplyCache(store, ttl_s=ttl_s, warn=warn)


class ReplyCache:
    """Thread-safe; one for a process. ``close`` it, or the replies of its last 50 ms are not stored."""

    def __init__(self, store: SharedStore, *, ttl_s: float, warn: Callable[[str], None]) -> None:
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._flights = Flights()
        self._keeper = Keeper(store, warn, self._count)

    @property
    def counts(self) -> CacheCounts:
        """What it did so far."""
        with self._lock:
            return CacheCounts(**self._counts)

    def look_up(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Return the replies there are, in one round trip for 1,024 keys; each is ``cached`` and cost nothing."""
        found: dict[str, Completion] = {}
        for start in range(0, len(keys), LOOK_UP_AT_ONCE):
            for key, value in self._keeper.fetch(keys[start : start + LOOK_UP_AT_ONCE]).items():
                reply = cached_replies.from_bytes(value, self._ttl_s)
                if reply is not None:
                    found[key] = reply
        self._count("hits", len(found))
        self._count("misses", len(keys) - len(found))
        return found

    def ask_once(self, key: str, ask: Callable[[], Completion], stop: threading.Event) -> Completion:
        """Return the reply of this key, asking only if nobody has it and nobody, in any process, is asking.

        If the provider fails whoever asks, those who wait in this process ask for themselves, all at once: in turn,
        many of them would wait very long for a provider that is dead. If the asker is told to stop, one of them takes
        its place. A reply that may not be kept goes to its asker alone. Raises what ``ask`` raises, and Drained
        within 0.1 s of ``stop`` while waiting for another's reply.
        """
        while True:
            flight, first = self._flights.board(key)
            if first:
                with self._flights.asking(key, flight):
                    return self._lead(key, flight, ask, stop)
            flight.wait(stop)
            if flight.reply is not None:
                self._count("shared", 1)
                return cached_replies.free_of_charge(flight.reply)
            if flight.unfit:
                # What cannot be kept once is likely not to be twice: waiting for each other in turn gains nothing.
                self._count("asked", 1)
                return ask()

    def close(self) -> None:
        """Store what waits and disconnect; takes some seconds at most. Later calls find nothing, and ask."""
        self._keeper.close()

    def _lead(self, key: str, flight: Flight, ask: Callable[[], Completion], stop: threading.Event) -> Completion:
        value = self._keeper.claim(key, stop)
        known = cached_replies.from_bytes(value, self._ttl_s) if value is not None else None
        if known is not None:
            flight.reply = known
            self._count("shared", 1)
            return known
        kept: bytes | None = None
        try:
            self._count("asked", 1)
            reply = ask()
            kept = cached_replies.to_bytes(reply) if cached_replies.may_be_kept(reply) else None
            flight.unfit = kept is None
            flight.reply = None if flight.unfit else reply
            self._count("unfit", int(flight.unfit))
            return reply
        except ProviderError:
            flight.unfit = True
            raise
        finally:
            self._keeper.settle(key, kept)

    def _count(self, name: str, by: int) -> None:
        with self._lock:
            self._counts[name] += by


def _sqlite_path(url: str) -> Path:
    place = url.removeprefix(_SQLITE)
    if not place or place.startswith(("//", ":")) or "\0" in place:
        raise UsageError("--cache sqlite: needs the path of a file, as in sqlite:cache.db or sqlite:/data/cache.db")
    path = Path(place).expanduser()
    if path.is_dir() or place.endswith("/"):
        raise UsageError(f"--cache sqlite:{place} is a folder; name a file in it")
    return path
