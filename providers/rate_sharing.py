"""One rate control for every process of this user that sends on one scope, whatever run it belongs to.

They meet at a Unix socket named after the scope. Who holds its lock file keeps the control and serves the others; a
lock dies with its process, so another takes over at once, from the limit last told. What a dead process had been
granted goes back as its connection ends. A process that is alone pays nothing for this. JSON lines are spoken:

    {"ask": [tokens, …]}   → {"permits": [[number, sent_at], …], "wait_s", "refusing_since", "limit_qps", "reason",
                              "parties"}
    {"settle": [[number, outcome, tokens, hints], …]}   → nothing

Times are on the machine's monotonic clock, which its processes share. Where other nodes send on the scope, too, who
keeps the control on this one holds a lease on a share of the limit (rate_leases.py), for all of its processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import socket
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import orjson

from providers.clock import MonotonicClock
from providers.keys import Key
from providers.rate_control import NO_HINTS, Change, Permit, RateControl
from providers.rate_desk import Desk, Party
from providers.rate_hints import Hints
from providers.rate_leased import Leased
from providers.rate_tenancy import LeasedDesk
from providers.rates import OwnSource, RateLimiter, Source
from trials.digest import digest
from trials.words import Deployment

ANSWER_WITHIN_S = 2.0
"""Who keeps the limit and does not answer in this time is taken to be stopped; then each goes on by itself."""

TRY_AGAIN_S = 5.0
FORGOTTEN_S = 86_400.0
_SOON_S = 0.05


def shared_limiter(
    deployment: Deployment,
    key: Key,
    rate_mode: str,
    *,
    on_change: Callable[[Change], None],
    note: Callable[[str], None],
    place: Path | None = None,
    lease: Callable[[str, dict[str, Any]], None] | None = None,
) -> RateLimiter:
    """Return the limiter of a deployment's scope, shared with every process that asks for the same one.

    ``note`` is told in words who keeps the limit. ``place`` is the folder to meet in; None: one of this user's own.
    With ``lease`` the limit is shared with other nodes as well: it is called with the scope's name and a report, from a
    thread of its own, and the answer is to be handed to the limiter's ``granted``.
    """
    clock = MonotonicClock()
    adaptive = rate_mode == "adaptive"

    def desk(found_qps: float | None, party: str) -> Desk:
        if lease is not None:
            law = Leased(party, deployment.qps, clock.now(), adaptive=adaptive)
            return LeasedDesk(law, deployment.qps, clock, partial(lease, name), on_change)
        made = RateControl(found_qps or deployment.qps, clock.now(), adaptive=adaptive, on_change=on_change)
        if found_qps:
            made.go_on(clock.now())
        return Desk(made, clock)

    # A stated rate is kept by those who state the same one; a found one is everybody's.
    stated = [] if adaptive else [rate_mode, deployment.qps]
    leased = [] if lease is None else ["leased"]
    name = digest([deployment.base_url, deployment.scope, key.secret.reveal(), *stated, *leased], 8)
    try:
        source: Source = SharedSource(place or meeting_place(), name, desk, note)
    except OSError as problem:
        note(f"this limit is not shared with other processes: {problem}")
        source = OwnSource(desk(None, new_party()))
    return RateLimiter(source, clock)


def meeting_place() -> Path:
    """Return this user's folder for sockets and locks, which nobody else may enter. Makes it."""
    folder = Path(tempfile.gettempdir()) / f"ultra-parallel-runner-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    _sweep(folder)
    return folder


def new_party() -> str:
    """Return a holder's name that nobody else has."""
    return uuid.uuid4().hex


