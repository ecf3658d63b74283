"""One command from the plan to the result table: everything asked, scored, stored once, and told."""

from __future__ import annotations

import contextlib
import re
from collections import Counter

import psutil
import pytest
from real_runs import SHARD, THREE_KEYS, WORKER, adds_up, scores

FIVE_TYPES = 5


def ask(simulator, *arguments: str) -> tuple[str, ...]:
    """A command line that asks a model with three keys, fast."""
    return ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--qps", "1000", *arguments)


def test_the_readme_command_scores_everything_with_its_own_simulator(house):
    command = ("--simulate", "--model", "qwen2.5-72b-instruct", "--prompt-types", "optimal", "--num-instances", "2")
    ended = house.run(*command, "--rate-mode", "adaptive", "--qps", "100")
    assert "SIMULATED: 10 planned = 10 scored + 0 provider_error + 0 harness_error + 0 pending" in ended.stdout
    assert ended.stderr == ""
    rows = house.rows()
    assert len(scores(rows)) == 10
    assert {(row["simulated"], row["model"], row["status"]) for row in rows} == {
        (True, "qwen2.5-72b-instruct", "scored")
    }
    for path in re.findall(r"^(?:rows|summary|run) +(\S+)$", ended.stdout, re.MULTILINE):
        assert list(house.path.glob(path)), f"{path} does not exist"
    again = house.run(*command, "--rate-mode", "adaptive")
    assert "finished" in again.stdout
    assert len(house.rows()) == 10


def test_the_same_command_again_says_finished_and_asks_nothing(house, simulator):
    house.run(*ask(simulator, "--num-instances", "2"))
    before, rows = simulator.stats(), house.rows()
    assert before["trials"] == 10
    again = house.run(*ask(simulator, "--num-instances", "2"))
    assert "finished" in again.stdout
    assert "10 planned = 10 scored" in again.stdout
    assert simulator.stats() == before
    assert house.rows() == rows
    assert adds_up(house.status())


def test_ways_of_asking_do_not_make_it_another_run(house, simulator):
    house.run(*ask(simulator, "--num-instances", "1"))
    requests = simulator.stats()["requests"]
    ways = ("--rate-mode", "fixed", "--shards", "1", "--max-workers", "2", "--timeout", "9", "--stagger", "0")
    assert "finished" in house.run(*ask(simulator, "--num-instances", "1", *ways)).stdout
    assert simulator.stats()["requests"] == requests


def test_more_instances_ask_for_the_missing_ones_only(house, simulator):
    house.run(*ask(simulator, "--num-instances", "2"))
    first = set(simulator.stats()["by_trial"])
    simulator.reset()
    ended = house.run(*ask(simulator, "--num-instances", "5"))
    assert "25 planned = 25 scored" in ended.stdout
    second = set(simulator.stats()["by_trial"])
    assert not first & second
    rows = house.rows()
    assert len(scores(rows)) == 25
    added = Counter(row["task_type"] for row in rows if row["trial_key"] in second)
    assert set(added.values()) == {3}
    assert len(added) == FIVE_TYPES


def test_fresh_asks_everything_again_and_the_newest_counts(house, simulator):
    house.run(*ask(simulator, "--num-instances", "1"))
    first = {row["trial_key"]: row["run_id"] for row in house.rows()}
    simulator.reset()
    house.run(*ask(simulator, "--num-instances", "1", "--fresh"))
    assert set(simulator.stats()["by_trial"]) == set(first)
    second = {row["trial_key"]: row["run_id"] for row in house.rows()}
    assert set(second) == set(first)
    assert not set(second.values()) & set(first.values())
    assert "finished" in house.run(*ask(simulator, "--num-instances", "1")).stdout


def test_results_are_filed_under_the_model_and_asked_of_each_deployment_of_two_families(house, simulator):
    models = ("DeepSeek-V3-0324", "qwen2.5-3b-instruct")
    command = ("--simulator-url", simulator.url, "--model", ",".join(models), "--qps", "1000", "--balance", "even")
    house.run(*command, "--num-instances", "3", "--task-types", "simple_task")
    rows = house.rows()
    azure = {"DeepSeek-V3-0324", "DeepSeek-V3-0324-2", "DeepSeek-V3-0324-3"}
    keys = {"qwen-key0", "qwen-key1", "qwen-key2"}
    assert Counter(row["model"] for row in rows) == {models[0]: 3, models[1]: 3}
    assert {row["deployment"] for row in rows if row["model"] == models[0]} == azure
    assert {row["deployment"] for row in rows if row["model"] == models[1]} == keys
    stats = simulator.stats()
    assert set(stats["by_deployment"]) == azure | {"qwen2.5-3b-instruct"}
    assert len(stats["by_key"]) == 6


