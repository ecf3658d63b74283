"""Whom a run asks: models, deployments and keys, from the options, the catalog and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from commands.values import split
from trials.errors import UsageError
from trials.spec import RunOptions
from trials.words import Deployment

if TYPE_CHECKING:
    from providers.catalog import Catalog, Entry
    from providers.keys import Environment

Values = Mapping[str, Any]


def judge_of(values: Values, catalog: Catalog) -> Entry | None:
    """Return the entry of the model that marks, if one is asked for: at --base-url, too, if that is given."""
    return entries_of({**values, "models": (values["judge_model"],)}, catalog)[0] if values["judge_model"] else None


def origins_of(values: Values, entries: list[Entry], environment: Mapping[str, str]) -> dict[str, str]:
    """Return who serves each model: its provider or, for a model that is in no catalog, the endpoint."""
    if values["base_url"] or values["api_key_env"]:
        endpoint = values["base_url"] or environment.get("OPENAI_BASE_URL") or "openai"
        return {entry.model: endpoint.rstrip("/") for entry in entries}
    return {entry.model: entry.provider for entry in entries}


def entries_of(values: Values, catalog: Catalog) -> list[Entry]:
    """Return the catalog's entries of the models asked for. Raises UsageError."""
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


def deployments_for(
    entries: list[Entry],
    options: RunOptions,
    environment: Environment,
    *,
    n_prompt_types: int,
    simulated: bool,
    simulator_url: str,
) -> tuple[Deployment, ...]:
    """Return what is called by each shard. Raises UsageError for a wrong --simulator-url."""
    from providers.catalog import deployments_of
    from providers.catalog import simulated as simulated_at
    from providers.endpoints import url_problem

    if simulator_url and (problem := url_problem(simulator_url)):
        raise UsageError(f"--simulator-url {problem}")
    found = [
        deployment
        for entry in entries
        for deployment in deployments_of(
            entry,
            n_prompt_types=n_prompt_types,
            rate_mode=options.rate_mode,
            environment=environment,
            shards=options.shards,
            max_workers=options.max_workers,
            qps=options.qps,
            timeout_s=options.timeout_s,
            max_attempts=options.max_attempts,
        )
        for _ in range(options.replicas)
    ]
    if simulated:
        # Port 0 stands for the simulator that the supervisor starts; its address is filled in then.
        found = [simulated_at(one, simulator_url or "http://127.0.0.1:0") for one in found]
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


def check_keys(deployments: tuple[Deployment, ...], environment: Environment) -> None:
    """Raise UsageError if a key is missing; say how to do with those that are there."""
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
