"""Who can be asked: models and their families as data, resolved into the deployments that a run calls.

The built-in catalog lies beside this file; a user's is laid over it, field by field. Holds no key and sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from providers.catalog_file import Table, nearest, read_catalog_file
from providers.endpoints import AZURE, url_problem
from providers.keys import key_name_problem
from trials.errors import UsageError
from trials.words import Deployment, Price, Sampling

BUILT_IN = Path(__file__).with_name("catalog.toml")
GENERIC = "generic"
STAGGER_S = (0.0, 30.0, 20.0)
"""Documented start delays: each counted from the shard before, the last one repeats."""

_DEFAULTS: Table = {
    "api_model": "{model}",
    "base_url": "",
    "base_url_names": [],
    "key_names": [],
    "api_version": "",
    "api_version_names": [],
    "prompt_multiplier": False,
    "joint_limits": False,
    "timeout_s": 150.0,
    "max_attempts": 5,
    "temperature": 0.0,
    "max_tokens": 2048,
    "max_tokens_field": "max_tokens",
    "omit": [],
    "extra": {},
    "price": "",
    "instances": [{"name": "{model}"}],
}
_REQUIRED = ("provider", "api", "workers", "qps")
_OF_INSTANCES = ("api_model", "base_url", "base_url_names", "key_names", "workers", "qps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One of the deployments or keys that a model is split over. Workers are before the prompt multiplier."""

    name: str
    api_model: str
    base_url: str
    base_url_names: tuple[str, ...]
    key_names: tuple[str, ...]
    workers_adaptive: int
    workers_fixed: int
    qps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All that the catalog says of one model. A ``price`` that is a text names one in a list of prices (prices.py)."""

    model: str
    family: str
    provider: str
    api: str
    api_version: str
    api_version_names: tuple[str, ...]
    prompt_multiplier: bool
    joint_limits: bool
    timeout_s: float
    max_attempts: int
    sampling: Sampling
    max_tokens_field: str
    omit: tuple[str, ...]
    instances: tuple[Instance, ...]
    price: Price | str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Every model that can be asked by its name."""

    models: Mapping[str, Entry]
    generic: Entry

    def model(self, name: str) -> Entry:
        """Return a model's entry; names keep their case. Raises UsageError with the nearest names."""
        if name not in self.models:
            raise UsageError(
                f"unknown model {name!r}{nearest(name, self.models)} "
                "(a model of your own: --catalog FILE, or --base-url URL --api-key-env NAME)"
            )
        return self.models[name]

    def adhoc(self, model: str, base_url: str | None = None, key_name: str | None = None) -> Entry:
        """Return an entry for any model behind any OpenAI-compatible endpoint.

        Without ``base_url`` it is OPENAI_BASE_URL or OpenAI's own, without ``key_name`` OPENAI_API_KEY. Raises
        UsageError for a name or URL that cannot be used.
        """
        if not model.strip() or not model.isprintable():
            raise UsageError("--model must be a name in one line, and not empty")
        if base_url is not None and (problem := url_problem(base_url)):
            raise UsageError(f"--base-url {problem}")
        if key_name is not None and (problem := key_name_problem(key_name)):
            raise UsageError(f"--api-key-env {problem}")
        instances = tuple(
            replace(
                instance,
                name=instance.name.replace("{model}", model),
                api_model=instance.api_model.replace("{model}", model),
                base_url=base_url or instance.base_url,
                base_url_names=() if base_url else instance.base_url_names,
                key_names=(key_name,) if key_name else instance.key_names,
            )
            for instance in self.generic.instances
        )
        return replace(self.generic, model=model, instances=instances)


def load_catalog(user_file: Path | None = None) -> Catalog:
    """Return the built-in catalog with the user's file laid over it. Raises UsageError, one line with the place."""
    tables = read_catalog_file(BUILT_IN)
    source = BUILT_IN
    if user_file is not None:
        source, own = user_file, read_catalog_file(user_file)
        for kind, named in own.items():
            for name, fields in named.items():
                tables[kind][name] = {**tables[kind].get(name, {}), **fields}
    families = tables["families"]
    models = {name: _entry(name, table, families, source) for name, table in tables["models"].items()}
    generic = _entry("{model}", {"family": GENERIC}, families, source)
    return Catalog(models=models, generic=generic)


def deployments_of(
    entry: Entry,
    *,
    n_prompt_types: int,
    rate_mode: str,
    environment: Mapping[str, str],
    shards: int | None = None,
    max_workers: int | None = None,
    qps: float | None = None,
    timeout_s: float | None = None,
    max_attempts: int | None = None,
) -> tuple[Deployment, ...]:
    """Return the deployments that a model's trials are split over, in order: one a shard.

    ``shards`` keeps the first ones only. ``max_workers`` and ``qps`` are final, without the prompt multiplier. An
    endpoint that no variable gives, or gives wrongly, is spelt ``$NAME``; keys.missing_message tells it.
    """
    multiplier = max(n_prompt_types, 1) if entry.prompt_multiplier else 1
    return tuple(
        Deployment(
            name=instance.name,
            provider=entry.provider,
            model=entry.model,
            api_model=instance.api_model,
            family=entry.family,
            api=entry.api,
            base_url=_base_url(instance, environment),
            key_names=instance.key_names,
            workers=max_workers or _workers(instance, rate_mode) * multiplier,
            qps=qps or instance.qps,
            timeout_s=timeout_s or entry.timeout_s,
            max_attempts=max_attempts or entry.max_attempts,
            scope=_scope(entry, instance),
            api_version=_first_set(entry.api_version_names, environment)[1] or entry.api_version,
            max_tokens_field=entry.max_tokens_field,
            omit=entry.omit,
            start_delay_s=STAGGER_S[min(place, len(STAGGER_S) - 1)],
            price=entry.price if isinstance(entry.price, Price) else None,
        )
        for place, instance in enumerate(entry.instances[:shards])
    )


