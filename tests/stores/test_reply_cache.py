"""What holds for a reply cache wherever it is kept."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from asking_process import ROOT, calls, start_asking
from redis_servers import RedisServer, running_server, until

from stores.cache_keeper import LEASE_S
from stores.reply_cache import check_cache, open_cache
from trials.errors import Drained, ProviderError, UsageError
from trials.words import Completion, ToolCall

KEY, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 4
GOOD = Completion(text="42", provider_ms=70.0, attempts=3, rate_wait_ms=5.0, retry_wait_ms=9.0)


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def urls(tmp_path, server: RedisServer) -> dict[str, str]:
    with server.client() as client:
        client.flushall()
    return {"sqlite": f"sqlite:{tmp_path}/deep/cache.db", "redis": f"redis://127.0.0.1:{server.port}/0"}


@pytest.fixture(params=["sqlite", "redis"])
def url(request, urls) -> str:
    return urls[request.param]


@pytest.fixture
def opened(url):
    """Opens caches, each as another process would; they may not warn."""
    warnings: list[str] = []
    with ExitStack() as stack:

        def one(ttl_s: float = 600.0):
            cache = open_cache(url, ttl_s=ttl_s, warn=warnings.append)
            stack.callback(cache.close)
            return cache

        yield one
    assert warnings == []


def put(opened, key: str, reply: Completion) -> None:
    cache = opened()
    assert cache.ask_once(key, lambda: reply, threading.Event()) == reply
    cache.close()


def test_a_reply_comes_back_whole_and_free_of_charge(opened):
    call = ToolCall(id="1", name="add", arguments='{"a": "\\u0000\x1e\x1f"}')
    reply = Completion(
        text="线 😀 \x00\x1e\x1f 'quoted'",
        tool_calls=(call,),
        finish_reason="tool_calls",
        reported_model="m-1",
        prompt_tokens=7,
        completion_tokens=9,
        deployment="d",
        provider_ms=12.5,
    )
    put(opened, KEY, reply)
    put(opened, OTHER, GOOD)
    cache = opened()
    found = cache.look_up([KEY, OTHER, "00" * 16])
    assert set(found) == {KEY, OTHER}
    back = found[KEY]
    assert (back.text, back.tool_calls, back.finish_reason, back.reported_model) == (
        reply.text,
        reply.tool_calls,
        "tool_calls",
        "m-1",
    )
    assert (back.prompt_tokens, back.completion_tokens, back.deployment) == (7, 9, "d")
    assert found[OTHER] == Completion(text="42", attempts=0, cached=True)
    assert (cache.counts.hits, cache.counts.misses) == (2, 1)


def test_many_keys_are_looked_up_at_once(opened):
    keys = [f"{number:032x}" for number in range(3000)]
    cache = opened()
    for key in keys[::2]:
        cache.ask_once(key, lambda key=key: Completion(text=key), threading.Event())
    cache.close()
    assert {key: reply.text for key, reply in opened().look_up(keys).items()} == {key: key for key in keys[::2]}
    assert opened().look_up([]) == {}


@pytest.mark.parametrize(
    "reply",
    [
        Completion(text="half an ans", finish_reason="length"),
        Completion(text="no", finish_reason="content_filter"),
        Completion(text="no", finish_reason="something new"),
        Completion(text=""),
        Completion(text=" \n"),
        Completion(text="\ud800 is half a character"),
        Completion(text="x" * 1_100_000),
    ],
)
def test_what_did_not_end_well_or_cannot_be_written_is_not_stored(opened, reply):
    put(opened, KEY, reply)
    assert opened().look_up([KEY]) == {}


def test_a_failure_is_raised_and_not_stored(opened):
    def fail() -> Completion:
        raise ProviderError("no", kind="timeout")

    cache = opened()
    with pytest.raises(ProviderError):
        cache.ask_once(KEY, fail, threading.Event())
    assert opened().ask_once(KEY, lambda: GOOD, threading.Event()) == GOOD


def test_a_reply_is_not_older_than_the_reader_wants_nor_than_the_writer_said(opened):
    put(opened, KEY, GOOD)
    brief = opened(0.3)
    brief.ask_once(OTHER, lambda: GOOD, threading.Event())
    brief.close()
    assert set(opened(600).look_up([KEY])) == {KEY}
    time.sleep(0.5)
    assert opened(0.3).look_up([KEY, OTHER]) == {}
    assert set(opened(600).look_up([KEY])) == {KEY}


def test_a_hundred_calls_in_three_processes_are_one(url, tmp_path):
    ledger = tmp_path / "ledger"
    asking = [start_asking(url, KEY, threads, 1.5, ledger) for threads in (34, 33, 33)]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in asking]
    assert calls(ledger) == 1
    assert [one["texts"] for one in told] == [["the answer"]] * 3
    assert sum(one["cached"] for one in told) == 99
    assert [one["warnings"] for one in told] == [[]] * 3


def held_until_killed(url: str, folder: Path) -> Completion:
    """Let a process that asks be killed; return what the next one gets."""
    ledger = folder / "ledger"
    asking = start_asking(url, KEY, 1, 600, ledger)
    until(lambda: calls(ledger) == 1, "the first process does not ask")
    asking.kill()
    asking.communicate()
    cache = open_cache(url, ttl_s=600, warn=pytest.fail)
    reply = cache.ask_once(KEY, lambda: GOOD, threading.Event())
    cache.close()
    return reply


def held_while_asking(url: str) -> tuple[Completion, Completion]:
    """Let a call take longer than a lease; return what its caller and another process's get."""
    first, second = (open_cache(url, ttl_s=600, warn=pytest.fail) for _ in range(2))
    begun = threading.Event()

    def slow() -> Completion:
        begun.set()
        time.sleep(LEASE_S + 2)
        return GOOD

    with ThreadPoolExecutor() as pool:
        ours = pool.submit(first.ask_once, OTHER, slow, threading.Event())
        begun.wait()
        theirs = second.ask_once(OTHER, lambda: Completion(text="asked again"), threading.Event())
    first.close()
    second.close()
    return ours.result(), theirs


