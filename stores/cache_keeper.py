"""The one thread of a process that speaks to the reply cache's shared store; all others wait for it, not long.

It gathers what many threads want and asks the store once: look-ups and claims as they come, replies to store within
50 ms. A claim is a lease: this thread renews it while the asker is at it, and if the process dies it runs out. A store
that fails or is slow is passed by: whoever waits is told so, one warning is given, and every few seconds this thread
tries whether the store is back. Knows nothing of what is stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trials.errors import Drained

LEASE_S = 6.0
"""A killed process's claims are free after this time."""
RENEW_S = LEASE_S / 4
FLUSH_S = 0.05
FLUSH_AT = 256
PATIENCE_S = 2.0
"""How long a thread waits for the store before it does without."""
PAUSE_S = 3.0
"""How long a broken store is left alone before it is tried again."""
POLL_S = (0.01, 0.1)
"""First and longest time between two looks at a key that another process asks for."""
STOP_S = 0.05
WAITING_BYTES = 1 << 26
"""More than this is not kept for a store that cannot follow."""


class SharedStore(Protocol):
    """What is shared between processes. Used by one thread at a time; a method may raise anything if it fails."""

    name: str

    def connect(self) -> None: ...
    def fetch(self, keys: Sequence[str]) -> dict[str, bytes]: ...
    def claim(self, keys: Sequence[str]) -> tuple[dict[str, bytes], set[str]]:
        """Return what is stored, and the keys that are now claimed; claimed by others are those in neither."""
        ...

    def settle(self, puts: Mapping[str, bytes], released: Collection[str]) -> None: ...
    def renew(self, keys: Collection[str]) -> None: ...
    def close(self) -> None: ...
    def reason(self, error: Exception) -> str: ...


@dataclass(slots=True, eq=False, kw_only=True)
class _Wish:
    """What one thread waits for. ``heard_s`` is when the store was last heard of, on the monotonic clock."""

    keys: Sequence[str]
    heard_s: float
    due_s: float = 0.0
    pause_s: float = POLL_S[0]
    found: dict[str, bytes] = field(default_factory=dict)
    claimed: bool = False
    told: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True, kw_only=True)
class _Round:
    """What the thread does next."""

    fetches: list[_Wish]
    claims: list[_Wish]
    puts: dict[str, bytes]
    released: set[str]
    renewals: list[str]


