"""What it costs to be watched: throughput and CPU of runs with and without telemetry, in one go.

    python benchmarks/telemetry_cost.py                      200 workers, 200 ms, about three minutes
    python benchmarks/telemetry_cost.py --samples 20000 --repeats 5

Every way of running is measured as often as the others and in turns, against a local server, with few requests and
with many. Throughput is from the first request to the last reply of the many; CPU is what they cost more than the few,
per request. Of all rounds the best counts, as neighbours on the machine only ever add. The first table says what is
counted in every run, watched or not, and what a look costs the supervisor, in one thread.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from local_server import serving
from throughput import KEY_VARIABLE, our_arguments, run

ROOT = Path(__file__).resolve().parent.parent
LOOK_EVERY_S = 1.0
"""Five to fifteen times as often as a Prometheus would."""
TRACED = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of running: with metrics that somebody fetches, and with more in the environment."""

    name: str
    metrics: bool = False
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one round: CPU seconds of all processes with few requests and with many, and how long the many took."""

    few_cpu_s: float
    cpu_s: float
    asking_s: float


def ways(with_trace: bool) -> list[Way]:
    """Return what is compared; the first is what the others are compared with."""
    nobody = f"http://127.0.0.1:{free_port()}"
    traced = {**TRACED, "OTEL_EXPORTER_OTLP_ENDPOINT": nobody}
    found = [Way(name="plain"), Way(name="metrics, fetched every second", metrics=True)]
    if with_trace:
        found.append(Way(name="metrics, logs and an unsampled trace", metrics=True, environment=traced))
    return [*found, Way(name="metrics and debug logs", metrics=True, environment={"DEBUG_LOG": "true"})]


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def looked_at(port: int) -> Iterator[None]:
    """Fetch the metrics of a port again and again, as a Prometheus would, while the block runs."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            try:
                urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
            except OSError:
                continue  # not there yet, or no more

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def once(way: Way, samples: int, in_flight: int, latency_ms: float) -> tuple[float, float]:
    """Return the seconds from the first request to the last reply, and the CPU seconds, of one run."""
    port = free_port()
    watching: AbstractContextManager[None] = looked_at(port) if way.metrics else nullcontext()
    with tempfile.TemporaryDirectory() as folder, serving(latency_ms) as server, watching:
        arguments = our_arguments(server, samples, in_flight, Path(folder))
        arguments += ["--metrics-port", str(port)] if way.metrics else []
        spent = run(arguments, Path(folder), {KEY_VARIABLE: "none", **(way.environment or {})}, may_fail=True)
        stats = server.stats()
    if stats.requests < samples:
        sys.exit(f"{way.name}: only {stats.requests:,} of {samples:,} requests came")
    return stats.last_at - stats.first_at, spent.cpu_s


def cost(way: Way, few: int, samples: int, in_flight: int, latency_ms: float) -> Cost:
    """Measure one way of running once, with few requests and with many."""
    _, few_cpu_s = once(way, few, in_flight, latency_ms)
    asking_s, cpu_s = once(way, samples, in_flight, latency_ms)
    return Cost(few_cpu_s=few_cpu_s, cpu_s=cpu_s, asking_s=asking_s)


@dataclass(slots=True)
class Attempt:
    """One that a meter is shown."""

    kind: str = "ok"
    status: int | None = 200
    latency_ms: float = 200.0
    rate_wait_ms: float = 1.0

    def request_text(self) -> str:
        """Return the request."""
        return ""

    def reply_text(self) -> str:
        """Return the reply."""
        return ""