def test_a_claim_lasts_while_its_process_asks_and_no_longer(urls, tmp_path):
    """All of it at once, since it is long."""
    with ThreadPoolExecutor() as pool:
        killed, asking = [], []
        for name, url in urls.items():
            (tmp_path / name).mkdir()
            killed.append(pool.submit(held_until_killed, url, tmp_path / name))
            asking.append(pool.submit(held_while_asking, url))
    assert [one.result() for one in killed] == [GOOD] * 2
    assert [one.result() for one in asking] == [(GOOD, Completion(text="42", attempts=0, cached=True))] * 2


def test_when_the_provider_fails_the_asker_the_others_ask_at_once_and_not_in_turn(opened):
    cache, asked, together = opened(), [], threading.Barrier(19)

    def dead() -> Completion:
        asked.append(1)
        if len(asked) == 1:
            time.sleep(0.3)  # the others board meanwhile
        else:
            together.wait(30)  # broken if they ask one after another
        raise ProviderError("no", kind="server_error")

    def ask(_: int) -> str:
        try:
            return cache.ask_once(KEY, dead, threading.Event()).text
        except ProviderError:
            return "failed"

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(20))) == ["failed"] * 20
    assert len(asked) == 20


def test_an_asker_that_is_told_to_stop_is_replaced_by_one_of_the_others(opened):
    cache, asked = opened(), []

    def first_stops() -> Completion:
        asked.append(1)
        time.sleep(0.2)
        if len(asked) == 1:
            raise Drained("told to stop")
        return GOOD

    def ask(_: int) -> str:
        try:
            return cache.ask_once(KEY, first_stops, threading.Event()).text
        except Drained:
            return "stopped"

    with ThreadPoolExecutor(5) as pool:
        got = list(pool.map(ask, range(5)))
    assert (got.count("stopped"), got.count("42"), len(asked)) == (1, 4, 2)