def test_tool_success_rates_run_one_after_another(house, simulator):
    rates = (0.9, 0.6, 0.3)
    house.run(*ask(simulator, "--num-instances", "2", "--tool-success-rate", "0.9,0.6", "--tool-success-rate", "0.3"))
    rows = house.rows()
    assert Counter(row["tool_success_rate"] for row in rows) == dict.fromkeys(rates, 10)
    begun = {rate: min(row["started_at"] for row in rows if row["tool_success_rate"] == rate) for rate in rates}
    ended = {rate: max(row["ended_at"] for row in rows if row["tool_success_rate"] == rate) for rate in rates}
    assert ended[0.9] <= begun[0.6]
    assert ended[0.6] <= begun[0.3]


def debug_lines(house) -> dict[str, bool]:
    return {path.parent.name: " DEBUG " in path.read_text() for path in house.path.glob("logs/*/shards/*/shard.log")}


@pytest.mark.parametrize(
    ("env", "seen"),
    [
        ({"DEBUG_PROCESS_NUM": "2"}, {"02"}),
        ({"DEBUG_PROCESS_NUM": "2", "DEBUG_LOG": "true"}, {"02"}),
        ({"DEBUG_LOG": "true"}, {"01", "02", "03"}),
        ({}, set()),
    ],
)
def test_the_debug_log_is_written_for_the_shards_asked_for(house, simulator, env, seen):
    house.run(*ask(simulator, "--num-instances", "2", "--balance", "even"), env=env)
    logged = debug_lines(house)
    assert set(logged) == {"01", "02", "03"}
    assert {shard for shard, debug in logged.items() if debug} == seen


def test_a_flag_wins_over_the_environment_and_that_over_dotenv(house):
    (house.path / ".env").write_text("RATE_MODE=fixed\n")
    command = ("--dry-run", "--model", "gpt-4o-mini")
    assert "rate mode fixed" in house.run(*command).stdout
    assert "rate mode adaptive" in house.run(*command, env={"RATE_MODE": "adaptive"}).stdout
    assert "rate mode fixed" in house.run(*command, "--rate-mode", "fixed", env={"RATE_MODE": "adaptive"}).stdout


def test_a_shard_alone_works_off_its_share_and_three_of_them_finish_the_run(house, simulator):
    for place, name in enumerate(("qwen-key0", "qwen-key1", "qwen-key2"), 1):
        ended = house.run(*ask(simulator, "--num-instances", "2", "--deployment", name), program=SHARD)
        assert ended.stderr == ""
        rows = house.rows()
        assert {row["shard"] for row in rows} == set(range(1, place + 1))
        assert Counter(row["deployment"] for row in rows)[name] == (4 if place == 1 else 3)
    assert "finished" in house.run(*ask(simulator, "--num-instances", "2")).stdout
    assert len(scores(house.rows())) == 10
    assert simulator.stats()["repeated"] == 0


def test_a_shard_alone_starts_a_simulator_of_its_own(house):
    command = ("--simulate", "--model", THREE_KEYS, "--num-instances", "1", "--qps", "1000")
    house.run(*command, program=SHARD)
    assert len(house.rows()) == 2


def test_a_worker_alone_prints_a_conversation_and_stores_nothing(house):
    ended = house.run("--simulate", "--model", THREE_KEYS, "--count", "2", "--qps", "1000", program=WORKER)
    assert ended.stdout.count("\ntrial ") == 2
    assert ended.stdout.count("\nscored ") == 2
    assert "── user ──" in ended.stdout
    assert "── assistant ──" in ended.stdout
    assert house.files() == set()


def test_a_stored_conversation_is_found_by_the_beginning_of_its_trial_key(house, simulator):
    house.run(*ask(simulator, "--num-instances", "1", "--task-types", "simple_task"))
    (row,) = house.rows()
    told = house.run("conversation", row["trial_key"][:8], "--results-dir", "results/simulated").stdout
    assert told.startswith(f"trial {row['trial_key']} of run {row['run_id']}")
    assert told.count("── assistant ──") == row["turns"]


def test_a_reader_that_leaves_early_meets_no_traceback_and_the_run_is_stored(house, simulator):
    running = house.start(
        *ask(simulator, "--num-instances", "1"), before=("sh", "-c", '"$@" | head -n 1; exit 0', "sh")
    )
    running.wait()
    house.wait_until_empty()
    assert running.complaints == ""
    assert running.output.count("\n") == 1
    house.run(*ask(simulator, "--num-instances", "1"))
    assert len(house.rows()) == 5
    assert simulator.stats()["repeated"] == 0


@pytest.mark.slow
def test_no_command_line_of_the_whole_tree_holds_more_than_paths_and_numbers(house, slow_simulator):
    running = house.start(*ask(slow_simulator, "--num-instances", "2"))
    slow_simulator.wait_for_requests(1)
    for process in running.shards().values():
        with contextlib.suppress(psutil.Error):
            assert process.cmdline()[2::2] == ["--run-dir", "--shard"]
    assert running.wait() == 0
