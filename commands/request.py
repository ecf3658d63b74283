"""From what the user wrote to what will be done: every option checked before anything starts.

A flag wins over the environment, the environment over ``.env``, that over the catalog. Nothing below this module reads
the environment, except the look-up of keys by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.bounds import Deadline
from commands.end_options import check_prices, deadline_s, max_cost, notify_address, priced
from commands.engines import engine_options
from commands.question_options import question_spec, refuse_other_kind
from commands.values import duration, name_of, nearest, number, pairs, whole
from commands.whom import check_keys, deployments_for, entries_of, judge_of, origins_of
from commands.workflow_options import workflow_spec
from trials.errors import UsageError
from trials.plan import TrialPlan
from trials.spec import QuestionSpec, RunOptions, RunSpec, WorkflowSpec
from trials.words import Deployment, Sampling, Workload

if TYPE_CHECKING:
    from providers.catalog import Entry
    from providers.keys import Environment, Secret
    from telemetry.trace_settings import TraceSettings

MOST_TRIALS = 20_000_000
_NAMED = ("temperature", "max_tokens")
_OURS = {
    "model": "; give --model",
    "messages": "",
    "tools": "; banks ask in words alone",
    "stream": "",
    "n": "; give --epochs",
    "temperature": "; give --temperature",
    "max_tokens": "; give --max-tokens",
}
RATE_MODES, BALANCES, FORMS = ("adaptive", "fixed"), ("pull", "even"), ("parquet", "json")
_OF_ONE_START = ("notify", "trace_content", "deadline")
"""Options that a repetition by manifest does not take over."""

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A checked run: what is asked, how, of whom, who judges, and where results go.

    ``simulator_url`` is empty for our own, ``output`` if the results store is enough. ``notify`` is an address that
    hears of the end; ``deadline`` counts from when this was made. ``given`` are the options as the user wrote them,
    less those that are for one start.
    """

    spec: RunSpec
    workload: Workload
    options: RunOptions
    deployments: tuple[Deployment, ...]
    judge: Deployment | None
    results_dir: Path
    logs_dir: Path
    simulator_url: str = ""
    output: str = ""
    notify: Secret | None = None
    deadline: Deadline = field(default_factory=Deadline)
    tracing: TraceSettings | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def shards(self) -> dict[int, Deployment]:
        """Return the deployments by shard number, from 1."""
        return dict(enumerate(self.deployments, 1))

    def shard_models(self) -> dict[int, str]:
        """Return the model of each shard."""
        return {shard: deployment.model for shard, deployment in self.shards().items()}


