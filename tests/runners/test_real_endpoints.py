"""Any OpenAI-compatible endpoint can be asked, and the key never leaves memory but for the wire."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from real_runs import SHARD, WORKER, House, adds_up, scores

from stores.parts import part_paths, read_part

KEY = "sk-4f9c1e77-a-key-nobody-may-see"
ENV = {"A_KEY": KEY, "DEBUG_LOG": "true"}


def ask(url: str, *arguments: str) -> tuple[str, ...]:
    where = ("--base-url", f"{url}/v1", "--api-key-env", "A_KEY", "--model", "any-name", "--num-instances", "2")
    return (*where, "--qps", "1000", *arguments)


def holds_no_key(house: House, *texts: str) -> None:
    """Neither what was said nor any file holds the key, compressed columns included."""
    assert not [text for text in texts if KEY in text]
    files = [path for path in house.path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    for folder in ("trials", "history", "conversations"):
        for part in part_paths(house.path / "results" / folder, "parquet"):
            assert KEY not in repr(list(read_part(part)))


@pytest.fixture
def echo() -> Iterator[list]:
    """A server that says every key it is given in all it answers; yields [its URL, the status it answers]."""
    settings: list = ["", 401]

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            given = self.headers["Authorization"].removeprefix("Bearer ")
            body = json.dumps({"error": {"message": f"Incorrect API key provided: {given}."}}).encode()
            self.send_response(settings[1], f"not with {given}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Your-Key", given)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    settings[0] = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield settings
    server.shutdown()
    server.server_close()


def test_an_endpoint_that_is_not_in_the_catalog_gives_real_results(house, simulator):
    ended = house.run(*ask(simulator.url), env=ENV)
    assert "10 planned = 10 scored" in ended.stdout
    assert "SIMULATED" not in ended.stdout
    rows = house.rows("results")
    assert len(scores(rows)) == 10
    assert {(row["simulated"], row["model"]) for row in rows} == {(False, "any-name")}
    assert json.loads((house.path / "results" / "summary.json").read_text())["kind"] == "real"
    requests = simulator.stats()["requests"]
    assert requests >= 10
    assert "finished" in house.run(*ask(simulator.url), env=ENV).stdout
    assert simulator.stats()["requests"] == requests
    holds_no_key(house, ended.stdout, ended.stderr)


def test_a_key_may_stand_in_dotenv(house, simulator):
    (house.path / ".env").write_text(f"A_KEY={KEY}\n")
    assert "10 planned = 10 scored" in house.run(*ask(simulator.url)).stdout
    (house.path / ".env").unlink()
    holds_no_key(house)


def test_three_keys_of_a_comma_list_are_each_used_by_a_shard(house, simulator):
    env = {"IDEALLAB_BASE_URL": f"{simulator.url}/v1", "IDEALLAB_API_KEYS": f"{KEY}-a, {KEY}-b, {KEY}-c"}
    command = ("--model", "qwen2.5-7b-instruct", "--num-instances", "3", "--qps", "1000", "--balance", "even")
    ended = house.run(*command, env=env)
    assert "15 planned = 15 scored" in ended.stdout
    assert len(simulator.stats()["by_key"]) == 3
    holds_no_key(house, ended.stdout)


def test_azure_is_asked_in_its_own_url_form_with_its_own_header(house, simulator):
    env = {"AZURE_OPENAI_ENDPOINT": f"{simulator.url}/", "AZURE_OPENAI_API_KEY": KEY}
    command = ("--model", "DeepSeek-V3-0324", "--num-instances", "3", "--qps", "1000", "--balance", "even")
    ended = house.run(*command, env=env)
    assert "15 planned = 15 scored" in ended.stdout
    names = {"DeepSeek-V3-0324", "DeepSeek-V3-0324-2", "DeepSeek-V3-0324-3"}
    assert set(simulator.stats()["by_deployment"]) == names
    holds_no_key(house, ended.stdout)


@pytest.mark.slow
def test_no_process_of_a_run_shows_a_key_in_its_command_line(house, slow_simulator):
    running = house.start(*ask(slow_simulator.url), env=ENV)
    slow_simulator.wait_for_requests(5)
    seen = 0
    for process in house.processes():
        with contextlib.suppress(psutil.Error):
            assert KEY not in " ".join(process.cmdline())
            seen += 1
    assert seen >= 2
    assert running.wait() == 0
    holds_no_key(house, running.output)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_that_echoes_the_key_is_told_once_without_it(house, echo, status):
    echo[1] = status
    ended = house.run(*ask(echo[0]), env=ENV, code=3)
    assert ended.stdout.count("stopped: ") == 1
    assert f"HTTP {status}" in ended.stdout
    assert "Incorrect API key provided: ****." in ended.stdout
    assert "0 scored + 0 provider_error + 0 harness_error + 10 pending" in ended.stdout
    assert adds_up(house.status())
    holds_no_key(house, ended.stdout, ended.stderr)


def test_a_provider_that_answers_429_for_ever_does_not_hold_the_run_for_ever(house, echo):
    echo[1] = 429
    ended = house.run(*ask(echo[0], "--patience", "2"), env=ENV, code=1)
    assert "0 scored + 10 provider_error" in ended.stdout
    assert {row["error_category"] for row in house.rows("results")} == {"rate_limited"}
    holds_no_key(house, ended.stdout, ended.stderr)


@pytest.mark.parametrize("status", [500, 400])
def test_a_failure_that_echoes_the_key_is_kept_in_the_rows_without_it(house, echo, status):
    echo[1] = status
    ended = house.run(*ask(echo[0], "--max-attempts", "1"), env=ENV, code=1)
    assert "0 scored + 10 provider_error" in ended.stdout
    assert all("****" in row["error_message"] for row in house.rows("results"))
    holds_no_key(house, ended.stdout, ended.stderr)


@pytest.mark.parametrize("program", [SHARD, WORKER])
def test_the_lower_layers_alone_do_not_show_an_echoed_key_either(house, echo, program):
    ended = house.run(*ask(echo[0]), env=ENV, program=program, code=3)
    assert "****" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert KEY not in ended.stdout + ended.stderr
    if program == SHARD:
        holds_no_key(house)
    else:
        assert house.files() == set()


def test_a_catalog_of_ones_own_names_an_endpoint(house, simulator):
    (house.path / "own.toml").write_text(
        f"""[families.mine]
provider = "at-home"
api = "openai"
base_url = "{simulator.url}/v1"
workers = 4
qps = 500
instances = [{{ name = "left", key_names = ["A_KEY"] }}, {{ name = "right", key_names = ["B_KEY"] }}]

[models.home-model]
family = "mine"
"""
    )
    command = ("--catalog", "own.toml", "--model", "home-model", "--num-instances", "2", "--balance", "even")
    house.run(*command, env={"A_KEY": KEY, "B_KEY": KEY[::-1]})
    rows = house.rows("results")
    assert {(row["provider"], row["deployment"]) for row in rows} == {("at-home", "left"), ("at-home", "right")}
    assert len(simulator.stats()["by_key"]) == 2
    holds_no_key(house)
