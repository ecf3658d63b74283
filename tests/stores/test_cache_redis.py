"""The reply cache in one Redis server: servers that are down, hang, are full or want another password."""

from __future__ import annotations

import signal
import threading

import pytest
from redis_servers import RedisServer, free_port, running_server, until

from stores.reply_cache import open_cache
from trials.words import Completion

KEY, OTHER = "ab" * 16, "cd" * 16
GOOD = Completion(text="42")


def ask(cache, key: str) -> Completion:
    return cache.ask_once(key, lambda: GOOD, threading.Event())


@pytest.fixture
def server():
    with running_server() as server:
        yield server


def opened(server: RedisServer, warnings: list[str]):
    return open_cache(f"redis://127.0.0.1:{server.port}", ttl_s=600, warn=warnings.append)


def comes_back(cache, key: str) -> None:
    """Return when what is asked is stored and found again."""

    def stored() -> bool:
        ask(cache, key)
        return bool(cache.look_up([key]))

    until(stored, "the cache does not come back")


def test_a_server_that_is_not_there_is_passed_by_with_one_warning():
    warnings: list[str] = []
    cache = open_cache(f"redis://:s3cr3t@127.0.0.1:{free_port()}", ttl_s=600, warn=warnings.append)
    assert [ask(cache, f"{number:032x}") for number in range(100)] == [GOOD] * 100
    assert cache.look_up([KEY]) == {}
    cache.close()
    assert len(warnings) == 1
    assert "s3cr3t" not in warnings[0]


def test_a_server_that_goes_away_and_comes_back_is_used_again(server):
    warnings: list[str] = []
    cache = opened(server, warnings)
    comes_back(cache, KEY)
    server.kill()
    assert cache.look_up([KEY]) == {}
    assert ask(cache, KEY) == GOOD
    server.start()
    comes_back(cache, KEY)
    cache.close()
    assert len(warnings) == 1


def test_a_server_that_hangs_is_passed_by(server):
    warnings: list[str] = []
    cache = opened(server, warnings)
    comes_back(cache, KEY)
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert [ask(cache, f"{number:032x}") for number in range(20)] == [GOOD] * 20
        assert cache.look_up([KEY]) == {}
    finally:
        server.process.send_signal(signal.SIGCONT)
    comes_back(cache, OTHER)
    cache.close()
    assert len(warnings) == 1


def test_a_full_server_is_passed_by(server):
    with server.client() as client:
        client.config_set("maxmemory", "1mb")
    warnings: list[str] = []
    cache = opened(server, warnings)
    assert [ask(cache, f"{number:032x}") for number in range(100)] == [GOOD] * 100
    cache.close()
    assert len(warnings) == 1
    assert "OOM" in warnings[0] or "memory" in warnings[0]


@pytest.mark.parametrize("damaged", [b"", b"{", b'{"at": 9e9, "text": 1}', b"\xff"])
def test_a_damaged_value_is_a_miss_and_is_mended(server, damaged):
    with server.client() as client:
        client.set(f"upr1:{{{KEY}}}", damaged)
    warnings: list[str] = []
    cache = opened(server, warnings)
    assert cache.look_up([KEY]) == {}
    comes_back(cache, KEY)
    cache.close()
    assert warnings == []


def test_replies_expire_and_claims_go_when_they_are_not_needed_any_more(server):
    cache = opened(server, [])
    for number in range(10):
        ask(cache, f"{number:032x}")
    cache.close()
    with server.client() as client:
        lives = [client.pttl(name) for name in client.scan_iter()]
    assert len(lives) == 10
    assert all(0 < life_ms <= 600_000 for life_ms in lives)


def test_a_password_is_used_and_appears_in_no_message():
    with running_server("--requirepass", "s3cr3t/@:", password="s3cr3t/@:") as server:
        right, wrong = [], []
        cache = open_cache(f"redis://:s3cr3t%2F%40%3A@127.0.0.1:{server.port}/3", ttl_s=9, warn=right.append)
        comes_back(cache, KEY)
        cache.close()
        cache = open_cache(f"redis://default:wr0ng@127.0.0.1:{server.port}", ttl_s=9, warn=wrong.append)
        assert ask(cache, KEY) == GOOD
        cache.close()
    assert right == []
    assert len(wrong) == 1
    assert "wr0ng" not in wrong[0]


def test_a_server_that_speaks_something_else_is_passed_by():
    import socketserver

    class Babble(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Babble) as babble:
        threading.Thread(target=babble.serve_forever, daemon=True).start()
        warnings: list[str] = []
        cache = open_cache(f"redis://127.0.0.1:{babble.server_address[1]}", ttl_s=9, warn=warnings.append)
        assert ask(cache, KEY) == GOOD
        cache.close()
        babble.shutdown()
    assert len(warnings) == 1
