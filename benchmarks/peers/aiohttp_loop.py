"""aiohttp without anything around it: as many coroutines as may be in flight take numbers; on uvloop if it is there."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count

import aiohttp
from asked import KEY, Job, Store, body, main


async def ask_all(job: Job) -> None:
    """Ask everything."""
    store, numbers = Store(job.results), count()
    connector = aiohttp.TCPConnector(limit=job.concurrency)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {KEY}"}) as session:
        await asyncio.gather(*(work(job, store, numbers, session) for _ in range(job.concurrency)))


async def work(job: Job, store: Store, numbers: count[int], session: aiohttp.ClientSession) -> None:
    """Ask one after another until none is left."""
    while (number := next(numbers)) < job.n:
        async with session.post(job.url, json=body(number)) as response:
            store.add(number, await response.json())


def run(job: Job) -> None:
    """Ask everything."""
    with suppress(ImportError):
        import uvloop

        uvloop.run(ask_all(job))
        return
    asyncio.run(ask_all(job))


if __name__ == "__main__":
    main(run)
