"""The project's words as frozen records. See docs/architecture.md for the glossary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from trials.record import record

if TYPE_CHECKING:
    from trials.plan import Group
    from trials.spec import RunSpec

Message = dict[str, Any]
"""One chat message in the OpenAI wire form: ``role``, ``content``, and what native tool calling adds."""

SCORED, PROVIDER_ERROR, HARNESS_ERROR, PENDING = "scored", "provider_error", "harness_error", "pending"
STATUSES = (SCORED, PROVIDER_ERROR, HARNESS_ERROR, PENDING)

FULL, PARTIAL, FAILURE = "full", "partial", "failure"
OUTCOMES = (FULL, PARTIAL, FAILURE)


QUESTION = "question"
"""The prompt type of all trials that ask a question bank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model is asked to sample; part of what a trial asks. ``extra`` are further request fields."""

    temperature: float = 0.0
    max_tokens: int = 2048
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One condition: all that the trials of a cell have in common.

    ``origin`` says who serves the model, so that equal names at different endpoints are never taken for each other.
    ``severity`` is empty for prompt types that are not flawed. ``tool_success_rate`` is in [0, 1].
    """

    model: str
    prompt_type: str
    tool_success_rate: float
    difficulty: str
    task_type: str
    severity: str = ""
    tool_protocol: str = "tags"
    sampling: Sampling = field(default_factory=Sampling)
    max_turns: int = 10
    seed: int = 42
    origin: str = ""


@record
class Trial:
    """One task asked once under one condition: the unit of work, retry, resume and dedup.

    ``number`` is its place in the run's plan; ``trial_key`` is a digest of all that determines what is asked and
    how it is marked, and is the same in every run that asks the same.
    """

    number: int
    trial_key: str
    cell: Cell
    task_id: str
    epoch: int


@record
class ToolCall:
    """A native tool call of a completion; ``arguments`` is the raw JSON text the model wrote."""

    id: str
    name: str
    arguments: str


@record
class Completion:
    """A model's whole reply to one request, with what it cost.

    ``attempts`` counts HTTP tries. ``rate_wait_ms`` was spent waiting for the rate limiter, ``retry_wait_ms`` backing
    off, ``provider_ms`` in the successful HTTP exchange. A ``cached`` one came out of the reply cache: it cost
    nothing of that, but its tokens are those of the reply. ``cost_usd`` is what was paid for it at the deployment's
    price, None where that is not known.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    reported_model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 1
    rate_wait_ms: float = 0.0
    retry_wait_ms: float = 0.0
    provider_ms: float = 0.0
    deployment: str = ""
    cached: bool = False
    cost_usd: float | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Completion:
        """Rebuild a completion from its fields as JSON. Raises TypeError for unknown or missing fields."""
        calls = tuple(ToolCall(**call) for call in value.get("tool_calls", ()))
        return cls(**{**value, "tool_calls": calls})


class Chat(Protocol):
    """Ask the model under test once; the only thing a workload knows of providers.

    ``judge`` asks the model that marks instead. ``told`` is what a simulated model is told beside the messages, so
    that it can play its part; no real one ever is. Raises ProviderError when the provider gave no usable completion,
    Drained when the run is stopping.
    """

    def __call__(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        judge: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Completion: ...


@record
class Marked:
    """What a workload says of a finished trial. Scores are in [0, 1]; None where a score has no meaning.

    ``recovery`` has none if no tool failed, ``followed_flaw`` and ``recovered`` if the prompt was not flawed.
    ``answer`` is what was taken from the reply to a question, ``target`` what was expected, ``score`` in [0, 1] how far
    they agree; ``scorer_score`` is what the scorer would have said where a judge decided. ``conversation`` is every
    message in order; ``detail`` is anything JSON-like that explains the score.
    """

    outcome: str
    error_category: str = ""
    answer: str | None = None
    target: str | None = None
    score: float | None = None
    scorer_score: float | None = None
    coverage: float | None = None
    order: float | None = None
    execution: float | None = None
    recovery: float | None = None
    efficiency: float | None = None
    followed_flaw: bool | None = None
    recovered: bool | None = None
    turns: int = 0
    tool_calls: int = 0
    tool_failures: int = 0
    deviations: tuple[str, ...] = ()
    plan_diff: str = ""
    conversation: Sequence[Message] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model's tokens cost: US dollars per million tokens of prompt (``input``) and of reply (``output``)."""

    input: float
    output: float

    def of(self, completion: Completion) -> float:
        """Return what a completion costs in US dollars; a cached one costs nothing."""
        if completion.cached:
            return 0.0
        return (completion.prompt_tokens * self.input + completion.completion_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is called: one deployment or key of a model.

    ``model`` is the base name that results are filed under, ``api_model`` what the API is asked for.
    ``key_names`` are the environment variables that may hold the key, first found wins; ``NAME#2`` means item 2
    (from 0) of a comma list. ``workers`` is a ceiling of threads, ``qps`` HTTP requests per second (the start
    value when adaptive). ``scope`` is what shares a rate limit, beside endpoint and key: the API's model, or ``*`` for
    all of them. ``price`` is None where it is not known.
    """

    name: str
    provider: str
    model: str
    api_model: str
    family: str
    api: str
    base_url: str
    key_names: tuple[str, ...]
    workers: int
    qps: float
    timeout_s: float
    max_attempts: int
    scope: str
    api_version: str = ""
    max_tokens_field: str = "max_tokens"
    omit: tuple[str, ...] = ()
    start_delay_s: float = 0.0
    simulated: bool = False
    price: Price | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Deployment:
        """Rebuild a deployment from its fields as JSON. Raises KeyError, TypeError for unknown or missing fields."""
        lists = {name: tuple(value[name]) for name in ("key_names", "omit")}
        price = Price(**value["price"]) if value.get("price") else None
        return cls(**{**value, **lists, "price": price})


class Opening(Protocol):
    """How a trial begins; a workload keeps in it what else it has worked out by then."""

    @property
    def messages(self) -> Sequence[Message]:
        """The first request."""
        ...


class Workload(Protocol):
    """A kind of work: what is asked, and how it is marked. Knows neither HTTP nor files."""

    @property
    def definition(self) -> str:
        """Digest of everything that decides what is asked and how it is marked."""
        ...

    def groups(self, spec: RunSpec) -> Iterable[Group]:
        """Return which trials there are, in the order in which they are to be asked."""
        ...

    def remarks(self, spec: RunSpec) -> Iterable[str]:
        """Return what people should know of the plan before it runs, a line each."""
        ...

    def inputs(self) -> Mapping[str, str]:
        """Return the digests of the inputs that decide what is asked, by what they are."""
        ...

    def opening(self, trial: Trial) -> Opening | None:
        """Return the trial's first request if a cached reply to it may be looked up ahead, else None."""
        ...

    def trial(self, group: Group, number: int) -> Trial:
        """Return the trial of a group that has this number in the plan; a pure function of its arguments."""
        ...

    def run(self, trial: Trial, chat: Chat, opening: Opening | None = None) -> Marked:
        """Ask and mark one trial. Deterministic given the completions; raises what ``chat`` raises.

        ``opening`` is what this workload returned for the trial, if it was asked: so it is made once.
        """
        ...
