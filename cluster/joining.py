"""Joining a Ray cluster: reached, of the same making as this machine, and able to reach what is asked."""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.host import PACKAGES, node_report
from cluster.leases import NAMESPACE
from cluster.parcel import NodeReport
from cluster.shipping import pack_program
from trials.errors import UsageError

REACHED_WITHIN_S, REPORTED_WITHIN_S = 5.0, 120.0

_HANDLERS_EVERY_S = 0.02
WITHOUT_HEAD_S = 3600
"""So long a driver goes on without the cluster's head, instead of the minute after which Ray would end it."""


def join(address: str, shards: int) -> None:
    """Connect this process to a cluster; without an address to that of RAY_ADDRESS, else to one of its own.

    Raises UsageError if it cannot be reached, or does not fit.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    if address and address != "auto":
        _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(WITHOUT_HEAD_S))
    logging.getLogger("ray").setLevel(logging.ERROR)  # its advice is not for who evaluates models
    own: dict[str, Any] = {} if address else {"num_cpus": max(shards, os.cpu_count() or 1), "include_dashboard": False}
    try:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "program.zip"
            pack_program(program)
            _start(
                address=address or "local",
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"working_dir": str(program)},
                namespace=NAMESPACE,
                **own,
            )
    except (ConnectionError, RuntimeError, ValueError, RayError) as problem:
        hint = (
            "; if it asks for a token, this machine needs RAY_AUTH_MODE=token and the same one (docs/scaling.md)"
            if address
            else ""
        )
        raise UsageError(f"--engine ray: {_first_line(problem)}{hint}") from problem


def _start(**options: Any) -> None:
    """Start Ray in a thread, for signals to be heeded meanwhile: it takes their handlers for itself as it starts."""
    started: Future[None] = Future()

    def start() -> None:
        try:
            ray.init(**options)
            started.set_result(None)
        except BaseException as problem:
            started.set_exception(problem)
        Event().wait()  # the processes that Ray has started end with the thread that did so

    Thread(target=start, name="ray-start", daemon=True).start()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not started.done():
            wait([started], timeout=_HANDLERS_EVERY_S)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    except BaseException:
        wait([started], timeout=REPORTED_WITHIN_S)  # Ray cannot be left half started
        ray.shutdown()
        raise
    started.result()


def check_nodes(urls: Iterable[str]) -> int:
    """Compare every node with this machine and return how many there are.

    ``urls`` are what shards ask. Raises UsageError naming the node that does not fit, and what to do about it.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    _check_reachable_from(nodes, urls)
    ask = ray.remote(num_cpus=0, max_retries=0)(node_report)
    asked = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(_name(node))
        for node in nodes
    ]
    for node, report in zip(nodes, asked, strict=True):
        try:
            _check_report(ray.get(report, timeout=REPORTED_WITHIN_S))
        except GetTimeoutError:
            raise UsageError(
                f"node {_name(node)} did not answer within {REPORTED_WITHIN_S:.0f} s; see 'ray status', or remove it"
            ) from None
        except RayError as problem:
            if not _is_alive(node):
                continue  # it was lost meanwhile, or before the cluster knew
            raise UsageError(f"node {_name(node)} cannot run shards: {_first_line(problem)}") from problem
    return len(nodes)


def _is_alive(node: Any) -> bool:
    return any(one["NodeID"] == node["NodeID"] and one["Alive"] for one in ray.nodes())


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN_S).close()
    except (OSError, ValueError, OverflowError) as problem:
        said = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
        raise UsageError(
            f"--ray-address or RAY_ADDRESS: nothing answers at {address} ({said}); is 'ray start --head' running there?"
        ) from problem


def _check_reachable_from(nodes: Sequence[Any], urls: Iterable[str]) -> None:
    """An endpoint of this machine alone is no endpoint for the others."""
    machines = {node["NodeManagerAddress"] for node in nodes}
    if len(machines) < 2:
        return
    for url in urls:
        if _is_own(urlsplit(url).hostname or ""):
            raise UsageError(
                f"{url} answers on this machine alone, and the cluster has {len(machines)}; give an address that all "
                f"of them reach. For the simulator: start 'python -m simulator --host ADDRESS --port N', and name it "
                f"with --simulator-url"
            )


def _is_own(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_report(report: NodeReport) -> None:
    who = f"node {report.address} ({report.host})"
    here = platform.python_version()
    if report.python.split(".")[:2] != here.split(".")[:2]:
        raise UsageError(f"{who} has Python {report.python}, this machine {here}; start Ray there with the same one")
    if report.missing:
        raise UsageError(
            f"{who} lacks {', '.join(report.missing)}; run 'python -m pip install {' '.join(PACKAGES)}' there"
        )


def _name(node: Any) -> str:
    return str(node["NodeManagerAddress"])


def _first_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[0] if lines else type(problem).__name__
