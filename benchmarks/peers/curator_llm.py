"""Curator: its LLM over as many rows, replies in its cache as it stores them."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from asked import KEY, MAX_TOKENS, MODEL, Job, lines, main, prompt


def run(job: Job) -> None:
    """Ask everything."""
    os.environ.update(OPENAI_API_KEY=KEY, TELEMETRY_ENABLED="false", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    litellm = find_spec("litellm")
    if litellm is not None and litellm.origin is not None:
        # tiktoken would load its vocabulary from the network; LiteLLM, which Curator needs, ships the same file.
        tokenizers = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
        os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    os.environ.update(CURATOR_DISABLE_RICH_DISPLAY="true", LITELLM_LOCAL_MODEL_COST_MAP="True")
    from bespokelabs import curator

    model = curator.LLM(
        model_name=MODEL,
        backend="openai",
        generation_params={"temperature": 0.0, "max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": job.base_url,
            "max_concurrent_requests": job.concurrency,
            "max_requests_per_minute": 10**8,
            "max_tokens_per_minute": 10**12,
        },
    )
    model([prompt(number) for number in range(job.n)], working_dir=str(job.folder))


def count(folder: Path) -> int:
    """Return how many replies its cache holds."""
    return lines(folder.rglob("responses_*.jsonl"))


if __name__ == "__main__":
    main(run, count)
