"""``--engine``, and what goes with it: which options there are, and what starts the shards of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from commands.values import name_of, number, whole
from processes.engine import Engine, LocalEngine
from providers.keys import Environment
from stores.run_directory import RunDirectory
from trials.errors import UsageError
from trials.spec import RunOptions, ShardOrder

LOCAL, RAY = "local", "ray"
_OF_RAY = {"ray_address": "--ray-address", "gpus_per_shard": "--gpus-per-shard"}
_ADDRESS = re.compile(r"auto|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_FOR_SHARDS = ("OTEL_", "REDIS_PASSWORD")


def engine_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of RunOptions that say where shards run, and how many there are of each."""
    engine = name_of("--engine", values["engine"] or LOCAL, (LOCAL, RAY))
    for name, flag in _OF_RAY.items():
        if values[name] is not None and engine != RAY:
            raise UsageError(f"{flag} goes with --engine ray")
    if engine == RAY:
        if values["ray_address"] and not _ADDRESS.fullmatch(values["ray_address"]):
            given = values["ray_address"]
            raise UsageError(f"--ray-address: {given!r} is neither HOST:PORT, as 'ray start --head' tells it, nor auto")
        if not find_spec("ray"):
            raise UsageError("--engine ray needs Ray: python -m pip install 'ultra-parallel-runner[ray]'")
        if (values["cache"] or "").startswith("sqlite:"):
            raise UsageError("--cache: a SQLite file is there for one machine; with --engine ray name a Redis")
    return {
        "engine": engine,
        "ray_address": values["ray_address"] or "",
        "gpus_per_shard": number("--gpus-per-shard", values["gpus_per_shard"] or "0", 0, 64),
        "replicas": whole("--replicas", values["replicas"] or "1", 1, 10_000),
    }


def open_engine(
    options: RunOptions,
    directory: RunDirectory,
    orders: Mapping[int, ShardOrder],
    note: Callable[[str], None],
) -> Engine:
    """Return what starts the shards of a run. Raises UsageError for a cluster that cannot be used."""
    if options.engine == LOCAL:
        return LocalEngine(directory.path)
    from cluster.engine import RayEngine

    return RayEngine(
        directory,
        orders,
        address=options.ray_address,
        gpus_per_shard=options.gpus_per_shard,
        variables=_variables(orders.values(), Environment.read()),
        note=note,
    )


def _variables(orders: Any, environment: Environment) -> dict[str, str]:
    """Return those of the environment that shards need: on another machine they are not there."""
    parties = [one for order in orders for one in (order.deployment, order.judge) if one is not None]
    names = {name.partition("#")[0] for one in parties if not one.simulated for name in one.key_names}
    return {name: value for name, value in environment.items() if name in names or name.startswith(_FOR_SHARDS)}
