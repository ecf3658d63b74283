"""Results of one endpoint are never taken for another's, and options that would not be heeded are refused."""

from __future__ import annotations

import pytest

ENV = {"A_KEY": "k" * 20}


def ask(url: str) -> tuple[str, ...]:
    one_type = ("--task-types", "simple_task", "--num-instances", "2")
    return ("--base-url", url, "--api-key-env", "A_KEY", "--model", "my-model", "--qps", "500", *one_type)


def test_the_same_name_at_another_endpoint_is_asked_itself(house, simulate):
    first, second = simulate("--latency", "0"), simulate("--latency", "0")
    house.run(*ask(f"{first.url}/v1"), env=ENV)
    house.run(*ask(f"{second.url}/v1"), env=ENV)
    assert first.stats()["requests"] > 0
    assert second.stats()["requests"] > 0
    assert {row["origin"] for row in house.rows("results")} == {f"{first.url}/v1", f"{second.url}/v1"}
    again = second.stats()["requests"]
    assert "finished" in house.run(*ask(f"{second.url}/v1/"), env=ENV).stdout
    assert second.stats()["requests"] == again


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--simulate", "--base-url", "http://127.0.0.1:1", "--api-key-env", "A_KEY", "--model", "m"), "--simulate"),
        (("--base-url", "http://127.0.0.1:1", "--model", "m"), "--api-key-env"),
        (("--model", "gpt-4o-mini", "status"), "--model"),
        (("--dry-run", "report"), "--dry-run"),
        (("tasks", "--tools", "network_fetchr"), "network_fetcher"),
        (("merge", "--logs-dir", "nowhere"), "nowhere"),
    ],
)
def test_what_would_not_be_heeded_is_refused(house, arguments, words):
    ended = house.run(*arguments, env=ENV, code=2)
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_minus_zero_is_zero(house, simulator):
    some = ("--simulator-url", simulator.url, "--model", "gpt-4o-mini", "--num-instances", "1")
    house.run(*some, "--temperature", "0")
    assert "finished" in house.run(*some, "--temperature", "-0").stdout


def test_merge_finds_the_stores_of_the_runs(house, simulator):
    some = ("--simulator-url", simulator.url, "--model", "gpt-4o-mini", "--num-instances", "1")
    house.run(*some, "--results-dir", "here")
    house.run(*some, "--results-dir", "there")
    assert house.run("merge").stdout.count("0 rows added to") == 2
