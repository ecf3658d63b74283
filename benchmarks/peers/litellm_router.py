"""LiteLLM's Router, asynchronous: as many coroutines as may be in flight take numbers; results as JSON lines."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
import logging
import os
from itertools import count
from typing import Any

from asked import KEY, MAX_TOKENS, MODEL, Job, Store, main, messages


async def ask_all(job: Job) -> None:
    """Ask everything."""
    import litellm

    litellm.suppress_debug_info = True
    parameters = {"model": f"openai/{MODEL}", "api_base": job.base_url, "api_key": KEY}
    router = litellm.Router(model_list=[{"model_name": MODEL, "litellm_params": parameters}], num_retries=2)
    store, numbers = Store(job.results), count()
    await asyncio.gather(*(work(job, store, numbers, router) for _ in range(job.concurrency)))


async def work(job: Job, store: Store, numbers: count[int], router: Any) -> None:
    """Ask one after another until none is left."""
    while (number := next(numbers)) < job.n:
        reply = await router.acompletion(
            model=MODEL, messages=messages(number), temperature=0.0, max_tokens=MAX_TOKENS, timeout=150
        )
        store.add(number, reply.model_dump())


def run(job: Job) -> None:
    """Ask everything, quietly and without its look for new prices."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    asyncio.run(ask_all(job))


if __name__ == "__main__":
    main(run)
