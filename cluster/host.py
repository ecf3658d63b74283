"""What runs on a node: an actor that starts one shard as a process beside it, and is its link to the supervisor.

The shard is the one that also runs on a single machine, and knows nothing of Ray. It writes its journal on the node's
own disk; the actor brings over what was added, together with the messages that speak of it. So no folder needs to be
shared, and nothing counts as ended before the supervisor has it on its disk. If the actor goes, the shard's standard
input is closed, and it drains and leaves.
"""

from __future__ import annotations

import os
import platform
import queue
import shutil
import socket
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray

from cluster.leases import LeaseLink
from cluster.parcel import JOURNAL, SHIPPED, Delivery, NodeReport, Packed, Parcel
from processes.child import Child
from processes.engine import shard_command
from processes.messages import Message
from stores.run_directory import BANKS, make_lasting, write_whole

GATHER_S = 0.05
"""So long messages that nobody waits for may be gathered before they are brought over."""

PRESSING = frozenset({"ready", "want", "returned", "fatal"})
LANES = {"rule": 1, "tell": 1, "listen": 1}
FORGOTTEN_S = 86_400.0
PACKAGES = ("certifi", "click", "orjson", "psutil", "pyarrow", "requests")
FOLDER = "{folder}"
"""Stands in run.json for the folder of the parcel's files."""


def node_report(address: str) -> NodeReport:
    """Say what this node has, for the driver to compare with its own."""
    return NodeReport(
        address=address,
        host=socket.gethostname(),
        python=platform.python_version(),
        missing=tuple(name for name in PACKAGES if find_spec(name) is None),
    )


def clean_node(token: str) -> None:
    """Remove what a start of a run has left on this node."""
    shutil.rmtree(_scratch() / token, ignore_errors=True)


class ShardHost:
    """One shard on this node. Each kind of call has a lane of its own, in which calls keep their order."""

    def __init__(self) -> None:
        self._link = LeaseLink()
        self._heard: queue.SimpleQueue[tuple[Any, Message | None]] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._child: Child | None = None
        self._folder = Path()
        self._offsets = dict.fromkeys(SHIPPED, 0)
        self._last: Delivery | None = None
        self._ended = False

    @ray.method(concurrency_group="rule")
    def start(self, parcel: Parcel, bank: bytes | None) -> int:
        """Lay out what the shard needs, start it, and return its process's id."""
        run_dir = _scratch() / parcel.token / parcel.run_id
        self._folder = run_dir / "shards" / f"{parcel.shard:02d}"
        shutil.rmtree(self._folder, ignore_errors=True)  # of a process that died here
        make_lasting(self._folder)
        if bank is not None:
            _lay(run_dir.parent / BANKS / parcel.bank_name, bank)
        for name, content in parcel.files.items():
            _lay(run_dir / name, content)
        _lay(run_dir / "run.json", parcel.run.replace(FOLDER.encode(), str(run_dir).encode()))
        write_whole(self._folder / "shard.json", parcel.order)
        self._child = Child(
            shard_command(run_dir, parcel.shard),
            inbox=self._heard,
            stderr_path=self._folder / "stderr.log",
            environment={**os.environ, **parcel.variables},
        )
        threading.Thread(target=self._sort, name="host-sorter", daemon=True).start()
        return self._child.pid

    @ray.method(concurrency_group="tell")
    def tell(self, lines: list[bytes]) -> None:
        """Pass messages on to the shard."""
        if self._child is not None:
            for line in lines:
                self._child.pass_on(line)

    @ray.method(concurrency_group="listen")
    def listen(self, received: int, timeout_s: float) -> Delivery:
        """Return what is new, at the latest after ``timeout_s``; the last delivery again if it was not ``received``."""
        if self._last is not None and self._last.number != received:
            return self._last
        messages = self._gather(timeout_s)
        assert self._child is not None, "nothing was started"
        # Read behind the messages, so that what they say has ended is in it.
        appended = {name: Packed.of(content) for name in SHIPPED if (content := self._grown(name))}
        rss_bytes, cpu_percent = self._child.usage()
        self._last = Delivery(
            number=received + 1,
            messages=tuple(messages),
            appended=appended,
            rss_bytes=rss_bytes,
            cpu_percent=cpu_percent,
            code=self._child.returncode if self._ended else None,
        )
        return self._last

    @ray.method(concurrency_group="rule")
    def stop(self) -> None:
        """End the shard, if it still runs."""
        if self._child is not None:
            self._child.kill()

    def _sort(self) -> None:
        """Let leases be seen to here, and everything else wait for ``listen``."""
        while True:
            _, message = self._heard.get()
            if message is not None and message["type"] == "lease":
                if self._child is not None:
                    self._link.renew(message, self._child)
                continue
            self._outgoing.put(message)
            if message is None:
                return

    def _gather(self, timeout_s: float) -> list[Message]:
        messages: list[Message] = []
        until = time.monotonic() + timeout_s
        while not self._ended:
            try:
                message = self._outgoing.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if message is None:
                self._ended = True
                break
            messages.append(message)
            until = min(until, time.monotonic() + (0.0 if message["type"] in PRESSING else GATHER_S))
        return messages

    def _grown(self, name: str) -> bytes:
        """Return what a file has more than at the last look: of the journal, whole lines."""
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(self._offsets[name])
                content = file.read()
        except FileNotFoundError:
            return b""
        if name == JOURNAL:
            content = content[: content.rfind(b"\n") + 1]
        self._offsets[name] += len(content)
        return content


def _lay(path: Path, content: bytes) -> None:
    """Put a file into place, unless a neighbour has done so."""
    if not path.exists():
        make_lasting(path.parent)
        write_whole(path, content)


def _scratch() -> Path:
    """Return this user's folder for shards that run here, and remove from it what was left a day ago or longer."""
    folder = Path(tempfile.gettempdir()) / f"ultra-parallel-runner-{os.getuid()}-nodes"
    make_lasting(folder)
    if folder.lstat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's")
    for token in folder.iterdir():
        newest = max((path.lstat().st_mtime for path in (token, *token.rglob("*"))), default=0.0)
        if time.time() - newest > FORGOTTEN_S:
            shutil.rmtree(token, ignore_errors=True)
    return folder
