"""OpenAI's own client in a thread pool, results as JSON lines."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from asked import KEY, MAX_TOKENS, MODEL, Job, Store, main, messages
from openai import DEFAULT_CONNECTION_LIMITS, DefaultHttpxClient, OpenAI


def run(job: Job) -> None:
    """Ask everything."""
    # By default it keeps 100 connections alive; which library the class of the limits is from depends on the version.
    limits = type(DEFAULT_CONNECTION_LIMITS)(max_connections=job.concurrency, max_keepalive_connections=job.concurrency)
    client = OpenAI(base_url=job.base_url, api_key=KEY, http_client=DefaultHttpxClient(limits=limits))
    store = Store(job.results)

    def ask(number: int) -> None:
        reply = client.chat.completions.create(
            model=MODEL, messages=messages(number), temperature=0.0, max_tokens=MAX_TOKENS
        )
        store.add(number, reply.model_dump())

    with ThreadPoolExecutor(job.concurrency) as pool:
        for _ in pool.map(ask, range(job.n)):
            pass


if __name__ == "__main__":
    main(run)
