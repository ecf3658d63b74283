"""A shard on another node, as the supervisor sees it: messages one way, messages and its files the other.

What it delivers is on this machine's disk before the supervisor hears of it. Once it is given up, whatever still comes
from it is dropped, so that a node that was only cut off can do no harm.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError

from cluster.parcel import JOURNAL, Delivery, Parcel
from processes.engine import Inbox
from processes.messages import Message, pack
from stores.journal import JournalWriter
from trials.errors import StoreError

LISTEN_S = 0.5
UNBOUND = frozenset({"ready", "want", "progress"})
"""Messages that speak of nothing that must be on the disk first: a shard should not wait for work meanwhile."""
PATIENCE_S = 10.0
"""A placing, or a silence on the line, is spoken of after this time."""
STOP_WITHIN_S = 5.0
LONGEST_PLACING_S = 900.0
GONE_S = 20.0
"""A cluster whose head cannot be reached for so long is taken to be gone by who waits to be placed."""
KILLED = -signal.SIGKILL


class ClusterGone(Exception):
    """There is no cluster any more."""


class RemoteChild:
    """See ``processes.engine.ShardProcess``. Threads of its own carry what goes either way."""

    def __init__(
        self,
        new_host: Callable[[], Any],
        parcel: Parcel,
        bank: Any,
        *,
        folder: Path,
        inbox: Inbox,
        reachable: Callable[[], bool],
        needs: str,
    ) -> None:
        """``new_host`` makes a ShardHost, ``folder`` is the shard's directory here. Raises StoreError.

        ``reachable`` says whether the cluster's head can be reached. Ray ends a process that asks something of it while
        it is gone. ``needs`` says what a node must have free.
        """
        self._new_host = new_host
        self._host: Any = None
        self._reachable = reachable
        self._needs = needs
        self._inbox = inbox
        self._folder = folder
        self._journal = JournalWriter(folder / JOURNAL)
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._state = threading.Lock()
        self._over = False
        self._code: int | None = None
        self._pid = 0
        self._usage = (0, 0.0)
        self._releasing: threading.Thread | None = None
        threading.Thread(target=self._run, args=(parcel, bank), name=f"node-{parcel.shard}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id on its node; 0 until it runs."""
        return self._pid

    @property
    def returncode(self) -> int | None:
        """See ``ShardProcess``; that of SIGKILL for one that was lost."""
        return self._code

    def send(self, kind: str, **fields: Any) -> None:
        """See ``ShardProcess``. One that no node has started yet has nothing to drain."""
        if kind == "drain" and not self._pid:
            self.kill()
        self._outbox.put(pack(kind, **fields))

    def kill(self) -> None:
        """See ``ShardProcess``."""
        self._end(KILLED)

    def is_held_up(self) -> bool:
        """Whether others may be what keeps it from going on: on another machine, always."""
        return True

    def usage(self) -> tuple[int, float]:
        """See ``ShardProcess``."""
        return self._usage

    def _run(self, parcel: Parcel, bank: Any) -> None:
        try:
            self._pid = self._placed(parcel, bank)
            threading.Thread(target=self._write, name=f"{threading.current_thread().name}-out", daemon=True).start()
            self._listen()
        except (StoreError, ClusterGone) as problem:
            self._say("fatal", message=str(problem), everyone=True)
            self._end(KILLED)
        except (RayError, TimeoutError) as problem:
            if not self._over:
                self._say("note", text=f"shard {parcel.shard}: {_words(problem)}")
            self._end(KILLED)

    def _placed(self, parcel: Parcel, bank: Any) -> int:
        """Wait until a node has started the shard; that may take as long as other work fills the cluster."""
        self._await_head()
        self._host = self._new_host()
        started = self._host.start.remote(parcel, bank)
        began, told = time.monotonic(), False
        while time.monotonic() - began < LONGEST_PLACING_S and not self._over:
            with contextlib.suppress(GetTimeoutError):
                pid: int = ray.get(started, timeout=1.0)
                return pid
            self._await_head()
            if not told and time.monotonic() - began > PATIENCE_S:
                told = True
                self._say(
                    "note", text=f"shard {parcel.shard} waits for a node with {self._needs} free (see 'ray status')"
                )
        raise TimeoutError(f"no node could start it within {LONGEST_PLACING_S:g} s")

    def _await_head(self) -> None:
        """Let the supervisor know that nothing is amiss; raise ClusterGone if there is no head for too long."""
        since = time.monotonic()
        self._say("placing")
        while not self._reachable():
            if time.monotonic() - since > GONE_S:
                raise ClusterGone("the head of the Ray cluster is gone; with another one the same command goes on")
            time.sleep(1.0)
            self._say("placing")

    def _listen(self) -> None:
        received = 0
        coming = self._host.listen.remote(received, LISTEN_S)
        while not self._over:
            try:
                delivery: Delivery = ray.get(coming)
            except ActorUnavailableError:
                time.sleep(LISTEN_S)  # the line is interrupted; the supervisor decides for how long
                coming = self._host.listen.remote(received, LISTEN_S)
                continue
            known, received = received, delivery.number
            if delivery.code is None:
                coming = self._host.listen.remote(received, LISTEN_S)  # it gathers while this one is put away
            if received != known:
                self._take(delivery)
            if delivery.code is not None:
                self._end(delivery.code)

    def _take(self, delivery: Delivery) -> None:
        """Put files onto the disk, then let the messages that speak of them go on."""
        appended = {name: packed.unpacked() for name, packed in delivery.appended.items()}
        with self._state:
            if self._over:
                return
            for message in delivery.messages:
                if message["type"] in UNBOUND:
                    self._inbox.put((self, message))
            for name, content in appended.items():
                if name == JOURNAL:
                    self._journal.append_lines(content)
                else:
                    _append(self._folder / name, content)
            self._journal.sync()
            self._usage = delivery.rss_bytes, delivery.cpu_percent
            for message in delivery.messages:
                if message["type"] not in UNBOUND:
                    self._inbox.put((self, message))

    def _end(self, code: int) -> None:
        """Note the end, once; from then on nothing of this shard counts."""
        with self._state:
            if self._over:
                return
            self._over, self._code = True, code
            self._usage = (0, 0.0)
            self._outbox.put(None)
            with contextlib.suppress(StoreError):
                self._journal.close()
            self._inbox.put((self, None))
        # Where the cluster does not answer, this would keep the supervisor waiting.
        self._releasing = threading.Thread(target=self._let_go, name="node-release", daemon=True)
        self._releasing.start()

    def await_release(self, timeout_s: float) -> None:
        """Wait until its actor has been told to end; only then may the cluster be left."""
        if self._releasing is not None:
            self._releasing.join(max(0.0, timeout_s))

    def _let_go(self) -> None:
        if self._host is None or not ray.is_initialized() or not self._reachable():
            return
        with contextlib.suppress(RayError):
            ray.get(self._host.stop.remote(), timeout=STOP_WITHIN_S)
        if ray.is_initialized() and self._reachable():
            with contextlib.suppress(RayError):
                ray.kill(self._host)

    def _write(self) -> None:
        """Send what waits, as much at once as there is; one call at a time, so that nothing overtakes."""
        while (first := self._outbox.get()) is not None:
            lines = [first]
            while not self._outbox.empty():
                if (more := self._outbox.get()) is None:
                    return
                lines.append(more)
            with contextlib.suppress(RayError):
                ray.get(self._host.tell.remote(lines))

    def _say(self, kind: str, **fields: Any) -> None:
        message: Message = {"type": kind, **fields}
        self._inbox.put((self, message))


def _append(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, content)
    except OSError:
        pass  # a log that cannot be written is no reason to lose the shard
    finally:
        os.close(file)


def _words(problem: Exception) -> str:
    """Say in a line what became of a node."""
    if isinstance(problem, TimeoutError) and not isinstance(problem, RayError):
        return str(problem)
    if isinstance(problem, ray.exceptions.RayTaskError):
        return f"its node could not start it: {str(problem.cause).splitlines()[0]}"
    return "its node, or Ray's process on it, was lost; what it had delivered is kept"