def _sweep(folder: Path) -> None:
    """Remove what was left by processes that were killed a day ago or longer."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > FORGOTTEN_S and (lock := take_lock(path)) is not None:
                path.with_suffix(".sock").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                os.close(lock)


class SharedSource:
    """Whatever process keeps the control now, this one or another; changes over when that one goes. See ``Source``."""

    def __init__(
        self, folder: Path, name: str, desk: Callable[[float | None, str], Desk], note: Callable[[str], None]
    ) -> None:
        self._socket_path = folder / f"{name}.sock"
        self._lock_path = folder / f"{name}.lock"
        self._desk = desk
        self._note = note
        self._closed = False
        self._source: Kept | Followed | OwnSource
        for _ in range(round(ANSWER_WITHIN_S / _SOON_S)):
            if (found := self._join()) is not None:
                self._source = found
                return
            time.sleep(_SOON_S)  # who has the lock is about to open the socket
        self._go_alone(None, 1)

    def permits(self, costs: Sequence[float]) -> tuple[list[Permit], float]:
        """See ``Source``. While nobody keeps the control for a moment there is none."""
        source = self._source
        try:
            return source.permits(costs)
        except TimeoutError:
            self._note(f"who keeps this limit has not answered for {ANSWER_WITHIN_S:g} s; going on with a share of it")
            source.close()
            self._go_alone(source.limit_qps, source.parties)
        except OSError:
            source.close()
            found = self._join(source.limit_qps)
            if found is not None:
                self._source = found
        return [], _SOON_S

    def settle(self, permit: Permit, outcome: str, hints: Hints, tokens: float | None) -> None:
        """See ``Source``."""
        self._source.settle(permit, outcome, hints, tokens)

    def granted(self, grant: Mapping[str, Any]) -> None:
        """See ``Source``."""
        self._source.granted(grant)

    @property
    def refusing_since(self) -> float | None:
        """See ``Source``."""
        return self._source.refusing_since

    @property
    def limit_qps(self) -> float:
        """See ``Source``."""
        return self._source.limit_qps

    @property
    def reason(self) -> str:
        """See ``Source``; says with how many others the limit is shared."""
        source = self._source
        return source.reason if source.parties == 1 else f"{source.reason} (shared by {source.parties} processes)"

    @property
    def parties(self) -> int:
        """See ``Source``."""
        return self._source.parties

    def close(self) -> None:
        """See ``Source``."""
        self._closed = True
        self._source.close()

    def _join(self, qps: float | None = None) -> Kept | Followed | None:
        """Keep the control, from ``qps`` on, if nobody does; else follow who does. None: neither works just now."""
        lock = take_lock(self._lock_path)
        if lock is not None:
            try:
                return Kept(lock, self._lock_path, self._socket_path, self._desk(qps, _party_of(lock)))
            except OSError:
                self._lock_path.unlink(missing_ok=True)
                os.close(lock)
                raise
        try:
            followed = Followed(self._socket_path)
        except OSError:
            return None
        self._note("another process keeps the limit of this scope; asking it for leave")
        return followed

    def _go_alone(self, qps: float | None, parties: int) -> None:
        self._source = OwnSource(self._desk(qps and qps / parties, new_party()))
        Thread(target=self._come_back, name="rate-return", daemon=True).start()

    def _come_back(self) -> None:
        while not self._closed:
            time.sleep(TRY_AGAIN_S)
            found = self._join(self._source.limit_qps)
            if found is not None:
                alone, self._source = self._source, found
                alone.close()
                return


class Kept(OwnSource):
    """The control is kept here: serves the threads of this process, and the processes that connect."""

    def __init__(self, lock: int, lock_path: Path, socket_path: Path, desk: Desk) -> None:
        super().__init__(desk)
        self._lock = lock
        self._paths = (socket_path, lock_path)
        self._connections: set[socket.socket] = set()
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        socket_path.unlink(missing_ok=True)
        self._door.bind(str(socket_path))
        self._door.listen(64)
        Thread(target=self._admit, name="rate-desk", daemon=True).start()

    def close(self) -> None:
        """Leave no file; the others find somebody else."""
        super().close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        for open_socket in (self._door, *self._connections):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self._door.close()
        os.close(self._lock)

    def _admit(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._door.accept()
                self._connections.add(connection)
                Thread(target=self._serve, args=(connection,), name="rate-party", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """Serve one other process until it goes, however it does."""
        party = self._desk.join()
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    said = orjson.loads(line)
                    if "ask" in said:
                        connection.sendall(orjson.dumps(self._answer(party, said["ask"])) + b"\n")
                    for number, outcome, tokens, hints in said.get("settle", ()):
                        permit = party.out.get(number)
                        if permit is not None:
                            self._desk.settle(party, permit, outcome, Hints(**hints) if hints else NO_HINTS, tokens)
        except (OSError, ValueError):
            return
        finally:
            self._connections.discard(connection)
            self._desk.leave(party)

    def _answer(self, party: Party, costs: Sequence[float]) -> dict[str, Any]:
        permits, wait_s = self._desk.permits(party, costs)
        return {
            "permits": [[permit.number, permit.sent_at] for permit in permits],
            "wait_s": wait_s,
            "refusing_since": self.refusing_since,
            "limit_qps": self.limit_qps,
            "reason": self.reason,
            "parties": self.parties,
        }


class Followed:
    """The control is kept by another process, which is asked over a socket. ``permits`` raises OSError once it goes."""

    def __init__(self, path: Path) -> None:
        self.refusing_since: float | None = None
        self.limit_qps = 0.0
        self.reason = ""
        self.parties = 1
        self._out: dict[int, Permit] = {}
        self._sending = Lock()
        self._settled: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_WITHIN_S)
        self._lines = self._socket.makefile("rb")
        try:
            self._socket.connect(str(path))
            self._ask(())
        except OSError:
            self.close()
            raise
        Thread(target=self._tell, name="rate-settler", daemon=True).start()

    def permits(self, costs: Sequence[float]) -> tuple[list[Permit], float]:
        """See ``Source``."""
        said = self._ask(costs)
        granted = zip(said["permits"], costs, strict=False)
        permits = [Permit(number, sent_at, cost) for (number, sent_at), cost in granted]
        self._out.update((permit.number, permit) for permit in permits)
        return permits, said["wait_s"]

    def settle(self, permit: Permit, outcome: str, hints: Hints, tokens: float | None) -> None:
        """See ``Source``. It is told soon, by a thread of its own."""
        if self._out.get(permit.number) is permit:
            del self._out[permit.number]
            self._settled.put([permit.number, outcome, tokens, None if hints is NO_HINTS else asdict(hints)])

    def granted(self, grant: Mapping[str, Any]) -> None:
        """See ``Source``. Leases are held by who keeps the control."""

    def close(self) -> None:
        """See ``Source``."""
        self._settled.put(None)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _ask(self, costs: Sequence[float]) -> Any:
        self._send({"ask": costs})
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("who kept the limit has gone")
        said = orjson.loads(line)
        self.refusing_since, self.limit_qps = said["refusing_since"], said["limit_qps"]
        self.reason, self.parties = said["reason"], said["parties"]
        return said

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            self._socket.sendall(orjson.dumps(message) + b"\n")

    def _tell(self) -> None:
        """Pass on what has been settled, as much at once as there is."""
        with contextlib.suppress(OSError):
            while (first := self._settled.get()) is not None:
                settled = [first]
                while not self._settled.empty():
                    if (more := self._settled.get()) is None:
                        return
                    settled.append(more)
                self._send({"settle": settled})


def _party_of(lock: int) -> str:
    """Return the holder's name that a lock file gives to whoever has the lock: a lease goes with it."""
    found = os.pread(lock, 64, 0).decode("ascii", "replace")
    if not found:
        found = new_party()
        os.pwrite(lock, found.encode(), 0)
    return found


def take_lock(path: Path) -> int | None:
    """Take the lock of a file, which is held until the descriptor is closed or the process ends; None if it is held."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed it between the two calls above.
        if os.fstat(file).st_ino == path.stat().st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(file)
    return None
