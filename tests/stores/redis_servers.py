"""Real Redis servers on the loopback interface, alone and as a cluster; they keep nothing and end with their test."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

BUS = 10_000
"""A node of a cluster also listens that far above its port, which must stay below the kernel's own ports."""
PATIENCE_S = 30.0


class RedisServer:
    """One server on a free port: started, killed, paused and started again on the same port."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        assert shutil.which("redis-server"), "these tests need redis-server: apt-get install redis-server"
        self.port = port or free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._options = options
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no", "--logfile", "server.log", *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it as a power cut would; a second call does nothing."""
        self.process.kill()
        self.process.wait()

    def client(self, password: str | None = None) -> Any:
        return redis.Redis(port=self.port, password=password, socket_timeout=5)

    def wait(self, password: str | None = None) -> None:
        """Return when it answers."""
        with self.client(password) as client:
            until(lambda: client.ping(), f"redis-server on port {self.port} does not answer: see {self.folder}")


class Cluster:
    """A cluster of so many primaries, one replica each."""

    def __init__(self, folder: Path, primaries: int) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-config-file", "nodes.conf")
        options += ("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0")
        self.servers: list[RedisServer] = []
        try:
            self.servers += [RedisServer(folder, *options) for _ in range(2 * primaries)]
            self._join()
        except BaseException:
            self.kill()
            raise

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:2])

    def primaries(self) -> list[RedisServer]:
        """Return those that are primaries by their own account."""
        alive = [server for server in self.servers if server.process.poll() is None]
        return [server for server in alive if replication(server)["role"] == "master"]

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def _join(self) -> None:
        for server in self.servers:
            server.wait()
        nodes = [f"127.0.0.1:{server.port}" for server in self.servers]
        command = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "1", "--cluster-yes"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        until(self._is_whole, "the cluster did not form")

    def _is_whole(self) -> bool:
        found = [replication(server) for server in self.servers]
        linked = [one for one in found if one["role"] == "slave" and one["master_link_status"] == "up"]
        return len(linked) == len(found) // 2 and all(self._is_ok(server) for server in self.servers)

    def _is_ok(self, server: RedisServer) -> bool:
        with server.client() as client:
            return bool(client.cluster("INFO")["cluster_state"] == "ok")


def replication(server: RedisServer) -> dict[str, Any]:
    with server.client() as client:
        found: dict[str, Any] = client.info("replication")
        return found


def until(holds: Any, complaint: str) -> None:
    """Return when something holds; not answering counts as no."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(redis.ConnectionError, redis.TimeoutError):
            if holds():
                return
        time.sleep(0.05)
    raise AssertionError(complaint)


def free_port() -> int:
    """Return a port that is free together with its cluster bus."""
    while True:
        port = random.randrange(10_000, 32_768 - BUS)
        with suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + BUS))
            return port


@contextmanager
def running_server(*options: str, password: str | None = None) -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), *options)
        try:
            server.wait(password)
            yield server
        finally:
            server.kill()


@contextmanager
def running_cluster(primaries: int) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), primaries)
        try:
            yield cluster
        finally:
            cluster.kill()


def ports(servers: Sequence[RedisServer]) -> list[int]:
    return [server.port for server in servers]
