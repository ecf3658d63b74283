"""A script as OpenAI's cookbook shows one for many requests (``api_request_parallel_processor``), in our own words.

Requests are read from a JSON Lines file; one loop tops up a bucket of requests and one of tokens as time goes by, and
begins a task whenever both hold enough; a failed task goes to a queue and is tried again; each result is one line,
request and reply, appended to a file that is opened for it. Tokens are estimated at four characters each: the cookbook
counts with tiktoken, which would load its vocabulary from the network.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from asked import KEY, MAX_TOKENS, Job, body, main

REQUESTS_PER_MINUTE = 6_000_000.0
TOKENS_PER_MINUTE = 60_000_000_000.0
ATTEMPTS = 5
LOOP_PAUSE_S = 0.001


@dataclass
class Bucket:
    """Fills steadily up to a minute's worth."""

    per_minute: float
    holds: float = 0.0
    at: float = 0.0

    def top_up(self, now: float) -> None:
        """Add what the time since the last look has brought."""
        self.holds = min(self.per_minute, self.holds + self.per_minute * (now - self.at) / 60)
        self.at = now


@dataclass
class Request:
    """One line of the requests file, and how often it may still be tried."""

    number: int
    fields: dict[str, Any]
    tokens: int
    left: int = ATTEMPTS


class Processor:
    """Works off a file of requests."""

    def __init__(self, job: Job, requests: Iterator[Request]) -> None:
        self._job = job
        self._requests = requests
        self._again: asyncio.Queue[Request] = asyncio.Queue()
        self._in_flight: set[asyncio.Task[None]] = set()
        now = time.monotonic()
        self._request_bucket = Bucket(REQUESTS_PER_MINUTE, REQUESTS_PER_MINUTE, now)
        self._token_bucket = Bucket(TOKENS_PER_MINUTE, TOKENS_PER_MINUTE, now)

    async def run(self) -> None:
        """Begin tasks as the buckets allow, until all have ended."""
        connector = aiohttp.TCPConnector(limit=self._job.concurrency)
        async with aiohttp.ClientSession(connector=connector) as session:
            waiting = self._next()
            while waiting or self._in_flight:
                now = time.monotonic()
                self._request_bucket.top_up(now)
                self._token_bucket.top_up(now)
                while waiting and self._affords(waiting):
                    self._begin(waiting, session)
                    waiting = self._next()
                await asyncio.sleep(LOOP_PAUSE_S)
                waiting = waiting or self._next()

    def _next(self) -> Request | None:
        return next(self._requests, None) if self._again.empty() else self._again.get_nowait()

    def _affords(self, request: Request) -> bool:
        room = len(self._in_flight) < self._job.concurrency
        return room and self._request_bucket.holds >= 1 and self._token_bucket.holds >= request.tokens

    def _begin(self, request: Request, session: aiohttp.ClientSession) -> None:
        self._request_bucket.holds -= 1
        self._token_bucket.holds -= request.tokens
        request.left -= 1
        task = asyncio.create_task(self._ask(request, session))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _ask(self, request: Request, session: aiohttp.ClientSession) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        try:
            async with session.post(self._job.url, headers=headers, json=request.fields) as response:
                reply = await response.json()
        except (aiohttp.ClientError, ValueError) as problem:
            reply = {"error": repr(problem)}
        if "error" in reply and request.left:
            self._again.put_nowait(request)
        else:
            append([request.fields, reply, {"sample": request.number}], self._job.results)


def append(line: object, path: Path) -> None:
    """Append one line to a file."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_requests(path: Path) -> Iterator[Request]:
    """Yield the requests of a file."""
    with path.open() as file:
        for number, line in enumerate(file):
            yield Request(number, json.loads(line), len(line) // 4 + MAX_TOKENS)


def run(job: Job) -> None:
    """Write the requests, then work them off."""
    job.folder.mkdir(parents=True, exist_ok=True)
    requests = job.folder / "requests.jsonl"
    with requests.open("w") as file:
        file.writelines(json.dumps(body(number)) + "\n" for number in range(job.n))
    asyncio.run(Processor(job, read_requests(requests)).run())


if __name__ == "__main__":
    main(run)
