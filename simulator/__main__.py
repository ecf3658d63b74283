"""``python -m simulator``: start one simulator from the command line. Prints one line, its address, and serves."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trials.errors import UsageError

if TYPE_CHECKING:
    from simulator.server import Behaviour
    from workflows.libraries import Document

SHARE = click.FloatRange(0, 1)
POSITIVE = click.FloatRange(0, min_open=True)

Pairs = tuple[tuple[str, float], ...]


def read_pairs(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> Pairs:
    """Read values of the form NAME=NUMBER; the name may itself hold an equals sign."""
    pairs = []
    for value in values:
        name, _, number = value.rpartition("=")
        try:
            pairs.append((name, float(number)))
        except ValueError:
            pairs.append((name, math.nan))
        if not (name and math.isfinite(pairs[-1][1])):
            raise click.BadParameter(f"{value!r} is not of the form {param.metavar}", ctx, param)
    return tuple(pairs)


def read_limits(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> Pairs:
    """Read NAME=QPS, each above 0."""
    limits = read_pairs(ctx, param, values)
    for name, qps in limits:
        if qps <= 0:
            raise click.BadParameter(f"{name}={qps:g} is no limit: QPS must be above 0", ctx, param)
    return limits


def read_retry_after(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Check that the value is a word or a number."""
    if value not in ("none", "right") and not value.lstrip("-").replace(".", "", 1).isdigit():
        raise click.BadParameter(f"{value!r} is neither none, right, nor a number of seconds", ctx, param)
    return value


@click.command(context_settings={"max_content_width": 110})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--until-stdin-closes", is_flag=True, help="End when standard input reaches its end of file.")
@click.option("--latency", type=click.FloatRange(0), default=0.1, show_default=True, help="Mean seconds; 0 is off.")
@click.option("--latency-sigma", type=click.FloatRange(0), default=0.3, show_default=True, help="Lognormal spread.")
@click.option("--limit-qps", type=POSITIVE, help="Hidden limit of every key on every deployment, requests/s.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    callback=read_limits,
    metavar="NAME=QPS",
    help="Hidden joint limit of one key or deployment.",
)
@click.option("--limit-burst-s", type=POSITIVE, default=1.0, show_default=True, help="Bucket depth in seconds.")
@click.option(
    "--retry-after", default="right", show_default=True, callback=read_retry_after, help="none, right, or seconds."
)
@click.option("--fault-rate", type=SHARE, default=0.0, help="Share of requests that meet a fault, all kinds equally.")
@click.option(
    "--fault", "faults", multiple=True, callback=read_pairs, metavar="KIND=RATE", help="Rate of one kind of fault."
)
@click.option("--hang-s", type=POSITIVE, default=3600.0, show_default=True, help="How long a hanging request hangs.")
@click.option("--deny-key", "denied_keys", multiple=True, help="Answer this key with 401.")
@click.option("--deny-model", "denied_models", multiple=True, help="Answer this model or deployment with 404.")
@click.option("--model-file", type=click.Path(path_type=Path), help="TOML that adds or changes simulated models.")
@click.option("--task-library", type=click.Path(path_type=Path), help="Tasks of your own, as given to the runner.")
@click.option("--tool-registry", type=click.Path(path_type=Path), help="Tools of your own, for --task-library.")
@click.option("--skip-invalid", is_flag=True, help="Use what is valid in these files.")
def main(host: str, port: int, until_stdin_closes: bool, **options: Any) -> None:
    """Serve simulated models over an OpenAI-compatible API."""
    try:
        behaviour = _behaviour(**options)
    except (UsageError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(_run(host, port, until_stdin_closes, behaviour))
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host} port {port}: {error.strerror}") from error


def run() -> None:
    """Run the command; a mistake of the user is told in one line, exit code 2."""
    try:
        main(prog_name="python -m simulator", standalone_mode=False)
    except click.ClickException as error:
        print("simulator: " + error.format_message().replace("\n", " "), file=sys.stderr)
        sys.exit(2)


async def _run(host: str, port: int, until_stdin_closes: bool, behaviour: Behaviour) -> None:
    from simulator.server import Simulator, serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    await serve(Simulator(behaviour), host, port, _announce, stop)


def _behaviour(
    *,
    latency: float,
    latency_sigma: float,
    limit_qps: float | None,
    limits: Sequence[tuple[str, float]],
    limit_burst_s: float,
    fault_rate: float,
    faults: Sequence[tuple[str, float]],
    model_file: Path | None,
    task_library: Path | None,
    tool_registry: Path | None,
    skip_invalid: bool,
    denied_keys: Sequence[str],
    denied_models: Sequence[str],
    **same: Any,
) -> Behaviour:
    from simulator.faults import FaultPlan, fault_rates
    from simulator.latency import Latency
    from simulator.limits import Limits, TokenBuckets, named, per_key_and_deployment
    from simulator.models import load_models
    from simulator.server import Behaviour
    from simulator.speaker import Speaker
    from workflows.dialects import DIALECTS
    from workflows.libraries import library_from

    policies = [TokenBuckets(qps, qps * limit_burst_s, named(name)) for name, qps in limits]
    if limit_qps is not None:
        policies.append(TokenBuckets(limit_qps, limit_qps * limit_burst_s, per_key_and_deployment))
    models = load_models(model_file, DIALECTS)
    library = library_from(_document(task_library), _document(tool_registry), skip_invalid=skip_invalid)
    speaker = Speaker(models, library)
    return Behaviour(
        speak=speaker,
        find_task=speaker.find_task,
        model_names=models.names,
        limits=Limits(policies, time.monotonic),
        faults=FaultPlan(fault_rates(fault_rate, dict(faults))),
        latency=Latency(mean_s=latency, sigma=latency_sigma),
        denied_keys=frozenset(denied_keys),
        denied_models=frozenset(denied_models),
        **same,
    )


def _document(path: Path | None) -> Document | None:
    from workflows.libraries import Document

    try:
        return Document(content=path.read_bytes(), source=str(path)) if path else None
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from error


def _announce(address: str) -> None:
    print(f"simulator listening on {address}", flush=True)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # os.read, for a thread inside sys.stdin would hold its lock against the interpreter's shutdown.
    while os.read(0, 4096):
        pass
    with suppress(RuntimeError):  # the loop may have closed for another reason
        loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    run()
