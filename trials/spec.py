"""What a run asks (RunSpec) and how it asks it (RunOptions). The first decides the trials, the second never does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trials.words import Deployment, Sampling

SCHEMA_VERSION = 1
FLAWED_PREFIX = "flawed_"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The options that define trials. Two runs with equal specs ask the same, whatever their options.

    ``num_instances`` counts trials per cell; ``sampling`` maps each model to its sampling; ``definition`` is the
    workload's. ``drawn_for`` names flaws: only tasks that can carry all of them are drawn, in every cell.
    ``task_library`` and ``tool_registry`` are files of the user's own; empty stands for the built-in ones.
    ``origins`` maps each model to who serves it: a provider, or the address of an endpoint of the user's own.
    """

    models: tuple[str, ...]
    prompt_types: tuple[str, ...]
    difficulties: tuple[str, ...]
    task_types: tuple[str, ...]
    tool_success_rates: tuple[float, ...]
    num_instances: int
    sampling: Mapping[str, Sampling]
    definition: str
    severity: str = "severe"
    tool_protocol: str = "tags"
    max_turns: int = 10
    seed: int = 42
    simulated: bool = False
    drawn_for: tuple[str, ...] = ()
    task_library: str = ""
    tool_registry: str = ""
    skip_invalid: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-like dict that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunSpec:
        """Rebuild a spec from ``to_json``'s dict. Raises TypeError for unknown or missing fields."""
        fields = dict(value)
        for name in ("models", "prompt_types", "difficulties", "task_types", "tool_success_rates", "drawn_for"):
            fields[name] = tuple(fields[name])
        fields["sampling"] = {model: Sampling(**one) for model, one in fields["sampling"].items()}
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run asks: may differ each time the same run is resumed.

    ``qps`` and ``max_workers`` are per shard and final; None leaves the catalog's. ``stagger_s`` holds the delay
    of shard 2, 3, … after the one before (the last repeats), or None for ``auto``. ``patience_s`` is how long a request
    may meet nothing but 429s; ``hedge`` lets a second shard try the slowest trials of the tail.
    """

    rate_mode: str = "adaptive"
    balance: str = "pull"
    max_workers: int | None = None
    qps: float | None = None
    shards: int | None = None
    stagger_s: tuple[float, ...] | None = None
    storage_format: str = "parquet"
    max_attempts: int | None = None
    timeout_s: float | None = None
    patience_s: float = 600.0
    hedge: bool = False
    transport: str = "auto"
    debug_shards: tuple[int, ...] = ()
    retry_errors: bool = False
    fresh: bool = False
    stall_timeout_s: float = 30.0
    drain_timeout_s: float = 30.0

    def order(self, shard: int, deployment: Deployment) -> ShardOrder:
        """Return what one shard is told."""
        return ShardOrder(
            deployment=deployment,
            rate_mode=self.rate_mode,
            debug=shard in self.debug_shards,
            silence_s=self.stall_timeout_s,
            patience_s=self.patience_s,
            transport=self.transport,
            drain_timeout_s=self.drain_timeout_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOrder:
    """What one shard process is told about how to work; it finds this in its ``shard.json``. Holds no key."""

    deployment: Deployment
    rate_mode: str
    debug: bool
    silence_s: float
    patience_s: float
    transport: str
    drain_timeout_s: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-like dict that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ShardOrder:
        """Rebuild an order from ``to_json``'s dict. Raises TypeError for unknown or missing fields."""
        deployment = dict(value["deployment"])
        for name in ("key_names", "omit"):
            deployment[name] = tuple(deployment[name])
        return cls(**{**value, "deployment": Deployment(**deployment)})
