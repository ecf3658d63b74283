"""The server of metrics under clients of every kind: it answers the good ones and never holds up who publishes."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from telemetry import metrics_server
from telemetry.metrics import RunFigures
from telemetry.metrics_server import MOST_AT_ONCE, MetricsServer, check_installed
from trials.errors import UsageError
from trials.words import FULL, SCORED

ROOT = Path(__file__).resolve().parents[2]


class FakeClock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock) -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1", 0, clock)
    yield server
    server.close()


def figures(scored: int, run_id: str = "r") -> RunFigures:
    return RunFigures(
        run_id=run_id, simulated=False, state="running", started_at=0.0, trials={("m", SCORED, FULL): scored}
    )


def address(server: MetricsServer) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    return host, int(port)


def get(server: MetricsServer, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, str]:
    asked = f"{method} {path} HTTP/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(address(server), timeout=30) as client:
        client.sendall(asked.encode() + b"\r\n")
        reply = b"".join(iter(lambda: client.recv(1 << 20), b""))  # up to the end: then the look has been counted
    head, _, body = reply.decode().partition("\r\n\r\n")
    kind = next((line for line in head.splitlines() if line.startswith("Content-Type: ")), "")
    return int(head.split()[1]), kind.removeprefix("Content-Type: "), body


def scored(server: MetricsServer) -> str:
    line = next(line for line in get(server)[2].splitlines() if line.startswith("eval_trials{") and '"full"' in line)
    return line.rpartition(" ")[2]


def test_the_newest_figures_are_served(server):
    for count in (3, 4):
        server.publish(figures(count), {})
        assert float(scored(server)) == count


def test_before_anything_is_known_the_process_itself_is_told(server):
    status, _, text = get(server)
    assert status == 200
    assert 'eval_process_resident_memory_bytes{process="supervisor"' in text


def test_who_asks_for_openmetrics_gets_it(server):
    server.publish(figures(1), {})
    status, kind, text = get(server, Accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind.startswith("application/openmetrics-text")) == (200, True)
    assert text.endswith("# EOF\n")
    assert get(server)[1].startswith("text/plain")


@pytest.mark.parametrize(("path", "method", "status"), [("/etc/passwd", "GET", 404), ("/metrics", "POST", 405)])
def test_what_is_not_there_is_said(server, path, method, status):
    assert get(server, path, method)[0] == status


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00 no HTTP at all",
        b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"\r\n\r\n",
        b"",
    ],
)
def test_garbage_is_survived_without_a_word(server, garbage, capfd):
    server.publish(figures(7), {})
    with socket.create_connection(address(server), timeout=30) as client:
        try:
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except OSError:
            pass  # it may hang up on us
    assert float(scored(server)) == 7
    assert capfd.readouterr() == ("", "")


def test_a_client_that_hangs_up_in_the_middle_is_survived_without_a_word(server, capfd):
    server.publish(figures(7, "x" * 2_000_000), {})
    with socket.create_connection(address(server), timeout=30) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.recv(100)
    assert float(scored(server)) == 7
    assert capfd.readouterr() == ("", "")


def test_clients_that_hang_hold_nobody_up_who_publishes_and_are_few(server):
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(3 * MOST_AT_ONCE):
            stack.enter_context(socket.create_connection(address(server), timeout=30))
        for count in range(1000):
            server.publish(figures(count), {})
        assert threading.active_count() <= before + MOST_AT_ONCE
    deadline = time.monotonic() + 30
    while True:  # once they have gone there is room again
        try:
            assert float(scored(server)) == 999
            break
        except (OSError, IndexError):
            assert time.monotonic() < deadline


def test_who_hangs_is_let_go(monkeypatch):
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.2)
    server = MetricsServer("127.0.0.1", 0)
    try:
        with socket.create_connection(address(server), timeout=30) as client:
            client.sendall(b"GET /metr")
            assert client.recv(100) == b""
    finally:
        server.close()


def test_nobody_who_watched_means_no_wait_at_the_end(server):
    server.publish(figures(1), {}, last=True)
    assert server.linger_s() == 0
    assert server.linger() is False


def test_who_comes_at_intervals_is_waited_for_twice_as_long(server, clock):
    server.publish(figures(1), {})
    for seconds in (5, 7, 5):
        get(server)
        clock.now += seconds
    assert server.linger_s() == 2 * 7 + 1
    clock.now += 10
    assert server.linger_s() == 0, "who has not come for so long comes no more"


def test_who_came_once_is_waited_for_as_long_as_anybody(server, clock):
    get(server)
    clock.now += 59
    assert server.linger_s() == metrics_server.LONGEST_LINGER_S
    clock.now += 2
    assert server.linger_s() == 0


def test_a_look_at_the_last_figures_ends_the_wait(server):
    get(server)
    server.publish(figures(1), {}, last=True)
    thread = threading.Timer(0.1, get, (server,))
    thread.start()
    assert server.linger() is True
    thread.join()


def test_a_look_that_began_before_the_last_figures_does_not_end_it(server):
    get(server)
    server.publish(figures(2, "x" * 2_000_000), {})
    with socket.create_connection(address(server), timeout=30) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(10)  # its answer is made, and on its way
        server.publish(figures(3), {}, last=True)
        while client.recv(1 << 20):
            pass
    assert not server._seen_last.is_set()


def test_a_port_that_is_taken_is_told_with_what_to_do(server):
    host, port = address(server)
    with pytest.raises(UsageError, match=rf"{port} is taken.*ss -ltnp.*0 for a free one"):
        MetricsServer(host, port)


def test_a_port_is_free_again_at_once(server):
    get(server)
    again = MetricsServer("127.0.0.1", 0)
    port = address(again)[1]
    get(again)
    again.close()
    MetricsServer("127.0.0.1", port).close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 300, "\0"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(UsageError, match="--metrics-host"):
        MetricsServer(host, 0)


def test_ipv6_works_where_there_is_any():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    server = MetricsServer("::1", 0)
    try:
        assert server.url.startswith("http://[::1]:")
    finally:
        server.close()


def test_without_the_package_it_is_said_what_to_install():
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from telemetry.metrics_server import check_installed\n"
        "from trials.errors import UsageError\n"
        "try: check_installed()\n"
        "except UsageError as problem: print(problem)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install 'prometheus_client" in ran.stdout
    assert ran.stdout.count("\n") == 1
    check_installed()