def counting_us() -> dict[str, float]:
    """Return the CPU microseconds of what is counted for a request in every run, and of telling it all."""
    sys.path.insert(0, str(ROOT))
    from telemetry.attempts import Meter
    from trials.words import Completion

    meter, attempt, completion = Meter(None), Attempt(), Completion(text="", prompt_tokens=250, completion_tokens=16)

    def us(work: Callable[[], Any], rounds: int) -> float:
        began = time.process_time()
        for _ in range(rounds):
            work()
        return (time.process_time() - began) / rounds * 1e6

    return {
        "an attempt, as before there were metrics": us(before(attempt), 200_000),
        "an attempt, with its histograms": us(lambda: meter.seen(attempt), 200_000),
        "a reply's tokens": us(lambda: meter.answered(completion), 200_000),
        "a trial's wait in the queue": us(lambda: meter.queued(30.0), 200_000),
        "telling it all, twice a second": us(meter.traffic, 5_000),
        "answering one look, a shard": us(looked_into(1, meter.traffic()), 50),
        "answering one look, ten shards": us(looked_into(10, meter.traffic()), 50),
    }


def looked_into(shards: int, traffic: Mapping[str, Any]) -> Callable[[], object]:
    """Return what the supervisor does when somebody looks: figures to text, and the machine looked at."""
    from prometheus_client.exposition import generate_latest

    from providers.catalog import deployments_of, load_catalog
    from telemetry.metrics import RunFigures, ShardFigures
    from telemetry.metrics_server import MetricsServer
    from trials.progress import ShardProgress

    entry = load_catalog().adhoc("local", base_url="http://127.0.0.1/v1", key_name=KEY_VARIABLE)
    (deployment,) = deployments_of(entry, n_prompt_types=1, rate_mode="adaptive", environment={})
    progress = ShardProgress(traffic={"model": traffic})
    server = MetricsServer("127.0.0.1", 0)
    server.publish(
        RunFigures(
            run_id="run",
            simulated=False,
            state="running",
            started_at=0.0,
            trials={},
            shards=[ShardFigures(number=n, deployment=deployment, progress=progress) for n in range(shards)],
        ),
        {},
    )
    return lambda: generate_latest(server)


def before(attempt: Attempt) -> Callable[[], None]:
    """Return what a meter did with an attempt before it kept histograms of its own."""
    from telemetry.latency import LatencyHistogram, RateMeter

    latencies, rate, lock, counts = LatencyHistogram(), RateMeter(), threading.Lock(), [0, 0]

    def seen() -> None:
        latencies.record(attempt.latency_ms)
        rate.record()
        with lock:
            counts[0] += 1
            counts[1] += attempt.status == 429

    return seen


def compare(chosen: Sequence[Way], options: argparse.Namespace) -> None:
    """Measure all ways in turns, and print the table."""
    few = max(2 * options.in_flight, 400)
    found: dict[str, list[Cost]] = {way.name: [] for way in chosen}
    for number in range(options.repeats):
        for way in chosen if number % 2 == 0 else reversed(chosen):
            found[way.name].append(cost(way, few, options.samples, options.in_flight, options.latency_ms))
    print("\n| run | requests/s | ÷ plain | CPU µs a request | ÷ plain |\n|---|---|---|---|---|")
    plain: tuple[float, float] | None = None
    for name, costs in found.items():
        per_s = options.samples / min(one.asking_s for one in costs)
        more_s = min(one.cpu_s for one in costs) - min(one.few_cpu_s for one in costs)
        cpu_us = more_s / (options.samples - few) * 1e6
        plain = plain or (per_s, cpu_us)
        print(f"| {name} | {per_s:,.0f} | {per_s / plain[0]:.3f} | {cpu_us:.0f} | {cpu_us / plain[1]:.2f} |")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="What telemetry costs.")
    parser.add_argument("--in-flight", type=int, default=200, help="workers")
    parser.add_argument("--latency-ms", type=float, default=200.0, help="of the server")
    parser.add_argument("--samples", type=int, default=8_000, help="requests of the longer runs")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, of which the best counts")
    parser.add_argument("--no-trace", action="store_true", help="leave out the run with a trace")
    options = parser.parse_args()
    print("| counted in every run | CPU µs |\n|---|---|")
    for name, cost_us in counting_us().items():
        print(f"| {name} | {cost_us:.2f} |")
    sys.stdout.flush()
    compare(ways(not options.no_trace), options)


if __name__ == "__main__":
    main()
