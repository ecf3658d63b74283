"""What a run asks (RunSpec) and how it asks it (RunOptions). The first decides the trials, the second never does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trials.words import Deployment, Sampling

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """What a run of the tool-use benchmark asks.

    ``num_instances`` counts trials per cell. ``drawn_for`` names flaws: only tasks that can carry all of them are
    drawn, in every cell. ``task_library`` and ``tool_registry`` are files of the user's own; empty stands for the
    built-in ones.
    """

    prompt_types: tuple[str, ...]
    difficulties: tuple[str, ...]
    task_types: tuple[str, ...]
    tool_success_rates: tuple[float, ...]
    num_instances: int
    severity: str = "severe"
    tool_protocol: str = "tags"
    max_turns: int = 10
    drawn_for: tuple[str, ...] = ()
    task_library: str = ""
    tool_registry: str = ""
    skip_invalid: bool = False

    @property
    def title(self) -> str:
        """What is asked, in a word or two."""
        prompts = self.prompt_types
        return f"{'+'.join(prompts) if len(prompts) <= 2 else f'{len(prompts)}-prompts'}-x{self.num_instances}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSpec:
    """What a run over a question bank asks: ``questions`` of them, ``epochs`` times each.

    ``bank`` is the digest of the prepared bank, which holds the questions and all that their prompts are made of.
    ``judge`` is the model that marks the answers; without one the scorer alone does.
    """

    bank: str
    name: str
    questions: int
    scorer: str
    scorer_options: Mapping[str, str] = field(default_factory=dict)
    epochs: int = 1
    judge: str = ""

    @property
    def title(self) -> str:
        """What is asked, in a word or two."""
        return f"{self.name}-x{self.questions}" + (f"-{self.epochs}-epochs" if self.epochs > 1 else "")


_KINDS: Mapping[str, type[WorkflowSpec] | type[QuestionSpec]] = {"workflow": WorkflowSpec, "questions": QuestionSpec}
_TUPLES = ("prompt_types", "difficulties", "task_types", "tool_success_rates", "drawn_for")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The options that define trials. Two runs with equal specs ask the same, whatever their options.

    ``asks`` is what the run's kind of work needs to know. ``sampling`` maps each model to its sampling, ``origins`` to
    who serves it: a provider, or the address of an endpoint of the user's own. ``definition`` is the workload's.
    """

    models: tuple[str, ...]
    asks: WorkflowSpec | QuestionSpec
    sampling: Mapping[str, Sampling]
    definition: str
    seed: int = 42
    simulated: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-like dict that ``from_json`` reads back."""
        value = asdict(self)
        kind = next(name for name, kind in _KINDS.items() if isinstance(self.asks, kind))
        return {**value, "asks": {"kind": kind, **value["asks"]}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunSpec:
        """Rebuild a spec from ``to_json``'s dict. Raises KeyError, TypeError for unknown or missing fields."""
        if "asks" not in value:
            value = _nested(value)
        asked = dict(value["asks"])
        kind: Any = _KINDS[asked.pop("kind")]
        asks = kind(**{name: tuple(one) if name in _TUPLES else one for name, one in asked.items()})
        sampling = {model: Sampling(**one) for model, one in value["sampling"].items()}
        return cls(**{**value, "models": tuple(value["models"]), "asks": asks, "sampling": sampling})


def _nested(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec as it is spelt now, from one of before there were question banks."""
    names = {one.name for one in fields(WorkflowSpec)}
    asks = {"kind": "workflow", **{name: one for name, one in value.items() if name in names}}
    return {**{name: one for name, one in value.items() if name not in names}, "asks": asks}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run asks: may differ each time the same run is resumed.

    ``qps`` and ``max_workers`` are per shard and final; None leaves the catalog's. ``stagger_s`` holds the delay of
    shard 2, 3, … after the one before (the last repeats), or None for ``auto``. ``patience_s`` is how long a request
    may meet nothing but 429s; ``hedge`` lets a second shard try the slowest trials of the tail. ``cache`` is where
    replies are kept for ``cache_ttl_s``, a URL without a password. ``max_cost_usd`` bounds what the run may cost, with
    all its starts; after ``deadline_s`` a start drains. Each deployment or key is worked for by ``replicas`` shards,
    which share its limit. With the engine ``ray`` shards run on the nodes of a cluster. Metrics are served at
    ``metrics_port`` of ``metrics_host``: 0 for a free port, None for not at all.
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
    cache: str = "off"
    cache_ttl_s: float = 3600.0
    max_cost_usd: float | None = None
    deadline_s: float | None = None
    debug_shards: tuple[int, ...] = ()
    retry_errors: bool = False
    fresh: bool = False
    stall_timeout_s: float = 30.0
    drain_timeout_s: float = 30.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    replicas: int = 1
    engine: str = "local"
    ray_address: str = ""
    gpus_per_shard: float = 0.0

    def order(
        self, shard: int, deployment: Deployment, judge: Deployment | None = None, trace: TraceOrder | None = None
    ) -> ShardOrder:
        """Return what one shard is told."""
        return ShardOrder(
            deployment=deployment,
            judge=judge,
            rate_mode=self.rate_mode,
            debug=shard in self.debug_shards,
            silence_s=self.stall_timeout_s,
            patience_s=self.patience_s,
            transport=self.transport,
            cache=self.cache,
            cache_ttl_s=self.cache_ttl_s,
            drain_timeout_s=self.drain_timeout_s,
            trace=trace,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceOrder:
    """That a shard's trials are to be traced; where to is in the environment, since that may hold a key.

    ``parent`` is the shard's span in the form of W3C Trace Context, empty for none. ``content``: what was said, too.
    """

    run_id: str
    shard: int
    parent: str = ""
    content: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOrder:
    """What one shard process is told about how to work; it finds this in its ``shard.json``. Holds no key.

    With ``leases`` its limits are shared with other nodes, by way of who started it.
    """

    deployment: Deployment
    judge: Deployment | None
    rate_mode: str
    debug: bool
    silence_s: float
    patience_s: float
    transport: str
    cache: str
    cache_ttl_s: float
    drain_timeout_s: float
    trace: TraceOrder | None = None
    leases: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-like dict that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ShardOrder:
        """Rebuild an order from ``to_json``'s dict. Raises TypeError for unknown or missing fields."""
        judge = Deployment.from_json(value["judge"]) if value["judge"] else None
        trace = TraceOrder(**value["trace"]) if value["trace"] else None
        return cls(**{**value, "deployment": Deployment.from_json(value["deployment"]), "judge": judge, "trace": trace})
