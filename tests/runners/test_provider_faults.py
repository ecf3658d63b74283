"""A provider's failure is never a model's failure: faults cost time and attempts, not scores."""

from __future__ import annotations

import socket

import pytest
from real_runs import SHARD, THREE_KEYS, adds_up, scores

from simulator.faults import KINDS

WHAT = ("--model", THREE_KEYS, "--num-instances", "6", "--prompt-types", "optimal,baseline", "--qps", "1000")
TRIALS = 60


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    return ("--simulator-url", simulator.url, *WHAT, *arguments)


def few(url: str, *arguments: str) -> tuple[str, ...]:
    return ("--simulator-url", url, "--model", THREE_KEYS, "--num-instances", "2", "--qps", "1000", *arguments)


@pytest.mark.slow
def test_faults_of_every_kind_change_no_score_and_errors_are_asked_again(new_house, simulator, simulate):
    calm = new_house("calm")
    calm.run(*ask(simulator))
    expected = scores(calm.rows())
    assert len(expected) == TRIALS

    stormy = new_house("stormy")
    storm = simulate("--latency", "0.005", "--fault-rate", "0.2", "--hang-s", "3")
    ended = stormy.run(*ask(storm, "--max-attempts", "2", "--timeout", "1"), code=1)
    assert {f"fault-{kind}" for kind in KINDS} <= set(storm.stats()["by_answer"])
    found = scores(stormy.rows())
    assert set(found) == set(expected)
    errors = {key for key, row in found.items() if row[0] == "provider_error"}
    assert errors
    assert {key: row for key, row in found.items() if key not in errors} == {
        key: row for key, row in expected.items() if key not in errors
    }
    assert f"{TRIALS} planned = {TRIALS - len(errors)} scored + {len(errors)} provider_error" in ended.stdout
    assert adds_up(stormy.status())
    assert all(row["error_message"] and row["error_category"] for row in stormy.rows() if row["trial_key"] in errors)

    storm.reset()
    stormy.run(*ask(storm, "--max-attempts", "9", "--timeout", "1"))
    assert set(storm.stats()["by_trial"]) == errors
    assert storm.stats()["repeated"] == 0
    assert scores(stormy.rows()) == expected


def test_a_provider_that_is_gone_gives_provider_errors_and_a_run_that_resumes(house, simulator):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    ended = house.run(*few(url, "--max-attempts", "2"), code=1)
    assert "10 planned = 0 scored + 10 provider_error" in ended.stdout
    assert {(row["status"], row["error_category"]) for row in house.rows()} == {("provider_error", "connection")}
    view = house.status()
    assert adds_up(view)
    assert view["state"] == "stopped"
    house.run(*few(simulator.url))
    assert {row["status"] for row in house.rows()} == {"scored"}
    assert len(scores(house.rows())) == 10


def test_a_provider_that_comes_back_is_asked_only_for_what_it_owes(house, simulate, simulator):
    ended = house.run(*few(simulate("--fault", "500=0.3").url, "--max-attempts", "1"), code=1)
    assert "provider_error" in ended.stdout
    owed = {row["trial_key"] for row in house.rows() if row["status"] == "provider_error"}
    house.run(*few(simulator.url))
    assert set(simulator.stats()["by_trial"]) == owed
    assert simulator.stats()["repeated"] == 0
    rows = {row["trial_key"]: row for row in house.rows()}
    assert all(rows[key]["requests"] == rows[key]["turns"] for key in owed)


def test_a_refused_key_stops_its_shard_with_one_message_and_its_siblings_do_its_work(house, simulate):
    denying = simulate("--latency", "0.05", "--deny-key", "sim-qwen-key1")
    ended = house.run(*few(denying.url, "--num-instances", "6", "--stagger", "0,0,0"))
    assert ended.stdout.count("shard 2 stopped: ") == 1
    assert "401" in ended.stdout
    assert "30 planned = 30 scored" in ended.stdout
    assert {row["shard"] for row in house.rows()} <= {1, 3}


def test_work_of_a_refused_key_stays_pending_when_it_may_not_move(house, simulate):
    denying = simulate("--latency", "0.005", "--deny-key", "sim-qwen-key1")
    ended = house.run(*few(denying.url, "--balance", "even"), code=3)
    assert ended.stdout.count("shard 2 stopped: ") == 1
    assert "10 planned = 7 scored + 0 provider_error + 0 harness_error + 3 pending" in ended.stdout
    assert adds_up(house.status())


def test_a_deployment_that_does_not_exist_is_told_once_and_leaves_everything_pending(house, simulate):
    denying = simulate("--latency", "0.005", "--deny-model", THREE_KEYS)
    ended = house.run(*few(denying.url), code=3)
    for shard in (1, 2, 3):
        assert ended.stdout.count(f"shard {shard} stopped: ") <= 1
    assert "404" in ended.stdout
    assert "10 planned = 0 scored + 0 provider_error + 0 harness_error + 10 pending" in ended.stdout


def test_a_shard_alone_says_exactly_how_much_of_its_share_is_scored(house, simulate, simulator):
    alone = ("--shards", "1", "--max-attempts", "1", "--num-instances", "6")
    failing = simulate("--latency", "0.005", "--fault", "503=0.15")
    for _ in range(2):
        ended = house.run(*few(failing.url, *alone), program=SHARD, code=None)
        scored = sum(row["status"] == "scored" for row in house.rows())
        assert f"{scored} of its 30 trials scored" in ended.stdout
        assert ended.returncode == (0 if scored == 30 else 1)
    house.run(*few(simulator.url, *alone), program=SHARD)
    assert {row["status"] for row in house.rows()} == {"scored"}


def test_hidden_limits_are_met_with_429s_that_cost_no_score(house, simulate):
    limited = simulate("--latency", "0.005", "--limit-qps", "15", "--limit-burst-s", "0.3")
    ended = house.run(*few(limited.url, "--qps", "40", "--num-instances", "4"))
    assert "20 planned = 20 scored" in ended.stdout
    assert limited.stats()["by_answer"]["429"] > 0
