"""From what the user wrote to what will be done: every option checked before anything starts.

A flag wins over the environment, the environment over ``.env``, that over the catalog. Nothing below this module reads
the environment, except the look-up of keys by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.values import name_of, names_of, nearest, number, split, whole
from trials.errors import UsageError
from trials.plan import TrialPlan
from trials.spec import RunOptions, RunSpec
from trials.words import Cell, Deployment, Sampling, Workload

if TYPE_CHECKING:
    from providers.catalog import Catalog, Entry
    from providers.keys import Environment
    from workflows.workload import WorkflowWorkload

MOST_INSTANCES = 100_000
MOST_TRIALS = 20_000_000
RATE_MODES, BALANCES, FORMS = ("adaptive", "fixed"), ("pull", "even"), ("parquet", "json")
TOOL_PROTOCOLS = ("tags", "native")
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A checked run: what is asked, how, of whom, and where results go. ``simulator_url`` is empty for our own."""

    spec: RunSpec
    workload: WorkflowWorkload
    options: RunOptions
    deployments: tuple[Deployment, ...]
    results_dir: Path
    logs_dir: Path
    simulator_url: str = ""

    def shards(self) -> dict[int, Deployment]:
        """Return the deployments by shard number, from 1."""
        return dict(enumerate(self.deployments, 1))

    def shard_models(self) -> dict[int, str]:
        """Return the model of each shard."""
        return {shard: deployment.model for shard, deployment in self.shards().items()}


def resolve(values: Values, environment: Environment, *, need_keys: bool = True) -> Request:
    """Check everything the user wrote. Raises UsageError for the first thing that is wrong."""
    from commands.workloads import open_workload
    from providers.catalog import load_catalog

    _refuse_empty(values)
    catalog = load_catalog(Path(values["catalog"]) if values["catalog"] else None)
    entries = _entries(values, catalog)
    simulated = values["simulate"] or bool(values["simulator_url"])
    spec = replace(_spec(values, entries, simulated), origins=_origins(values, entries, environment))
    workload = open_workload(spec)
    spec = replace(spec, definition=workload.definition)
    options = _options(values, environment)
    deployments = _deployments(entries, spec, options, environment, values["simulator_url"])
    if need_keys:
        _check_keys(deployments, environment)
    options = replace(options, debug_shards=_debug_shards(environment, len(deployments)))
    _check_size(spec, workload)
    results = values["results_dir"] or ("results/simulated" if simulated else "results")
    return Request(
        spec=spec,
        workload=workload,
        options=options,
        deployments=deployments,
        results_dir=Path(results),
        logs_dir=Path(values["logs_dir"] or "logs"),
        simulator_url=values["simulator_url"] or "",
    )


def _origins(values: Values, entries: list[Entry], environment: Mapping[str, str]) -> dict[str, str]:
    """Return who serves each model: its provider or, for a model that is in no catalog, the endpoint."""
    if values["base_url"] or values["api_key_env"]:
        endpoint = values["base_url"] or environment.get("OPENAI_BASE_URL") or "openai"
        return {entry.model: endpoint.rstrip("/") for entry in entries}
    return {entry.model: entry.provider for entry in entries}


def _refuse_empty(values: Values) -> None:
    """A flag with an empty value is a shell variable that was not set; its default would be a guess."""
    for name, value in values.items():
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and not text.strip() for text in texts):
            flag = name.removesuffix("s") if isinstance(value, tuple) else name
            raise UsageError(f"--{flag.replace('_', '-')}: the value is empty")


def _entries(values: Values, catalog: Catalog) -> list[Entry]:
    models = split(values["models"])
    if not models:
        raise UsageError(f"--model: name at least one model, for example {next(iter(catalog.models))}")
    if values["base_url"] and (values["simulate"] or values["simulator_url"]):
        raise UsageError("--base-url and --simulate exclude each other; leave one of them out")
    if values["base_url"] or values["api_key_env"]:
        found = [catalog.adhoc(model, values["base_url"], values["api_key_env"]) for model in models]
        if values["base_url"] and not values["api_key_env"]:
            # No key of another endpoint is sent there by default.
            raise UsageError("--base-url: name the variable that holds its key with --api-key-env NAME")
        return found
    return [catalog.model(model) for model in models]


def _spec(values: Values, entries: list[Entry], simulated: bool) -> RunSpec:
    from workflows.flaws import SEVERITIES
    from workflows.prompts import PROMPT_GROUPS, PROMPT_TYPES
    from workflows.tasks import DIFFICULTIES

    rates = split(values["tool_success_rates"]) or ("0.8",)
    return RunSpec(
        models=tuple(entry.model for entry in entries),
        prompt_types=names_of("--prompt-types", values["prompt_types"] or "optimal", PROMPT_TYPES, PROMPT_GROUPS),
        difficulties=names_of("--difficulty", values["difficulty"] or "easy", DIFFICULTIES, {"all": DIFFICULTIES}),
        task_types=_task_types(values),
        tool_success_rates=tuple(dict.fromkeys(number("--tool-success-rate", rate, 0, 1) for rate in rates)),
        num_instances=whole("--num-instances", values["num_instances"] or "20", 1, MOST_INSTANCES),
        sampling={entry.model: _sampling(values, entry) for entry in entries},
        definition="",
        severity=name_of("--severity", values["severity"] or "severe", SEVERITIES),
        tool_protocol=name_of("--tool-protocol", values["tool_protocol"] or "tags", TOOL_PROTOCOLS),
        seed=whole("--seed", values["seed"] or "42", 0, 2**63 - 1),
        simulated=simulated,
        drawn_for=values.get("drawn_for", ()),
        task_library=_absolute(values["task_library"]),
        tool_registry=_absolute(values["tool_registry"]),
        skip_invalid=values["skip_invalid"],
    )


