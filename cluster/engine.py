"""Starts shards on the nodes of a Ray cluster: one actor each, which the cluster places where it has room."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.host import FOLDER, LANES, ShardHost, clean_node
from cluster.joining import REACHED_WITHIN_S, check_nodes, join
from cluster.leases import desk
from cluster.parcel import Parcel
from cluster.remote_child import RemoteChild
from processes.engine import Inbox
from stores.run_directory import RunDirectory
from trials.spec import QuestionSpec, RunSpec, ShardOrder

TIDY_WITHIN_S = 10.0
_OWN_FILES = ("task_library", "tool_registry")


class RayEngine:
    """See ``processes.engine.Engine``. One per process, since a process belongs to one cluster."""

    def __init__(
        self,
        run: RunDirectory,
        orders: Mapping[int, ShardOrder],
        *,
        address: str,
        gpus_per_shard: float,
        variables: Mapping[str, str],
        note: Callable[[str], None],
    ) -> None:
        """Join the cluster and look over its nodes. Raises UsageError if it, or one of them, cannot be used.

        ``variables`` of the environment are given to every shard's process: they hold the keys.
        """
        self._run = run
        self._orders = orders
        self._gpus = gpus_per_shard
        self._variables = dict(variables)
        self._token = secrets.token_hex(8)
        self._files, spec = _own_files(run.spec)
        self._head = orjson.dumps({**run.read_json("run.json"), "spec": spec.to_json()})
        self._children: list[RemoteChild] = []
        note(f"joining the Ray cluster at {address}" if address else "starting Ray, or joining that of RAY_ADDRESS")
        join(address, len(orders))
        try:
            parties = [one for order in orders.values() for one in (order.deployment, order.judge) if one is not None]
            nodes = check_nodes(sorted({one.base_url for one in parties}))
            note(f"Ray: {nodes} node{'s' if nodes > 1 else ''}, {ray.cluster_resources().get('CPU', 0):g} CPUs")
            head, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
            self._head_at = (head.strip("[]"), int(port))
            self._desk = desk(restarted=False)  # kept, so that it is there from the first request on
            self._bank, self._bank_name = self._put_bank()
            # Side by side: a process of Ray's takes seconds to come up.
            self._hosts = {number: self._new_host() for number in orders}
        except BaseException:
            ray.shutdown()
            raise

    def launch(self, shard: int, inbox: Inbox) -> RemoteChild:
        """See ``Engine``."""
        ready = self._hosts.pop(shard, None)
        child = RemoteChild(
            lambda: ready or self._new_host(),
            self._parcel(shard),
            self._bank,
            folder=self._run.shard_dir(shard),
            inbox=inbox,
            reachable=self._reachable,
            needs="a CPU" + (f" and {self._gpus:g} GPUs" if self._gpus else ""),
        )
        self._children.append(child)
        return child

    def close(self) -> None:
        """Remove what the shards left on their nodes, and leave the cluster, if it still answers."""
        leaving = threading.Thread(target=self._leave, name="ray-leaving", daemon=True)
        leaving.start()
        leaving.join(2 * TIDY_WITHIN_S)

    def _leave(self) -> None:
        until = time.monotonic() + TIDY_WITHIN_S
        for child in self._children:
            child.await_release(until - time.monotonic())
        if not self._reachable():
            return
        with contextlib.suppress(RayError):
            clean = ray.remote(num_cpus=0, max_retries=0)(clean_node)
            nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
            places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
            ray.wait(
                [clean.options(scheduling_strategy=place).remote(self._token) for place in places],
                num_returns=len(places),
                timeout=TIDY_WITHIN_S,
            )
        ray.shutdown()

    def _reachable(self) -> bool:
        try:
            socket.create_connection(self._head_at, REACHED_WITHIN_S).close()
        except OSError:
            return False
        return True

    def _new_host(self) -> Any:
        actor = ray.remote(concurrency_groups=LANES)(ShardHost)
        return actor.options(num_cpus=1, num_gpus=self._gpus, scheduling_strategy="SPREAD").remote()

    def _put_bank(self) -> tuple[Any, str]:
        """Let the cluster hold the question bank once, for every node to take it from there."""
        asks = self._run.spec.asks
        if not isinstance(asks, QuestionSpec):
            return None, ""
        name = f"{asks.bank}.arrow"
        return ray.put((self._run.banks_dir / name).read_bytes()), name

    def _parcel(self, shard: int) -> Parcel:
        order = replace(self._orders[shard], leases=True)
        return Parcel(
            token=self._token,
            run_id=self._run.run_id,
            shard=shard,
            run=self._head,
            order=orjson.dumps(order.to_json()),
            bank_name=self._bank_name,
            files=self._files,
            variables=self._variables,
        )


def _own_files(spec: RunSpec) -> tuple[dict[str, bytes], RunSpec]:
    """Return the user's own files that a spec names, by a name of ours, and the spec as it is where they are laid."""
    asks = spec.asks
    if isinstance(asks, QuestionSpec):
        return {}, spec
    paths = {name: path for name in _OWN_FILES if (path := getattr(asks, name))}
    files = {f"{name}.json": Path(path).read_bytes() for name, path in paths.items()}
    moved: dict[str, Any] = {name: f"{FOLDER}/{name}.json" for name in paths}
    return files, replace(spec, asks=replace(asks, **moved))