def resolve(
    values: Values,
    environment: Environment,
    *,
    need_keys: bool = True,
    banks_dir: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Request:
    """Check everything the user wrote, and prepare the question bank if one is asked, below ``banks_dir``.

    Raises UsageError for the first thing that is wrong. ``tell`` hears of what is passed over.
    """
    from commands.manifest import check_same, with_manifest
    from commands.workloads import open_workload
    from providers.catalog import load_catalog
    from stores.run_directory import BANKS
    from telemetry.trace_settings import read_settings

    _refuse_empty(values)
    if values["from_manifest"]:
        values = with_manifest(values)
    refuse_other_kind(values)
    catalog = load_catalog(Path(values["catalog"]) if values["catalog"] else None)
    entries = [priced(entry, environment) for entry in entries_of(values, catalog)]
    judges = [priced(judge, environment)] if (judge := judge_of(values, catalog)) else []
    simulated = values["simulate"] or bool(values["simulator_url"])
    asks: WorkflowSpec | QuestionSpec | None = None if values["questions"] else workflow_spec(values)
    options = _options(values, environment)
    deadline = Deadline(options.deadline_s)
    tracing = read_settings(environment, content=values["trace_content"])

    def deployments_of(some: list[Entry], options: RunOptions) -> tuple[Deployment, ...]:
        return deployments_for(
            some,
            options,
            environment,
            n_prompt_types=len(asks.prompt_types) if isinstance(asks, WorkflowSpec) else 1,
            simulated=simulated,
            simulator_url=values["simulator_url"] or "",
        )

    deployments = deployments_of(entries, options)
    judging = deployments_of(judges, replace(options, shards=1, replicas=1, qps=None, max_workers=None))
    if need_keys:
        check_keys((*deployments, *judging), environment)
    if options.max_cost_usd is not None:
        check_prices([*entries, *judges])
    options = replace(options, debug_shards=_debug_shards(environment, len(deployments)))
    logs_dir = Path(values["logs_dir"] or "logs")
    banks_dir = banks_dir or logs_dir / BANKS
    parameters: Mapping[str, Any] = {}
    if asks is None:
        asks, parameters = question_spec(values, banks_dir, tell)
    spec = RunSpec(
        models=tuple(entry.model for entry in entries),
        asks=asks,
        sampling={
            **{judge.model: judge.sampling for judge in judges},
            **{entry.model: _sampling(values, entry, parameters) for entry in entries},
        },
        definition="",
        seed=whole("--seed", values["seed"] or "42", 0, 2**63 - 1),
        simulated=simulated,
        origins=origins_of(values, [*judges, *entries], environment),
    )
    workload = open_workload(spec, banks_dir)
    spec = replace(spec, definition=workload.definition)
    if values["from_manifest"]:
        check_same(values, spec, workload.inputs())
    _check_size(spec, workload)
    results = values["results_dir"] or ("results/simulated" if simulated else "results")
    return Request(
        spec=spec,
        workload=workload,
        options=options,
        deployments=deployments,
        judge=next(iter(judging), None),
        results_dir=Path(results),
        logs_dir=logs_dir,
        simulator_url=values["simulator_url"] or "",
        output=values["output"] or "",
        notify=notify_address(values, environment),
        deadline=deadline,
        tracing=tracing,
        given={name: value for name, value in values.items() if name not in _OF_ONE_START},
    )


def _refuse_empty(values: Values) -> None:
    """A flag with an empty value is a shell variable that was not set; its default would be a guess."""
    for name, value in values.items():
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and not text.strip() for text in texts):
            flag = name.removesuffix("s") if isinstance(value, tuple) else name
            raise UsageError(f"--{flag.replace('_', '-')}: the value is empty")


def _sampling(values: Values, entry: Entry, parameters: Mapping[str, Any]) -> Sampling:
    """Return how a model samples: as the flags say, else the bank's own file, else the catalog."""
    further = {name: value for name, value in parameters.items() if name not in _NAMED}
    sampling = replace(entry.sampling, extra={**entry.sampling.extra, **further, **_extra(values)})
    temperature = values["temperature"] if values["temperature"] is not None else parameters.get("temperature")
    longest = values["max_tokens"] if values["max_tokens"] is not None else parameters.get("max_tokens")
    if temperature is not None:
        sampling = replace(sampling, temperature=number("--temperature", str(temperature), 0, 2))
    if longest is not None:
        sampling = replace(sampling, max_tokens=whole("--max-tokens", str(longest), 1, 10**7))
    return sampling