def _task_types(values: Values) -> tuple[str, ...]:
    """Return the types that were named; without a name all, as far as a library of the user's own has tasks of them."""
    from commands.workloads import open_library
    from workflows.tasks import TASK_TYPES

    if values["task_types"] is not None or not values["task_library"]:
        return names_of("--task-types", values["task_types"] or "all", TASK_TYPES, {"all": TASK_TYPES})
    files = _absolute(values["task_library"]), _absolute(values["tool_registry"])
    library = open_library(*files, skip_invalid=values["skip_invalid"])
    return tuple(name for name in TASK_TYPES if library.of_type(name))


def _absolute(path: str | None) -> str:
    return str(Path(path).resolve()) if path else ""


def _sampling(values: Values, entry: Entry) -> Sampling:
    sampling = entry.sampling
    if values["temperature"] is not None:
        sampling = replace(sampling, temperature=number("--temperature", values["temperature"], 0, 2))
    if values["max_tokens"] is not None:
        sampling = replace(sampling, max_tokens=whole("--max-tokens", values["max_tokens"], 1, 10**7))
    return sampling


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
        retry_errors=values["retry_errors"],
        fresh=values["fresh"],
    )


def _transport(given: str) -> str:
    from providers.transport import TRANSPORTS, check_installed

    name = name_of("--transport", given, TRANSPORTS)
    check_installed(name)
    return name


def _whole_or_none(values: Values, name: str, most: int) -> int | None:
    return None if values[name] is None else whole(f"--{name.replace('_', '-')}", values[name], 1, most)


def _number_or_none(values: Values, name: str, low: float, high: float) -> float | None:
    return None if values[name] is None else number(f"--{name}", values[name], low, high)


def _setting(
    flag_value: str | None, flag: str, variable: str, valid: tuple[str, ...], environment: Mapping[str, str]
) -> str:
    """Return a flag's value, else the variable's, else the first valid one."""
    if flag_value is not None:
        return name_of(flag, flag_value, valid)
    return name_of(variable, environment.get(variable) or valid[0], valid)


def _deployments(
    entries: list[Entry], spec: RunSpec, options: RunOptions, environment: Environment, simulator_url: str
) -> tuple[Deployment, ...]:
    from providers.catalog import deployments_of, simulated
    from providers.endpoints import url_problem

    if simulator_url and (problem := url_problem(simulator_url)):
        raise UsageError(f"--simulator-url {problem}")
    found = [
        deployment
        for entry in entries
        for deployment in deployments_of(
            entry,
            n_prompt_types=len(spec.prompt_types),
            rate_mode=options.rate_mode,
            environment=environment,
            shards=options.shards,
            max_workers=options.max_workers,
            qps=options.qps,
            timeout_s=options.timeout_s,
            max_attempts=options.max_attempts,
        )
    ]
    if spec.simulated:
        # Port 0 stands for the simulator that the supervisor starts; its address is filled in then.
        found = [simulated(one, simulator_url or "http://127.0.0.1:0") for one in found]
    return _staggered(found, options)


def _staggered(deployments: list[Deployment], options: RunOptions) -> tuple[Deployment, ...]:
    """Give each shard its delay after the one before: shards of one model wait for each other, models do not."""
    from providers.catalog import STAGGER_S

    delays = (0.0, *options.stagger_s) if options.stagger_s and options.stagger_s[0] != 0 else options.stagger_s
    delays = delays or STAGGER_S
    place: dict[str, int] = {}
    staggered = []
    for deployment in deployments:
        nth = place[deployment.model] = place.get(deployment.model, -1) + 1
        staggered.append(replace(deployment, start_delay_s=delays[min(nth, len(delays) - 1)]))
    return tuple(staggered)


def _check_keys(deployments: tuple[Deployment, ...], environment: Environment) -> None:
    from providers.keys import find_key, missing_message

    message = missing_message(deployments, environment)
    if not message:
        return
    usable = 0
    for deployment in deployments:
        if find_key(deployment, environment) is None:
            break
        usable += 1
    hint = f" ({usable} of {len(deployments)} keys are set: --shards {usable} uses just those)" if usable else ""
    raise UsageError(message + hint)


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
            f"--num-instances: {planned:,} trials are more than sensible ({MOST_TRIALS:,}); "
            f"ask fewer instances, or split the run by model"
        )


def planned_cells(spec: RunSpec, workload: Workload) -> list[Cell]:
    """Return every cell of a run's plan, in order."""
    return [cell for group in TrialPlan(spec, workload).groups for cell in group.cells]
