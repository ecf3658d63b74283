"""Suites end with their tables and share what they have in common; trials explain themselves; tasks can be brought."""

from __future__ import annotations

import csv
import json
from collections import defaultdict

import pytest
from real_runs import scores

MODEL = "gpt-4o-mini"


def suite(simulator, name: str, *arguments: str) -> tuple[str, ...]:
    return ("--simulator-url", simulator.url, "--model", MODEL, "--suite", name, "--num-instances", "2", *arguments)


def test_suites_share_cells_and_each_ends_with_its_table(house, simulator):
    ended = house.run(*suite(simulator, "5.1,5.4,5.5"))
    # 5.1 has one cell per task type; 5.4 adds three rates, 5.5 two prompt types.
    assert simulator.stats()["trials"] == 2 * 5 * (1 + 3 + 2)
    for name in ("5.1", "5.4", "5.5"):
        assert f"Suite {name}" in ended.stdout
        folder = house.path / "results" / "simulated" / "suites"
        with (folder / f"{name}.csv").open(newline="") as file:
            assert sum(int(row["scored"]) for row in csv.DictReader(file)) == {"5.1": 10, "5.4": 40, "5.5": 30}[name]
        assert "SIMULATED" in (folder / f"{name}.md").read_text()
        assert "\\begin{tabular" in (folder / f"{name}.tex").read_text()
        assert json.loads((folder / f"{name}.json").read_text())["rows"]
        assert (folder / f"{name}.txt").read_text().strip() in " ".join(ended.stdout.split())


def test_flawed_plans_stand_on_the_very_same_tasks_as_their_control(house, simulator):
    house.run(*suite(simulator, "5.3"))
    tasks = defaultdict(set)
    for row in house.rows():
        tasks[row["prompt_type"]].add((row["task_id"], row["epoch"]))
        assert bool(row["plan_diff"]) == row["prompt_type"].startswith("flawed_")
    assert len(tasks) == 8
    assert len(set(map(frozenset, tasks.values()))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--suite", "5.6"), "5.6"),
        (("--suite", "5.1", "--prompt-types", "cot"), "--prompt-types"),
        (("--suite", "5.1", "--difficulty", "easy"), "--difficulty"),
        (("--suite", "5.4", "--tool-success-rate", "0.5"), "--tool-success-rate"),
    ],
)
def test_a_suite_that_cannot_be_is_told_in_one_line(house, arguments, words):
    ended = house.run("--simulate", "--model", MODEL, *arguments, code=2)
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert house.files() == set()


def test_a_suite_can_be_looked_at_before(house):
    ended = house.run("--model", MODEL, "--suite", "all", "--dry-run")
    assert [f"suite {name}," in ended.stdout for name in ("5.1", "5.2", "5.3", "5.4", "5.5")] == [True] * 5
    assert "tasks are eligible" in ended.stdout
    assert house.files() == set()


def test_a_trial_explains_its_score(house, simulator):
    house.run(
        *("--simulator-url", simulator.url, "--model", MODEL, "--num-instances", "1"),
        *("--prompt-types", "flawed_tool_misuse", "--task-types", "data_pipeline"),
    )
    (row,) = house.rows()
    told = house.run("explain", row["trial_key"][:10], "--results-dir", "results/simulated").stdout
    assert row["trial_key"] in told
    assert row["plan_diff"].splitlines()[1] in told
    assert f"\n{row['outcome']}" in told
    assert "luck" in told
    assert "rule — full:" in told
    wrong = house.run("explain", "zzzz", "--results-dir", "results/simulated", code=2)
    assert "zzzz" in wrong.stderr


def test_tasks_are_listed_shown_exported_and_brought_back(house, simulator):
    assert "200 tasks" in house.run("tasks", "--task-types", "api_integration").stdout
    assert "tools shown" in house.run("tasks", "data_pipeline-001", "--difficulty", "hard").stdout
    assert "data_pipeline-001" in house.run("tasks", "data_pipelin-001", code=2).stderr
    house.run("tasks", "--task-types", "data_pipeline", "--export", "own.json")
    ask = ("--simulator-url", simulator.url, "--model", MODEL, "--task-types", "data_pipeline", "--num-instances", "2")
    house.run(*ask)
    built_in = scores(house.rows())
    house.run(*ask, "--task-library", "own.json", "--results-dir", "own")
    assert scores(house.rows("own")) == built_in


def test_a_simulator_of_our_own_knows_the_tasks_that_were_brought(house):
    house.run("tasks", "simple_task-001", "--export", "own.json")
    document = json.loads((house.path / "own.json").read_text())
    entries = document if isinstance(document, list) else document["tasks"]
    entries[0]["instance_id" if "instance_id" in entries[0] else "id"] = "mine-1"
    (house.path / "own.json").write_text(json.dumps(document))
    ask = (
        "--simulate",
        "--model",
        "o3-0416-global",
        "--task-types",
        "simple_task",
        "--num-instances",
        "6",
        "--qps",
        "50",
    )
    house.run(*ask, "--task-library", "own.json")
    rows = house.rows()
    assert {row["task_id"] for row in rows} == {"mine-1"}
    assert {row["epoch"] for row in rows} == set(range(6))
    assert any(row["outcome"] == "full" for row in rows)


def test_a_task_file_with_mistakes_is_told_by_index_and_field(house):
    house.run("tasks", "simple_task-001", "simple_task-002", "--export", "own.json")
    document = json.loads((house.path / "own.json").read_text())
    entries = document if isinstance(document, list) else document["tasks"]
    entries[1]["required_tools"] = ["file_operations_raeder"]
    entries[1].pop("steps", None)
    entries[1].pop("workflow", None)
    (house.path / "own.json").write_text(json.dumps(document))
    ended = house.run("tasks", "--task-library", "own.json", code=2)
    for words in ("own.json", "1", "required_tools", "file_operations_reader", "--skip-invalid"):
        assert words in ended.stderr
    assert "1 tasks" in house.run("tasks", "--task-library", "own.json", "--skip-invalid").stdout