class Keeper:
    """Thread-safe. ``warn`` is called at most once, from any thread; ``count(name, by)`` from any thread too."""

    def __init__(self, store: SharedStore, warn: Callable[[str], None], count: Callable[[str, int], None]) -> None:
        self._store = store
        self._warn = warn
        self._count = count
        self._wake = threading.Condition()
        self._working = True
        self._warned = False
        self._closing = False
        self._fetches: list[_Wish] = []
        self._claims: dict[str, _Wish] = {}
        self._puts: dict[str, bytes] = {}
        self._put_bytes = 0
        self._released: set[str] = set()
        self._flush_s = float("inf")
        self._held: set[str] = set()
        self._renew_s = float("inf")
        self._thread = threading.Thread(target=self._run, name="reply-cache", daemon=True)
        self._thread.start()

    def fetch(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return what the store has of these keys: nothing while it is passed by."""
        wish = _Wish(keys=keys, heard_s=time.monotonic())
        with self._wake:
            if not self._working:
                return {}
            self._fetches.append(wish)
            self._wake.notify_all()
        if not wish.told.wait(PATIENCE_S):
            self._pass_by(f"no answer within {PATIENCE_S:g} s")
        return wish.found

    def claim(self, key: str, stop: threading.Event) -> bytes | None:
        """Wait until the key is ours to ask (None) or answered by another process; raise Drained when told to stop.

        Also None while the store is passed by. ``settle`` must follow whenever None is returned.
        """
        wish = _Wish(keys=(key,), heard_s=time.monotonic())
        with self._wake:
            if not self._working:
                return None
            self._claims[key] = wish
            self._wake.notify_all()
        while not wish.told.wait(STOP_S):
            if stop.is_set():
                self._give_up(key, wish)
                raise Drained("stopped while another call for the same reply was waited for")
            if time.monotonic() - wish.heard_s > PATIENCE_S:
                self._give_up(key, wish)
                self._pass_by(f"no answer within {PATIENCE_S:g} s")
                return None
        return wish.found.get(key)

    def settle(self, key: str, value: bytes | None) -> None:
        """Store a reply, if there is one, and let go of its claim; returns at once."""
        with self._wake:
            self._held.discard(key)
            if not self._working or self._put_bytes > WAITING_BYTES:
                self._count("dropped", 1 if value else 0)
                return
            self._released.add(key)
            if value is not None:
                self._puts[key] = value
                self._put_bytes += len(value)
            wait_s = FLUSH_S if value is not None and len(self._puts) < FLUSH_AT else 0.0
            self._flush_s = min(self._flush_s, time.monotonic() + wait_s)
            # The thread may sleep until a later time than this; when it is to flush anyway, it need not be told.
            if len(self._puts) in (1, FLUSH_AT) or value is None:
                self._wake.notify_all()

    def close(self) -> None:
        """Store what waits, let go of all claims, and end the thread; waits a few seconds at most."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        while not self._closing:
            try:
                self._work()
            except Exception as error:  # Whatever a client library raises, a trial must not fail of it.
                self._pass_by(self._store.reason(error))
            self._recover()
        try:
            if self._working:
                self._flush_all()
        except Exception as error:
            self._pass_by(self._store.reason(error))
        self._turn_off()
        self._store.close()

    def _work(self) -> None:
        while (now := self._next_round()) is not None:
            self._do(now)

    def _recover(self) -> None:
        """Leave the store alone for a while, then try it; only a quick answer will do."""
        while not self._closing and not self._working:
            with self._wake:
                self._wake.wait_for(lambda: self._closing, PAUSE_S)
            began = time.monotonic()
            try:
                self._store.connect()
                self._store.renew(list(self._held))
            except Exception:  # As above; the warning has been given.
                self._count("errors", 1)
                continue
            with self._wake:
                self._working = time.monotonic() - began < PATIENCE_S / 2

    def _next_round(self) -> _Round | None:
        """Wait for something to do; None when the store is passed by or the cache closes."""
        with self._wake:
            while self._working and not self._closing:
                now = time.monotonic()
                claims = [wish for wish in self._claims.values() if wish.due_s <= now]
                if self._fetches or claims or self._flush_s <= now or self._renew_s <= now:
                    return self._gathered(claims, now)
                due_s = min(self._flush_s, self._renew_s, *(wish.due_s for wish in self._claims.values()))
                self._wake.wait(min(due_s - now, LEASE_S))
        return None

    def _gathered(self, claims: list[_Wish], now: float) -> _Round:
        # What waits to be stored goes before a claim of it, or this process would ask for it again.
        flush = self._flush_s <= now or any(wish.keys[0] in self._released for wish in claims)
        todo = _Round(
            fetches=self._fetches,
            claims=claims,
            puts=self._puts if flush else {},
            released=self._released if flush else set(),
            renewals=list(self._held) if self._renew_s <= now else [],
        )
        self._fetches = []
        if flush:
            self._puts, self._released, self._put_bytes, self._flush_s = {}, set(), 0, float("inf")
        if self._renew_s <= now:
            self._renew_s = now + RENEW_S if self._held else float("inf")
        return todo

    def _do(self, todo: _Round) -> None:
        try:
            self._ask_store(todo)
        except BaseException:
            for wish in todo.fetches:
                wish.told.set()
            self._count("dropped", len(todo.puts))
            raise

    def _ask_store(self, todo: _Round) -> None:
        if todo.fetches:
            keys = dict.fromkeys(key for wish in todo.fetches for key in wish.keys)
            found = self._store.fetch(list(keys))
            for wish in todo.fetches:
                wish.found = {key: found[key] for key in wish.keys if key in found}
                wish.told.set()
        if todo.puts or todo.released:
            self._store.settle(todo.puts, todo.released)
            self._count("puts", len(todo.puts))
        if todo.claims:
            self._answer(todo.claims, *self._store.claim([wish.keys[0] for wish in todo.claims]))
        if todo.renewals:
            self._store.renew(todo.renewals)

    def _answer(self, claims: Sequence[_Wish], found: dict[str, bytes], claimed: set[str]) -> None:
        now = time.monotonic()
        with self._wake:
            for wish in claims:
                key = wish.keys[0]
                if self._claims.get(key) is not wish:
                    self._let_go(key, claimed)
                    continue
                wish.heard_s = now
                wish.claimed = key in claimed
                wish.found = {key: found[key]} if key in found else {}
                if not wish.claimed and not wish.found:
                    wish.due_s, wish.pause_s = now + wish.pause_s, min(wish.pause_s * 1.5, POLL_S[1])
                    continue
                del self._claims[key]
                if wish.claimed:
                    self._held.add(key)
                    self._renew_s = min(self._renew_s, now + RENEW_S)
                wish.told.set()

    def _let_go(self, key: str, claimed: set[str]) -> None:
        """Release what was claimed for a thread that has given up."""
        if key in claimed and key not in self._held:
            self._released.add(key)
            self._flush_s = 0.0

    def _give_up(self, key: str, wish: _Wish) -> None:
        with self._wake:
            if self._claims.get(key) is wish:
                del self._claims[key]
            elif wish.claimed and key in self._held:
                self._held.discard(key)
                self._released.add(key)
                self._flush_s = 0.0
                self._wake.notify_all()

    def _flush_all(self) -> None:
        with self._wake:
            puts, released = self._puts, self._released | self._held
            self._puts, self._held = {}, set()
        if puts or released:
            self._store.settle(puts, released)
            self._count("puts", len(puts))

    def _pass_by(self, reason: str) -> None:
        self._count("errors", 1)
        self._turn_off()
        with self._wake:
            warned, self._warned = self._warned, True
        if not warned:
            again = f"it is tried again every {PAUSE_S:g} s"
            self._warn(f"reply cache {self._store.name}: {reason}; going on without it, {again}")

    def _turn_off(self) -> None:
        """Send everybody away who waits, and forget what was to be stored."""
        with self._wake:
            self._working = False
            for wish in (*self._fetches, *self._claims.values()):
                wish.told.set()
            self._count("dropped", len(self._puts))
            self._fetches, self._claims, self._puts, self._released = [], {}, {}, set()
            self._put_bytes, self._flush_s = 0, float("inf")
            self._wake.notify_all()
