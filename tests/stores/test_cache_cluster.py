"""The reply cache in a real cluster of six shards, a replica each; one primary is killed in traffic."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asking_process import calls, start_asking
from redis_servers import Cluster, replication, running_cluster, until

from stores.reply_cache import ReplyCache, open_cache
from trials.words import Completion

KEYS = [f"{number:032x}" for number in range(600)]


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(primaries=6) as cluster:
        yield cluster


def opened(url: str, warnings: list[str]) -> ReplyCache:
    cache = open_cache(url, ttl_s=600, warn=warnings.append)
    assert cache
    return cache


def ask(cache: ReplyCache, key: str) -> Completion:
    return cache.ask_once(key, lambda: Completion(text=key), threading.Event())


def test_replies_are_spread_over_all_shards_and_found_again(cluster: Cluster):
    warnings: list[str] = []
    cache = opened(cluster.url, warnings)
    for key in KEYS:
        ask(cache, key)
    cache.close()
    cache = opened(cluster.url, warnings)
    assert {key: reply.text for key, reply in cache.look_up(KEYS).items()} == {key: key for key in KEYS}
    cache.close()
    for server in cluster.primaries():
        with server.client() as client:
            assert client.dbsize() > 0
    assert len(cluster.primaries()) == 6
    assert warnings == []


def test_a_hundred_calls_in_three_processes_are_one(cluster: Cluster, tmp_path):
    ledger = tmp_path / "ledger"
    asking = [start_asking(cluster.url, "ab" * 16, threads, 1.5, ledger) for threads in (34, 33, 33)]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in asking]
    assert calls(ledger) == 1
    assert sum(one["cached"] for one in told) == 99
    assert [one["warnings"] for one in told] == [[]] * 3


def test_one_node_named_without_the_cluster_is_told_how_to_name_it(cluster: Cluster):
    warnings: list[str] = []
    cache = opened(f"redis://127.0.0.1:{cluster.servers[0].port}", warnings)
    for key in KEYS[:20]:
        ask(cache, key)
    cache.close()
    assert len(warnings) == 1
    assert "redis+cluster://" in warnings[0]


def test_a_primary_killed_in_traffic_costs_one_warning_and_no_answer(cluster: Cluster):
    """Last in this file: it leaves the cluster with a node less."""
    warnings: list[str] = []
    cache = opened(f"redis+cluster://127.0.0.1:{cluster.servers[0].port}", warnings)
    for key in KEYS:
        ask(cache, key)
    until(lambda: len(cache.look_up(KEYS)) == len(KEYS), "not stored")
    over, answered = threading.Event(), []

    def traffic(worker: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            key = f"{worker:016x}{number:016x}"
            found = cache.look_up([key, KEYS[number % len(KEYS)]])
            assert all(reply.text == at for at, reply in found.items())
            answered.append(ask(cache, key).text == key)
            time.sleep(0.005)

    # The only one that the URL names: the others must be found without it afterwards.
    victim = cluster.servers[0]
    assert replication(victim)["role"] == "master"
    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(traffic, worker) for worker in range(8)]
        try:
            time.sleep(0.3)
            victim.kill()
            until(lambda: len(cluster.primaries()) == 6, "no replica took over")
            until(lambda: len(cache.look_up(KEYS)) == len(KEYS), "what the dead primary had is not found again")
            before = cache.counts.puts
            until(lambda: cache.counts.puts > before, "nothing is stored any more")
        finally:
            over.set()
        for one in working:
            one.result()
    cache.close()
    assert all(answered)
    assert len(warnings) == 1
