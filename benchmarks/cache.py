"""How fast the reply cache is, in replies per second: ``python benchmarks/cache.py``; half a minute.

SQLite in a temporary file, Redis and a cluster of six shards with a replica each on the loopback interface; values of
about 600 bytes. Look-ups (best of five) come from one thread, alone and beside a thread that never rests, for which
Python makes all others wait 5 ms at each turn. ``ask_once`` are new keys with a provider that takes no time:
what a call that is not in the cache costs more, claim and storing included. Needs redis-server.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "stores"))

from redis_servers import running_cluster, running_server

from stores.reply_cache import ReplyCache, open_cache
from trials.words import Completion

REPLY = Completion(text="x" * 440, reported_model="model", prompt_tokens=250, completion_tokens=110, deployment="local")
COLUMNS = ("look_up, 64 keys", "256 keys", "256, beside a busy thread", "ask_once, 1 thread", "16 threads")


def rate(count: int, work: Callable[[], None]) -> float:
    """Return how many of ``count`` things were done per second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def best_rate(count: int, work: Callable[[], None]) -> float:
    """Return the best of five: the first one warms up, and others use the machine too."""
    return max(rate(count, work) for _ in range(5))


def look_up_all(cache: ReplyCache, keys: Sequence[str], at_once: int) -> Callable[[], None]:
    """Return what looks up all keys, so many in one batch, and expects to find them."""

    def work() -> None:
        found = sum(len(cache.look_up(keys[start : start + at_once])) for start in range(0, len(keys), at_once))
        assert found == len(keys), f"{found} of {len(keys)} keys found"

    return work


def ask_all(cache: ReplyCache, keys: Sequence[str], threads: int) -> Callable[[], None]:
    """Return what asks for all keys."""
    stop = threading.Event()

    def some(place: int) -> None:
        for key in keys[place::threads]:
            cache.ask_once(key, lambda: REPLY, stop)

    def work() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, range(threads)))

    return work


@contextmanager
def busy_thread() -> Iterator[None]:
    """Keep the interpreter busy for as long as the block lasts."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def keys_of(name: str, count: int) -> list[str]:
    """Return so many keys that no other name gives."""
    return [hashlib.sha256(f"{name} {number}".encode()).hexdigest() for number in range(count)]


def measure(url: str, count: int) -> list[float]:
    """Return the rates of ``COLUMNS``."""
    old, new = keys_of("one", count), keys_of("many", count)
    with_one = open_cache(url, ttl_s=3600, warn=sys.exit)
    assert with_one
    asked = [rate(count, ask_all(with_one, old, 1)), rate(count, ask_all(with_one, new, 16))]
    with_one.close()
    cache = open_cache(url, ttl_s=3600, warn=sys.exit)
    assert cache
    found = [best_rate(count, look_up_all(cache, old, at_once)) for at_once in (64, 256)]
    with busy_thread():
        found.append(best_rate(count, look_up_all(cache, old, 256)))
    cache.close()
    return [*found, *asked]


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description="Rates of the reply cache, by where it is kept.")
    parser.add_argument("--keys", type=int, default=20_000, help="how many")
    count = parser.parse_args().keys
    print("| replies/s | " + " | ".join(COLUMNS) + " |\n|---" + "|---" * len(COLUMNS) + "|")
    with tempfile.TemporaryDirectory() as folder, running_server() as server, running_cluster(primaries=6) as cluster:
        urls = {
            "SQLite": f"sqlite:{folder}/cache.db",
            "Redis": f"redis://127.0.0.1:{server.port}",
            "Redis cluster, 6 shards": cluster.url,
        }
        for name, url in urls.items():
            cells = " | ".join(f"{value:,.0f}" for value in measure(url, count))
            print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
