"""What spans are called and what they carry: the GenAI and HTTP conventions where they have a name, else ``eval.``.

Source: OpenTelemetry semantic conventions 1.44 ("HTTP client spans", "Recording errors") and, built on them, those of
GenAI (status: development; repository open-telemetry/semantic-conventions-genai, "Generative AI client inference").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from trials.rows import Row
from trials.words import SCORED, Cell, Completion, Deployment, Sampling, Trial

_PORTS = {"http": 80, "https": 443}
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
_TOLD_OF_ROWS = (
    "status",
    "outcome",
    "error_category",
    "score",
    "coverage",
    "turns",
    "tool_calls",
    "tool_failures",
    "requests",
    "attempts",
    "cache_hits",
    "rate_wait_ms",
    "retry_wait_ms",
    "provider_ms",
    "cost_usd",
)
LONGEST = 200
"""Characters of what a provider calls a model or an ending; it may call it anything."""
Attributes = dict[str, Any]


def asked_of(deployment: Deployment, sampling: Sampling) -> Attributes:
    """Return what all requests to a deployment have in common."""
    found = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(deployment.provider, deployment.provider),
        "gen_ai.request.model": deployment.api_model,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "eval.deployment": deployment.name,
        **server_of(deployment.base_url),
    }
    if "temperature" not in deployment.omit:
        found["gen_ai.request.temperature"] = sampling.temperature
    further = {"top_p": float, "frequency_penalty": float, "presence_penalty": float, "seed": int}
    for name, kind in further.items():
        if isinstance(sampling.extra.get(name), int | float):
            found[f"gen_ai.request.{name}"] = kind(sampling.extra[name])
    return found


def server_of(url: str) -> Attributes:
    """Return the address and port of a URL."""
    parts = urlsplit(url)
    found: Attributes = {"server.address": parts.hostname or "", "server.port": parts.port or _PORTS.get(parts.scheme)}
    return present(found)


def url_of(url: str) -> str:
    """Return a URL without what may be secret in it: a user's name, and the query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def answered(completion: Completion) -> Attributes:
    """Return what a completion says of itself, but for what the model wrote."""
    return present(
        {
            "gen_ai.response.model": completion.reported_model[:LONGEST] or None,
            "gen_ai.response.finish_reasons": (completion.finish_reason[:LONGEST],),
            "gen_ai.usage.input_tokens": completion.prompt_tokens,
            "gen_ai.usage.output_tokens": completion.completion_tokens,
            "eval.cached": completion.cached,
            "eval.attempts": completion.attempts,
            "eval.rate_wait_ms": completion.rate_wait_ms,
            "eval.retry_wait_ms": completion.retry_wait_ms,
        }
    )


def trial_of(trial: Trial) -> Attributes:
    """Return what a trial is."""
    return {
        "eval.trial_key": trial.trial_key,
        "eval.trial_number": trial.number,
        "eval.task_id": trial.task_id,
        "eval.epoch": trial.epoch,
        **cell_of(trial.cell),
    }


def cell_of(cell: Cell) -> Attributes:
    """Return the condition of a trial; what a kind of work has no word for is left out."""
    found = {
        "eval.model": cell.model,
        "eval.prompt_type": cell.prompt_type,
        "eval.tool_success_rate": cell.tool_success_rate,
        "eval.difficulty": cell.difficulty,
        "eval.task_type": cell.task_type,
        "eval.severity": cell.severity,
    }
    return {name: value for name, value in found.items() if value != ""}


def ended_as(row: Row, *, content: bool) -> Attributes:
    """Return how a trial ended. What quotes a reply (its answer, an error's text) is content."""
    names = (*_TOLD_OF_ROWS, "answer", "target", "error_message") if content else _TOLD_OF_ROWS
    found: Attributes = {f"eval.{name}": row[name] for name in names if row.get(name) not in (None, "")}
    if row["status"] != SCORED:
        found["error.type"] = row["error_category"] or row["status"]
    return found


def present(attributes: Mapping[str, Any]) -> Attributes:
    """Return what has a value: OpenTelemetry knows no null."""
    return {name: value for name, value in attributes.items() if value is not None}