def endpoint_of(entry: Entry, environment: Mapping[str, str]) -> str:
    """Return the base URL that a model's first instance is asked at."""
    return _base_url(entry.instances[0], environment)


def simulated(deployment: Deployment, url: str) -> Deployment:
    """Return the same deployment at a simulator's root ``url``, in its own API's URL form.

    An Azure deployment is asked below ``{url}/openai/…``, any other below ``{url}/v1``.
    """
    root = url.rstrip("/").removesuffix("/v1")
    return replace(deployment, base_url=root if deployment.api == AZURE else f"{root}/v1", simulated=True)


def _entry(model: str, table: Table, families: Table, source: Path) -> Entry:
    place = f"catalog {source}: [models.{model}]"
    if "family" not in table:
        raise UsageError(f"{place} field 'family' is missing; known: {', '.join(sorted(families))}")
    family = table["family"]
    if family not in families:
        raise UsageError(f"{place} family: unknown family {family!r}{nearest(family, families)}")
    fields = _laid_over({**_DEFAULTS, **families[family]}, table)
    for name in _REQUIRED:
        if name not in fields:
            raise UsageError(f"catalog {source}: [families.{family}] field {name!r} is missing")
    if fields["api"] == AZURE and not (fields["api_version"] or fields["api_version_names"]):
        raise UsageError(f"catalog {source}: [families.{family}] field 'api_version' is missing")
    return Entry(
        model=model,
        family=family,
        provider=fields["provider"],
        api=fields["api"],
        api_version=fields["api_version"],
        api_version_names=tuple(fields["api_version_names"]),
        prompt_multiplier=fields["prompt_multiplier"],
        joint_limits=fields["joint_limits"],
        timeout_s=float(fields["timeout_s"]),
        max_attempts=fields["max_attempts"],
        sampling=Sampling(
            temperature=float(fields["temperature"]), max_tokens=fields["max_tokens"], extra=fields["extra"]
        ),
        max_tokens_field=fields["max_tokens_field"],
        omit=tuple(fields["omit"]),
        price=Price(**fields["price"]) if isinstance(fields["price"], dict) else fields["price"],
        instances=tuple(_instance(model, fields, one, place) for one in fields["instances"]),
    )


def _instance(model: str, fields: Table, own: Table, place: str) -> Instance:
    fields = _laid_over({name: fields[name] for name in _OF_INSTANCES}, own)
    if not fields["key_names"]:
        raise UsageError(f"{place} field 'key_names' is missing")
    if not fields["base_url"] and not fields["base_url_names"]:
        raise UsageError(f"{place} field 'base_url' or 'base_url_names' is missing")
    adaptive, fixed = _both_modes(fields["workers"])
    return Instance(
        name=fields["name"].replace("{model}", model),
        api_model=fields["api_model"].replace("{model}", model),
        base_url=fields["base_url"],
        base_url_names=tuple(fields["base_url_names"]),
        key_names=tuple(fields["key_names"]),
        workers_adaptive=adaptive,
        workers_fixed=fixed,
        qps=float(fields["qps"]),
    )


def _laid_over(base: Table, own: Table) -> Table:
    """A table that says where to call means that place: no variable or default of a wider table moves it."""
    if "base_url" in own or "base_url_names" in own:
        base = {**base, "base_url": "", "base_url_names": []}
    return {**base, **own}


def _both_modes(workers: Any) -> tuple[int, int]:
    return (workers["adaptive"], workers["fixed"]) if isinstance(workers, dict) else (workers, workers)


def _workers(instance: Instance, rate_mode: str) -> int:
    return instance.workers_fixed if rate_mode == "fixed" else instance.workers_adaptive


def _base_url(instance: Instance, environment: Mapping[str, str]) -> str:
    name, value = _first_set(instance.base_url_names, environment)
    if value:
        return f"${name}" if url_problem(value) else value
    return instance.base_url or f"${instance.base_url_names[0]}"


def _first_set(names: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the first variable that is set and not blank, with its value; two empty texts if none is."""
    found = ((name, environment.get(name, "").strip()) for name in names)
    return next(((name, value) for name, value in found if value), ("", ""))


def _scope(entry: Entry, instance: Instance) -> str:
    """Return what shares its limits beside endpoint and key: one model, or all that a key asks."""
    return "*" if entry.joint_limits else instance.api_model
