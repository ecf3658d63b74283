"""Every network fault on both transports: bounded time, the right status, no key told, and the worker goes on."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from fault_proxy import FaultProxy, NetworkFault, Reply
from network_faults import NETWORK_FAULTS

from batch_test_runner import Asked, TrialRunner, Work, WorkerPool
from providers.client import AttemptSeen, ChatClient
from providers.clock import MonotonicClock
from providers.keys import Key, Secret
from providers.rate_control import RateControl
from providers.rate_desk import Desk
from providers.rates import OwnSource, RateLimiter
from providers.retry import Backoff
from providers.transport import open_transport
from trials.words import Cell, Completion, Deployment, Marked, Message, Sampling, Trial, Workload

KEY = "sk-network-never-to-be-told"
TIMEOUT_S = 0.4
ATTEMPTS = 3
BOUND_S = 10.0
"""A trial's three attempts and the waits between them take at most 2 s; the rest is for a busy machine."""

CELL = Cell(model="m", prompt_type="optimal", tool_success_rate=1.0, difficulty="easy", task_type="simple_task")
ROW = Mapping[str, Any]


async def answer(request: bytes) -> Reply:
    """Say what was asked, so that a reply can be told from that to another request."""
    asked = json.loads(request.partition(b"\r\n\r\n")[2])["messages"][-1]["content"]
    choice = {"message": {"role": "assistant", "content": f"to {asked}" + "." * 400}, "finish_reason": "stop"}
    return Reply(200, ("Content-Type: application/json",), json.dumps({"choices": [choice]}).encode())


class OneQuestion:
    """A workload that asks once and marks whether the answer is to that question."""

    definition = "one question"

    def run(self, trial: Trial, chat: Callable[..., Completion], opening: object = None) -> Marked:
        said = chat([{"role": "user", "content": trial.task_id}]).text
        right = said.startswith(f"to {trial.task_id}.")
        return Marked(outcome="full" if right else "failure", detail={"worker": threading.get_ident()})


class Shard:
    """One worker, one client, one transport, behind a network that may fail."""

    def __init__(self, proxy: FaultProxy, transport: str) -> None:
        self.proxy = proxy
        self.attempts: list[AttemptSeen] = []
        self.workers: set[int] = set()
        self.heals_after_one = False
        self._ended: queue.SimpleQueue[ROW] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._transport = open_transport(transport)
        clock = MonotonicClock()
        source = OwnSource(Desk(RateControl(1000.0, clock.now(), adaptive=False), clock))
        self._client = ChatClient(
            deployment=_deployment(proxy.url),
            key=Key(name="K", secret=Secret(KEY)),
            limiter=RateLimiter(source, clock),
            transport=self._transport,
            observe=self._seen,
            backoff=Backoff(base_s=0.01),
        )
        runner = TrialRunner(cast(Workload, OneQuestion()), self._ask, self._record, Asked.of(self._client.deployment))
        self._pool = WorkerPool(lambda work: self._ended.put(runner.run(work) or {}), max_workers=1)
        self._number = 0

    def run(self) -> ROW:
        """Run one trial; return its row. Fails if it takes too long."""
        self._number += 1
        self.attempts.clear()
        trial = Trial(number=self._number, trial_key=str(self._number), cell=CELL, task_id=f"q{self._number}", epoch=0)
        self._pool.add([Work(trial=trial)])
        return self._ended.get(timeout=BOUND_S)

    def close(self) -> None:
        self._stop.set()
        self._pool.stop()
        self._pool.join(BOUND_S)
        self._transport.close()

    def _ask(
        self,
        trial: Trial,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        judge: bool = False,
        told: Mapping[str, Any] | None = None,
    ) -> Completion:
        self.workers.add(threading.get_ident())
        return self._client.ask(messages, tools, sampling=Sampling(), stop=self._stop)

    def _seen(self, attempt: AttemptSeen) -> None:
        self.attempts.append(attempt)
        if self.heals_after_one:
            self.proxy.heal()

    def _record(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "ended":
            assert KEY not in repr(event)


def _deployment(url: str) -> Deployment:
    return Deployment(
        name="behind-the-proxy",
        provider="custom",
        model="m",
        api_model="m",
        family="m",
        api="openai",
        base_url=f"{url}/v1",
        key_names=("K",),
        workers=1,
        qps=1000.0,
        timeout_s=TIMEOUT_S,
        max_attempts=ATTEMPTS,
        scope="m",
    )


@pytest.fixture(params=["curl", "requests"])
def shard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shard]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    proxy = FaultProxy(answer)
    made = Shard(proxy, request.param)
    yield made
    made.close()
    proxy.close()


def well(row: ROW) -> bool:
    return (row["status"], row.get("outcome")) == ("scored", "full")


@pytest.mark.parametrize("fault", NETWORK_FAULTS, ids=lambda fault: fault.name)
def test_a_network_fault_is_told_for_what_it_is_and_leaves_the_worker_well(shard: Shard, fault: NetworkFault) -> None:
    assert well(shard.run())

    shard.proxy.begin(fault)
    struck = shard.run()
    assert shard.proxy.met or fault.act is None
    if fault.becomes:
        assert struck["status"] == "provider_error"
        assert struck.get("outcome") is None
        assert struck["error_category"] in fault.becomes
        assert struck["attempts"] == (1 if fault.final else ATTEMPTS)
        assert "behind-the-proxy" in struck["error_message"]
        assert KEY not in struck["error_message"]
    else:
        assert well(struck)

    shard.heals_after_one = True
    again = shard.run()
    if fault.final:
        assert again["status"] == "provider_error"
    else:
        assert well(again)
        assert again["attempts"] <= ATTEMPTS
    assert KEY not in "".join(seen.request_text() + seen.reply_text() for seen in shard.attempts)

    shard.proxy.heal()
    assert [well(shard.run()) for _ in range(3)] == [True] * 3
    assert len(shard.workers) == 1