def test_a_reply_that_may_not_be_stored_is_for_its_asker_alone(opened):
    cache, asked = opened(), []

    def cut_short() -> Completion:
        asked.append(1)
        time.sleep(0.2)
        return Completion(text="half", finish_reason="length")

    with ThreadPoolExecutor(5) as pool:
        got = list(pool.map(lambda _: cache.ask_once(KEY, cut_short, threading.Event()), range(5)))
    assert len(asked) == 5
    assert not any(reply.cached for reply in got)


@pytest.mark.parametrize("same_process", [True, False])
def test_who_waits_for_another_stops_when_told(opened, same_process):
    first, begun, go_on, stop = opened(), threading.Event(), threading.Event(), threading.Event()

    def slow() -> Completion:
        begun.set()
        go_on.wait()
        return GOOD

    with ThreadPoolExecutor() as pool:
        ours = pool.submit(first.ask_once, KEY, slow, threading.Event())
        begun.wait()
        waiter = first if same_process else opened()
        theirs = pool.submit(waiter.ask_once, KEY, lambda: GOOD, stop)
        time.sleep(0.2)
        stop.set()
        with pytest.raises(Drained):
            theirs.result(timeout=30)
        go_on.set()
        assert ours.result() == GOOD


def test_a_closed_cache_is_passed_by(opened):
    cache = opened()
    cache.close()
    cache.close()
    assert cache.look_up([KEY]) == {}
    assert cache.ask_once(KEY, lambda: GOOD, threading.Event()) == GOOD


@pytest.mark.parametrize(
    "url",
    [
        "",
        "on",
        "sqlite:",
        "sqlite://cache.db",
        "sqlite::memory:",
        "sqlite:/",
        "memcached://localhost",
        "redis://",
        "redis://:s3cr3t@",
        "redis://:s3cr3t@host:port",
        "redis://:s3cr3t@host:99999",
        "redis://:s3cr3t/@@host",
        "redis://:a/s3cr3t@host:1",
        "redis://one:1,two:2",
        "redis+cluster://one:1,",
        "redis+cluster://:s3cr3t@one:1/3",
    ],
)
def test_a_place_that_cannot_be_one_is_refused_in_one_line_without_its_password(url):
    for refuse in (check_cache, lambda url: open_cache(url, ttl_s=1, warn=print)):
        with pytest.raises(UsageError, match=r"^--cache") as caught:
            refuse(url)
        assert "\n" not in str(caught.value)
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "off",
        "sqlite:a/b.db",
        "redis://host",
        "rediss://me:pa%40ss@host:6380/2",
        "redis://[::1]:6379",
        "redis+cluster://:pw@one:1,two:2,three",
    ],
)
def test_a_place_that_can_be_one_is_not_touched_by_the_check(url):
    check_cache(url)


def test_off_is_no_cache():
    assert open_cache("off", ttl_s=1, warn=print) is None


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan")])
def test_a_lifetime_must_be_one(ttl_s, tmp_path):
    with pytest.raises(UsageError, match="--cache-ttl"):
        open_cache(f"sqlite:{tmp_path}/c.db", ttl_s=ttl_s, warn=print)


@pytest.mark.parametrize("ttl_s", [1e-3, 1e300, float("inf")])
def test_any_lifetime_will_do(url, ttl_s):
    warnings: list[str] = []
    cache = open_cache(url, ttl_s=ttl_s, warn=warnings.append)
    assert cache.ask_once(KEY, lambda: GOOD, threading.Event()) == GOOD
    cache.close()
    assert warnings == []
    assert cache.counts.puts == 1


def test_a_missing_package_is_told_with_its_command():
    code = (
        "import sys; sys.modules['redis'] = None; from stores.reply_cache import check_cache; check_cache('redis://h')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "pip install 'redis" in done.stderr.splitlines()[-1]