def _extra(values: Values) -> dict[str, Any]:
    """Return further request fields. A value is read as JSON, and as plain text where it is none."""
    import orjson

    found: dict[str, Any] = {}
    for name, text in pairs("--extra", values["extra"]).items():
        if name in _OURS:
            raise UsageError(f"--extra: {name!r} is set by the runner itself{_OURS[name]}")
        try:
            found[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            found[name] = text
    return found


def _options(values: Values, environment: Mapping[str, str]) -> RunOptions:
    if values["hedge"] and values["balance"] == "even":
        raise UsageError("--hedge lets a second shard try a trial, which --balance even rules out; give one of them")
    stagger = values["stagger"] or "auto"
    return RunOptions(
        rate_mode=_setting(values["rate_mode"], "--rate-mode", "RATE_MODE", RATE_MODES, environment),
        balance=name_of("--balance", values["balance"] or "pull", BALANCES),
        max_workers=_whole_or_none(values, "max_workers", 10_000),
        qps=_number_or_none(values, "qps", 0.01, 1e6),
        shards=_whole_or_none(values, "shards", 10_000),
        stagger_s=None if stagger == "auto" else tuple(number("--stagger", s, 0, 86_400) for s in stagger.split(",")),
        storage_format=_setting(values["storage_format"], "--storage-format", "STORAGE_FORMAT", FORMS, environment),
        max_attempts=_whole_or_none(values, "max_attempts", 100),
        timeout_s=_number_or_none(values, "timeout", 0.1, 86_400),
        hedge=values["hedge"],
        patience_s=600.0 if values["patience"] is None else number("--patience", values["patience"], 0.1, 86_400),
        transport=_transport(values["transport"] or "auto"),
        cache=_cache(values["cache"] or "off"),
        cache_ttl_s=_cache_ttl_s(values),
        max_cost_usd=max_cost(values),
        deadline_s=deadline_s(values),
        stall_timeout_s=_number_or_none(values, "stall_timeout", 1.0, 86_400) or 30.0,
        retry_errors=values["retry_errors"],
        fresh=values["fresh"],
        **_metrics(values),
        **engine_options(values),
    )


def _metrics(values: Values) -> dict[str, Any]:
    """Return the options that say where metrics are served, if they are."""
    port, host = values["metrics_port"], values["metrics_host"]
    if port is None:
        if host is not None:
            raise UsageError("--metrics-host says where --metrics-port is; give both, or neither")
        return {}
    from telemetry.metrics_server import check_installed

    found = whole("--metrics-port", port, 0, 65535)
    check_installed()
    return {"metrics_port": found, **({} if host is None else {"metrics_host": host})}


def _transport(given: str) -> str:
    from providers.transport import TRANSPORTS, check_installed

    name = name_of("--transport", given, TRANSPORTS)
    check_installed(name)
    return name


def _cache(url: str) -> str:
    if url != "off":
        from stores.reply_cache import check_cache

        check_cache(url)
        if re.search(r"//[^/@]*:[^/@]+@", url):
            raise UsageError("--cache: a password on the command line is seen by all; set REDIS_PASSWORD instead")
    return url


def _cache_ttl_s(values: Values) -> float:
    if values["cache_ttl"] and not values["cache"]:
        raise UsageError("--cache-ttl goes with a cache: name it with --cache URL")
    return duration("--cache-ttl", values["cache_ttl"] or "1h")


def _whole_or_none(values: Values, name: str, most: int) -> int | None:
    return None if values[name] is None else whole(f"--{name.replace('_', '-')}", values[name], 1, most)


def _number_or_none(values: Values, name: str, low: float, high: float) -> float | None:
    return None if values[name] is None else number(f"--{name.replace('_', '-')}", values[name], low, high)


def _setting(
    flag_value: str | None, flag: str, variable: str, valid: tuple[str, ...], environment: Mapping[str, str]
) -> str:
    """Return a flag's value, else the variable's, else the first valid one."""
    if flag_value is not None:
        return name_of(flag, flag_value, valid)
    return name_of(variable, environment.get(variable) or valid[0], valid)


def _debug_shards(environment: Mapping[str, str], count: int) -> tuple[int, ...]:
    text = environment.get("DEBUG_PROCESS_NUM")
    if text:
        return (whole(f"DEBUG_PROCESS_NUM (this run has {count} shards)", text, 1, count),)
    debug = (environment.get("DEBUG_LOG") or "false").lower()
    if debug not in ("true", "false", "1", "0", "yes", "no"):
        raise UsageError(f"DEBUG_LOG: {debug!r} is neither true nor false; {nearest(debug, ('true', 'false'))}")
    return tuple(range(1, count + 1)) if debug in ("true", "1", "yes") else ()


def _check_size(spec: RunSpec, workload: Workload) -> None:
    planned = len(TrialPlan(spec, workload))
    if planned > MOST_TRIALS:
        raise UsageError(
            f"{planned:,} trials are more than sensible ({MOST_TRIALS:,}); ask fewer instances, questions or epochs, "
            f"or split the run by model"
        )
