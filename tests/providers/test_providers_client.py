"""The loop of attempts against a scripted provider: what is retried, what it costs, what is told to whom."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from typing import Any

import pytest

from providers.client import AttemptSeen, ChatClient
from providers.keys import Key, Secret
from providers.rate_control import NO_HINTS, Permit, RateControl
from providers.rate_desk import Desk
from providers.rate_hints import Hints
from providers.rates import OwnSource, RateLimiter
from providers.retry import Backoff
from providers.transport import open_transport
from trials.errors import Drained, ProviderError
from trials.words import Completion, Deployment, Sampling

GOOD = {"model": "m-1", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
MESSAGES = [{"role": "user", "content": "hello"}]


class ToldLimiter(RateLimiter):
    """A fixed rate that remembers what it was told."""

    def __init__(self, qps: float, clock: Any) -> None:
        super().__init__(OwnSource(Desk(RateControl(qps, clock.now(), adaptive=False), clock)), clock)
        self.told: list[tuple[str, float, Hints]] = []

    def settle(self, permit: Permit, outcome: str, hints: Hints = NO_HINTS, tokens: float | None = None) -> None:
        self.told.append((outcome, permit.sent_at, hints))
        super().settle(permit, outcome, hints, tokens)


class Asker:
    """A client of the scripted provider, with all that it touches within reach."""

    def __init__(self, deployment: Deployment, clock: Any, transport: Any, patience_s: float) -> None:
        self.clock = clock
        self.stop = Event()
        self.seen: list[AttemptSeen] = []
        self.limiter = ToldLimiter(10.0, clock)
        self.client = ChatClient(
            deployment=deployment,
            key=Key(name="K", secret=Secret("sk-hidden")),
            limiter=self.limiter,
            transport=transport,
            observe=self.seen.append,
            clock=clock,
            backoff=Backoff(base_s=1.0, draw=lambda: 0.5),
            patience_s=patience_s,
        )

    def ask(self, trial_header: str = "") -> Completion:
        return self.client.ask(MESSAGES, sampling=Sampling(), stop=self.stop, trial_header=trial_header)

    def error(self) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            self.ask()
        return caught.value


@pytest.fixture
def asker(provider, clock, deployment_with, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Asker]]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    transport = open_transport()

    def make(patience_s: float = 600.0, **changes: Any) -> Asker:
        return Asker(deployment_with(base_url=f"{provider.url}/v1", **changes), clock, transport, patience_s)

    yield make
    transport.close()


AskerFor = Callable[..., Asker]


def test_first_good_reply_is_returned_with_its_cost(provider, asker: AskerFor) -> None:
    provider.say(200, GOOD)
    one = asker()
    completion = one.ask()
    assert (completion.text, completion.reported_model, completion.deployment) == ("hi", "m-1", "qwen-key0")
    assert (completion.attempts, completion.rate_wait_ms, completion.retry_wait_ms) == (1, 0.0, 0.0)
    assert provider.asked[0].json["messages"] == MESSAGES
    assert [(seen.number, seen.kind, seen.status) for seen in one.seen] == [(1, "ok", 200)]


@pytest.mark.parametrize("status", [429, 408, 500, 503])
def test_passing_failures_are_retried_until_a_completion_comes(provider, asker: AskerFor, status: int) -> None:
    provider.say(status, {"error": {"message": "later"}})
    provider.say(status, {"error": {"message": "later"}})
    provider.say(200, GOOD)
    one = asker()
    completion = one.ask()
    assert completion.attempts == len(provider.asked) == 3
    assert completion.retry_wait_ms == pytest.approx(1500)  # half of 1 s, then half of 2 s
    assert [seen.status for seen in one.seen] == [status, status, 200]
    assert [asked.body for asked in provider.asked] == [provider.asked[0].body] * 3


@pytest.mark.parametrize(
    ("wire", "kind", "status"),
    [
        (b"", "connection", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "connection", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "bad_reply", 200),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{", "bad_reply", 200),
    ],
    ids=["nothing", "cut body", "cut head", "truncated"],
)
def test_broken_exchanges_are_retried(provider, asker: AskerFor, wire: bytes, kind: str, status: int | None) -> None:
    provider.say_raw(wire)
    provider.say(200, GOOD)
    one = asker()
    assert one.ask().attempts == 2
    assert [(seen.kind, seen.status) for seen in one.seen] == [(kind, status), ("ok", 200)]


class Conversation(list[dict[str, str]]):
    """Messages that a weak reference can point to."""


@pytest.mark.parametrize("last", [GOOD, {"error": "still not"}], ids=["answered", "given up"])
def test_failed_attempts_do_not_hold_on_to_what_was_asked(provider, asker: AskerFor, last: dict[str, Any]) -> None:
    """Python looks for garbage seldom (processes/garbage.py), so none may be made of conversations."""
    one = asker(max_attempts=5)
    provider.say(500, {"error": "later"})
    provider.say_raw(b"")
    provider.say(200, {"no": "choices"})
    provider.say(429, {"error": "slow down"})
    provider.say(200, last)
    provider.say(400, last)
    messages = Conversation(MESSAGES)
    asked = weakref.ref(messages)
    gc.disable()
    try:
        with suppress(ProviderError):
            one.client.ask(messages, sampling=Sampling(), stop=one.stop)
        assert len({seen.kind for seen in one.seen}) >= 3
        one.seen.clear()
        del messages
        assert asked() is None
    finally:
        gc.enable()


def test_hanging_server_is_left_at_the_deployments_timeout(provider, asker: AskerFor) -> None:
    provider.hang()
    provider.say(200, GOOD)
    one = asker(timeout_s=0.3)
    assert one.ask().attempts == 2
    assert one.seen[0].kind == "timeout"


def test_attempts_are_limited_and_counted_in_the_message(provider, asker: AskerFor) -> None:
    provider.say(503, {"error": {"message": "overloaded"}})
    one = asker(max_attempts=4)
    error = one.error()
    assert len(provider.asked) == len(one.seen) == 4
    assert (error.kind, error.status, error.retryable) == ("server_error", 503, True)
    assert str(error) == "ideallab qwen-key0: HTTP 503 Service Unavailable: overloaded (after 4 attempts)"


@pytest.mark.parametrize(
    ("status", "kind", "fatal"), [(401, "access", True), (404, "access", True), (400, "rejected", False)]
)
def test_final_refusals_are_not_retried(provider, asker: AskerFor, status: int, kind: str, fatal: bool) -> None:
    provider.say(status, {"error": {"message": "no"}})
    error = asker().error()
    assert len(provider.asked) == 1
    assert (error.kind, error.fatal) == (kind, fatal)
    assert str(error).endswith("(after 1 attempt)")


def test_connection_errors_name_the_deployment_too(provider, asker: AskerFor) -> None:
    provider.say_raw(b"")
    error = asker().error()
    assert str(error).startswith("ideallab qwen-key0: the exchange with 127.0.0.1")
    assert (error.kind, error.status) == ("connection", None)


def test_retry_after_of_a_failure_is_honoured_when_it_can_be_believed(provider, asker: AskerFor) -> None:
    provider.say(503, {}, headers={"Retry-After": "7"})
    provider.say(503, {}, headers={"Retry-After": "864000"})
    provider.say(200, GOOD)
    assert asker().ask().retry_wait_ms == pytest.approx(8000)  # 7 s, then half of 2 s


def test_429s_use_up_no_attempt(provider, asker: AskerFor) -> None:
    for _ in range(5):
        provider.say(429, {})
    provider.say(503, {})
    provider.say(200, GOOD)
    assert asker(max_attempts=2).ask().attempts == 7


@pytest.mark.parametrize("retry_after", ["", "1", "864000", "-1", "soon"])
def test_request_that_meets_nothing_but_429s_ends_when_patience_does(
    provider, asker: AskerFor, retry_after: str
) -> None:
    provider.say(429, {"error": {"message": "slow down"}}, headers={"Retry-After": retry_after} if retry_after else {})
    one = asker(patience_s=100.0)
    began = one.clock.now()
    error = one.error()
    assert (error.kind, error.fatal) == ("rate_limited", False)
    assert error.attempts == len(provider.asked)
    assert f"(after {len(provider.asked)} attempts)" in str(error)
    assert 100 <= one.clock.now() - began < 150


def test_patience_counts_from_the_last_answer_that_was_no_429(provider, asker: AskerFor) -> None:
    for status in [429] * 4 + [503] + [429] * 4:
        provider.say(status, {})
    provider.say(200, GOOD)
    assert asker(patience_s=20.0).ask().attempts == 10


def test_limiter_is_asked_before_each_attempt_and_told_of_each_outcome(provider, asker: AskerFor) -> None:
    provider.say(429, {}, headers={"Retry-After": "3"})
    provider.say(500, {})
    provider.say(200, GOOD)
    one = asker(max_attempts=5)
    began = one.clock.now()
    one.ask()
    assert [told[0] for told in one.limiter.told] == ["rejected", "failed", "ok"]
    assert one.limiter.told[0][2].retry_after_s == 3.0
    assert [told[1] - began for told in one.limiter.told] == pytest.approx([0.0, 0.5, 1.0])


def test_time_waited_for_the_limiter_is_accounted_apart(provider, asker: AskerFor) -> None:
    provider.say(200, GOOD)
    one = asker()
    waits = [one.ask().rate_wait_ms for _ in range(5)]
    assert sum(waits) == pytest.approx(4 * 100, abs=1)
    assert sum(seen.rate_wait_ms for seen in one.seen) == pytest.approx(sum(waits))


def test_nothing_is_sent_once_the_run_is_stopping(provider, asker: AskerFor) -> None:
    provider.say(200, GOOD)
    one = asker()
    one.stop.set()
    with pytest.raises(Drained):
        one.ask()
    assert provider.asked == []


def test_stop_ends_a_backoff_at_once(provider, asker: AskerFor) -> None:
    provider.say(503, {}, headers={"Retry-After": "299"})
    one = asker()
    one.clock.on_wait = one.stop.set
    began = one.clock.now()
    with pytest.raises(Drained):
        one.ask()
    assert len(provider.asked) == 1
    assert one.clock.now() == began


def test_trial_is_told_to_a_simulator_alone(provider, asker: AskerFor) -> None:
    provider.say(200, GOOD)
    asker(simulated=True).ask(trial_header='{"seed":1}')
    one = asker()
    one.ask(trial_header='{"seed":1}')
    assert provider.asked[0].headers["x-simulated-trial"] == '{"seed":1}'
    assert "x-simulated-trial" not in provider.asked[1].headers
    assert one.seen[0].trial_header == '{"seed":1}'


def test_debug_texts_hold_everything_but_the_key(provider, asker: AskerFor) -> None:
    provider.say(401, {"error": {"message": "wrong key sk-hidden, friend"}}, headers={"X-Key": "sk-hidden"})
    one = asker()
    error = one.error()
    (seen,) = one.seen
    for text in (str(error), repr(error), repr(seen), seen.request_text(), seen.reply_text(), repr(one.client)):
        assert "hidden" not in text
    assert "hello" in seen.request_text()
    assert "Authorization: ****" in seen.request_text()
    assert "wrong key ****, friend" in seen.reply_text()
    assert "HTTP 401" in seen.reply_text()


def test_debug_text_of_a_reply_that_never_came_is_the_error(asker: AskerFor, provider) -> None:
    provider.say_raw(b"")
    one = asker(max_attempts=1)
    one.error()
    assert "qwen-key0" in one.seen[0].reply_text()
