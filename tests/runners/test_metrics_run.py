"""Whole runs that are watched: by a plain client, and by a real Prometheus with the rules of monitoring/."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from real_runs import ROOT, THREE_KEYS, House, Running, wait_for

MONITORING = ROOT / "monitoring"
INSTANCES = 12
TRIALS = 5 * INSTANCES

pytestmark = pytest.mark.slow
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    url = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--num-instances", str(INSTANCES))
    return (*url, "--qps", "1000", *arguments)


def url_of(running: Running) -> str:
    running.wait_to_say("metrics at ")
    found = re.search(r"metrics at (http://\S+)", running.output)
    assert found
    return found[1]


def look(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urlopen(url, timeout=30) as reply:
        families = text_string_to_metric_families(reply.read().decode())
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def watch_to_the_end(running: Running, url: str, act: Callable[[int], None] = lambda nth: None) -> list[dict]:
    """Look again and again until the run has ended; return all that was seen."""
    seen: list[dict] = []
    while running.process.poll() is None:
        try:
            seen.append(look(url))
        except (URLError, OSError):
            continue
        act(len(seen))
        time.sleep(0.05)
    return seen


def trials(seen: dict) -> Counter[tuple[str, str]]:
    """Return the trials that have ended, by status and outcome."""
    found = Counter[tuple[str, str]]()
    for (name, labels), count in seen.items():
        own = dict(labels)
        if name == "eval_trials" and own["status"] != "pending" and count:
            found[own["status"], own["outcome"]] += int(count)
    return found


def of_rows(house: House) -> Counter[tuple[str, str]]:
    return Counter((row["status"], row["outcome"] or "") for row in house.rows())


def went_backwards(seen: list[dict]) -> list[Any]:
    kinds = ("_total", "_bucket", "_count", "_sum")
    return [
        (key, before[key], after[key])
        for before, after in pairwise(seen)
        for key in before.keys() & after.keys()
        if key[0].endswith(kinds) and after[key] < before[key]
    ]


def test_after_kills_the_counts_are_those_of_the_rows_and_none_ever_fell(house, simulate):
    simulator = simulate("--latency", "0.05", "--fault", "500=0.1")
    running = house.start(*ask(simulator, "--metrics-port", "0", "--max-attempts", "2"))
    url = url_of(running)
    victims = iter((1, 2, 1))

    def kill(nth: int) -> None:
        shards = running.shards()
        if nth % 8 == 0 and (victim := next(victims, None)) in shards:
            shards[victim].kill()

    seen = watch_to_the_end(running, url, kill)
    assert running.wait() in (0, 1), running.output + running.complaints
    assert went_backwards(seen) == []
    last = seen[-1]
    assert trials(last) == of_rows(house)
    assert sum(trials(last).values()) == TRIALS
    restarts = sum(value for (name, _), value in last.items() if name == "eval_shard_restarts_total")
    assert restarts == running.output.count("starting it again") > 0
    ended = sum(value for (name, _), value in last.items() if name == "eval_trials_ended_total")
    assert ended == TRIALS, "the supervisor's own count, from which the last figures are not made"


def test_a_supervisor_that_starts_again_goes_on_with_what_there_is(house, slow_simulator):
    running = house.start(*ask(slow_simulator, "--metrics-port", "0"))
    url = url_of(running)
    before = wait_for(lambda: +trials(look(url)), "a trial has ended")
    assert house.status()["metrics_url"] == url
    running.process.kill()
    running.wait()
    house.wait_until_empty()
    running = house.start(*ask(slow_simulator, "--metrics-port", "0"))
    seen = watch_to_the_end(running, url_of(running))
    assert running.wait() == 0, running.output + running.complaints
    assert all(trials(seen[0])[how] >= count for how, count in before.items())
    assert trials(seen[-1]) == of_rows(house)
    ended = sum(value for (name, _), value in seen[-1].items() if name == "eval_trials_ended_total")
    assert 0 < ended < TRIALS, "counters begin with their process"
    state = {dict(labels)["state"]: value for (name, labels), value in seen[-1].items() if name == "eval_run_state"}
    assert [name for name, value in state.items() if value] == ["finished"]


def test_requests_tokens_and_hits_are_those_of_the_rows_where_nobody_was_killed(house, simulator):
    cache = f"sqlite:{house.path / 'cache.db'}"
    for results in ("one", "two"):
        running = house.start(
            *ask(simulator, "--metrics-port", "0", "--cache", cache, "--results-dir", results, "--retry-errors")
        )
        last = watch_to_the_end(running, url_of(running))[-1]
        assert running.wait() == 0, running.output + running.complaints
        rows = house.rows(results)
        got = Counter[str]()
        for (name, labels), value in last.items():
            own = dict(labels)
            got[name] += value
            got[f"{name} {own.get('gen_ai_token_type', own.get('result', ''))}"] += value
        assert got["eval_requests_total"] == sum(row["attempts"] for row in rows)
        assert got["eval_cache_requests_total hit"] == sum(row["cache_hits"] for row in rows)
        assert got["eval_queue_wait_seconds_count"] == TRIALS
        if results == "one":
            asked = [row for row in rows if not row["cache_hits"]]
            assert got["gen_ai_client_token_usage_sum output"] >= sum(row["completion_tokens"] for row in asked) > 0
        else:
            assert got["eval_requests_total"] == got["gen_ai_client_token_usage_sum output"] == 0


def test_a_run_that_nobody_watched_ends_at_once_and_says_nothing_of_waiting(house, simulator):
    ran = house.run(*ask(simulator, "--metrics-port", "0"))
    assert "last look" not in ran.stdout
    assert "metrics at http://127.0.0.1:" in ran.stdout


def test_who_hangs_and_who_sends_garbage_holds_up_no_run(house, simulator):
    running = house.start(*ask(simulator, "--metrics-port", "0"))
    host, _, port = url_of(running).removeprefix("http://").removesuffix("/metrics").rpartition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(40)]
    try:
        for client in clients[:20:2]:
            client.send(b"\x00\xff GET nonsense")
        assert running.wait() == 0, running.output + running.complaints
    finally:
        for client in clients:
            client.close()
    assert running.complaints == ""
    assert len(house.rows()) == TRIALS


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--metrics-port", "99999"), "--metrics-port"),
        (("--metrics-port", "-1"), "--metrics-port"),
        (("--metrics-port", "http"), "--metrics-port"),
        (("--metrics-port", ""), "--metrics-port: the value is empty"),
        (("--metrics-host", "127.0.0.1"), "--metrics-host says where --metrics-port is"),
        (("--metrics-port", "0", "--metrics-host", "192.0.2.1"), "--metrics-host"),
    ],
)
def test_bad_addresses_are_told_in_one_line_before_anything_is_written(command, house, flags, told):
    ended = command("--simulate", "--model", THREE_KEYS, *flags, code=2)
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not house.files()


def test_a_port_that_is_taken_is_told_before_anything_is_written(command, house):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = command("--simulate", "--model", THREE_KEYS, "--metrics-port", port, code=2)
    assert f"{port} is taken" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not house.files()


class Prometheus:
    """A real one, with the rules of this repository, that scrapes one port every second."""

    def __init__(self, path: Path, target: str) -> None:
        path.mkdir()
        for name in ("recording.yml", "alerts.yml"):
            text = (MONITORING / name).read_text()
            (path / name).write_text(re.sub(r"for: \d+m", "for: 1s", text))  # nobody wants to wait that long here
        config = (MONITORING / "prometheus.yml").read_text()
        config = re.sub(r"_interval: \d+s", "_interval: 1s", config)
        (path / "prometheus.yml").write_text(re.sub(r"targets: .*", f'targets: ["{target}"]', config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = (path / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path / 'prometheus.yml'}",
                f"--storage.tsdb.path={path / 'data'}",
                f"--web.listen-address={self.address}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        wait_for(self._ready, "Prometheus is ready")

    def _ready(self) -> bool:
        assert self._process.poll() is None, "Prometheus did not start"
        try:
            with urlopen(f"http://{self.address}/-/ready", timeout=5) as reply:
                return reply.status == 200
        except OSError:
            return False

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate an expression now."""
        with urlopen(f"http://{self.address}/api/v1/query?query={quote(expression)}", timeout=30) as reply:
            found = json.load(reply)["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


@pytest.fixture
def prometheus(tmp_path) -> Iterator[Callable[[str], Prometheus]]:
    started: list[Prometheus] = []

    def start(target: str) -> Prometheus:
        started.append(Prometheus(tmp_path / "prometheus", target))
        return started[-1]

    yield start
    for one in started:
        one.close()


@needs_prometheus
def test_prometheus_has_the_rows_counts_after_kills_and_an_alert_fires_on_purpose(house, simulate, prometheus):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    watcher = prometheus(f"127.0.0.1:{port}")
    simulator = simulate("--latency", "0.5", "--fault", "500=0.3")
    running = house.start(*ask(simulator, "--metrics-port", str(port), "--max-attempts", "1", "--max-workers", "2"))
    wait_for(lambda: watcher.ask("sum(eval_trials_ended_total) > 5"), "trials have ended")
    running.kill_shard(2)
    firing = 'ALERTS{alertname="EvalTasksFail", alertstate="firing"}'
    wait_for(lambda: watcher.ask(firing) or running.process.poll() is not None, "the alert fires")
    fired = watcher.ask(f"last_over_time({firing}[5m])")
    assert running.wait() in (0, 1), running.output + running.complaints
    assert [labels["model"] for labels, _ in fired] == [THREE_KEYS]
    assert "last look" in running.output
    held = watcher.ask('last_over_time(eval_trials{status!="pending"}[5m]) > 0')
    counts = Counter({(labels["status"], labels.get("outcome", "")): int(count) for labels, count in held})
    assert counts == of_rows(house)
    assert watcher.ask('last_over_time(eval_run_state{state=~"finished|stopped"}[5m]) == 1')
    assert watcher.ask("last_over_time(eval_shard_restarts_total[5m]) == 1")
    wait_for(lambda: watcher.ask("up == 0"), "the run is seen to be over", 20)
    assert not watcher.ask('ALERTS{alertname="EvalSupervisorGone"}'), "it had said that it was over"
