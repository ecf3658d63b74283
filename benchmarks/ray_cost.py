"""What Ray costs: the same run in processes of this machine and on a cluster: ``python benchmarks/ray_cost.py``.

Against ``local_server.py`` without latency, so that CPU time is all there is. The cluster is three nodes on this
machine (``ray.cluster_utils``), a head and two for shards. The rate is that between the ends of the first and the last
fifth of all trials, so once everything runs; what it takes until the first request is told apart. About three minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from local_server import Running, serving
from throughput import KEY_VARIABLE, OUR_COMMAND, check, write_bank

EDGE = 0.2
SHARDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Trials a second once running, seconds until the first request, and seconds in all."""

    rate: float
    first_s: float
    whole_s: float


@contextmanager
def cluster() -> Iterator[str]:
    """Start a cluster of three nodes and give its address."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            nodes.add_node(num_cpus=2)
        yield str(nodes.address)
    finally:
        nodes.shutdown()


def measure(server: Running, samples: int, workers: int, engine: Sequence[str]) -> Figures:
    """Run once, as a user would."""
    from pyarrow import dataset

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bank(folder / "bank.jsonl", samples)
        what = ["--base-url", server.base_url, "--api-key-env", KEY_VARIABLE, "--questions", str(folder / "bank.jsonl")]
        how = ["--max-workers", str(workers), "--replicas", str(SHARDS), "--stagger", "0", *engine]
        began = time.time()
        subprocess.run(
            [sys.executable, *OUR_COMMAND, *what, *how],
            cwd=folder,
            env={**os.environ, KEY_VARIABLE: "none"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        whole_s = time.time() - began
        rows = dataset.dataset(folder / "results" / "trials", format="parquet").to_table(["started_at", "ended_at"])
    check(len(rows), samples)
    ended = sorted(rows["ended_at"].to_pylist())
    low, high = int(EDGE * samples), int((1 - EDGE) * samples)
    first = min(rows["started_at"].to_pylist())
    return Figures(rate=(high - low) / (ended[high] - ended[low]), first_s=first - began, whole_s=whole_s)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="What Ray costs.")
    parser.add_argument("--samples", type=int, default=60_000, help="questions of a run")
    parser.add_argument("--workers", type=int, default=100, help="threads of each of the three shards")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="of the server")
    parser.add_argument("--repeats", type=int, default=3, help="runs of either kind, of which the median counts")
    options = parser.parse_args()
    found: dict[str, list[Figures]] = {"local": [], "ray": []}
    with cluster() as address:
        engines = {"local": (), "ray": ("--engine", "ray", "--ray-address", address)}
        for _ in range(options.repeats):
            for name, engine in engines.items():
                with serving(options.latency_ms) as server:
                    found[name].append(measure(server, options.samples, options.workers, engine))
    print("| engine | trials/s once running | ÷ local | s to the first request | s in all |\n|---|---|---|---|---|")
    base = median(one.rate for one in found["local"])
    for name, runs in found.items():
        rate = median(one.rate for one in runs)
        first_s, whole_s = (median(getattr(one, field) for one in runs) for field in ("first_s", "whole_s"))
        print(f"| {name} | {rate:,.0f} | {rate / base:.2f} | {first_s:.1f} | {whole_s:.1f} |")


if __name__ == "__main__":
    main()
