"""The plan is the table of the requirements, for every family, rate mode and number of prompt types."""

from __future__ import annotations

import re

import pytest

ONE, THREE = "optimal", "baseline,cot,optimal"
AZURE = ["{model}", "{model}-2", "{model}-3"]
KEYS = ["qwen-key0", "qwen-key1", "qwen-key2"]
ITSELF = ["{model}"]

# model, deployments, QPS, workers of each: adaptive and fixed with one prompt type, then with three
PLANS = [
    ("DeepSeek-V3-0324", AZURE, "200", (100, 50), (300, 150)),
    ("DeepSeek-R1-0528", AZURE, "200", (100, 50), (300, 150)),
    ("Llama-3.3-70B-Instruct", AZURE, "200", (100, 50), (300, 150)),
    ("qwen2.5-72b-instruct", KEYS, "10", (5, 3), (5, 3)),
    ("qwen2.5-3b-instruct", KEYS, "10", (5, 3), (5, 3)),
    ("gpt-4o-mini", ITSELF, "200", (200, 100), (600, 300)),
    ("gpt-5-mini", ITSELF, "200", (200, 100), (600, 300)),
    ("o3-0416-global", ITSELF, "5", (1, 1), (1, 1)),
    ("gemini-2.5-flash-06-17", ITSELF, "5", (1, 1), (1, 1)),
    ("kimi-k2", ITSELF, "5", (1, 1), (1, 1)),
    ("claude_sonnet4", ITSELF, "5", (1, 1), (1, 1)),
    ("deepseek-v3.1", ITSELF, "100", (64, 32), (64, 32)),
]
FAMILIES = [PLANS[0], PLANS[3], PLANS[5], PLANS[7], PLANS[11]]


def table(text: str) -> list[list[str]]:
    """Return the cells of the plan's lines, totals last."""
    rules = [place for place, line in enumerate(text.splitlines()) if line.startswith("──")]
    lines = text.splitlines()[rules[0] + 1 : rules[1]]
    return [re.split(r"  +", line.strip()) for line in lines]


@pytest.fixture
def planned(house, command):
    """Ask for a plan; return its lines and the whole text."""

    def plan(*arguments: str, env: dict[str, str] | None = None) -> tuple[list[list[str]], str]:
        told = command("--dry-run", *arguments, env=env).stdout
        assert house.files() == set()
        return table(told), told

    return plan


@pytest.mark.parametrize("prompts", [ONE, THREE], ids=["1 prompt type", "3 prompt types"])
@pytest.mark.parametrize("place", [0, 1], ids=["adaptive", "fixed"])
@pytest.mark.parametrize("plan", FAMILIES, ids=[plan[0] for plan in FAMILIES])
def test_plan_of_a_family_equals_the_table_of_the_requirements(planned, plan, place, prompts):
    model, deployments, qps, one, three = plan
    workers = (one if prompts == ONE else three)[place]
    trials = 100 if prompts == ONE else 300
    mode = ("adaptive", "fixed")[place]
    (*shards, total), told = planned("--model", model, "--prompt-types", prompts, "--rate-mode", mode)
    split = [trials // len(deployments) + (nth < trials % len(deployments)) for nth in range(len(deployments))]
    delays = ["0 s", "≤ +30 s", "≤ +20 s"]
    assert [[shard[n] for n in (0, 1, 2, -4, -3, -2, -1)] for shard in shards] == [
        [str(nth + 1), model, name.format(model=model), str(workers), qps, str(split[nth]), delays[nth]]
        for nth, name in enumerate(deployments)
    ]
    assert total == ["total", str(workers * len(deployments)), str(trials)]
    assert told.startswith(f"{trials} trials, rate mode {mode}\n")


def test_all_models_side_by_side_have_the_plans_of_the_requirements(planned):
    models = ",".join(plan[0] for plan in PLANS)
    (*shards, _), _ = planned("--model", models, "--num-instances", "6", "--stagger", "0,30,20")
    expected = []
    for model, deployments, qps, (adaptive, _), _ in PLANS:
        for nth, name in enumerate(deployments):
            share, delay = str(30 // len(deployments)), ("0 s" if not expected else f"+{(0, 30, 20)[nth]} s")
            expected.append([model, name.format(model=model), str(adaptive), qps, share, delay])
    assert [[shard[n] for n in (1, 2, -4, -3, -2, -1)] for shard in shards] == expected


def test_key_variables_are_named_and_missing_ones_marked_but_no_value_is_shown(planned):
    env = {"IDEALLAB_API_KEY_0": "first-secret", "IDEALLAB_API_KEYS": "a-secret,b-secret"}
    (first, second, third, _), told = planned("--model", "qwen2.5-7b-instruct", env=env)
    assert first[3] == "IDEALLAB_API_KEY_0"
    assert second[3] == "IDEALLAB_API_KEYS#1"
    assert third[3] == "IDEALLAB_API_KEY_2 (not set)"
    assert "secret" not in told


def test_what_the_user_says_of_workers_qps_and_shards_is_final(planned):
    ways = ("--max-workers", "7", "--qps", "2.5", "--shards", "2", "--prompt-types", THREE, "--num-instances", "1")
    (*shards, total), _ = planned("--model", "DeepSeek-V3-0324", *ways)
    assert [shard[-4:-1] for shard in shards] == [["7", "2.5", "8"], ["7", "2.5", "7"]]
    assert total == ["total", "14", "15"]


def test_a_single_delay_repeats_for_all_later_shards(planned):
    (*shards, _), _ = planned("--model", "qwen2.5-7b-instruct", "--stagger", "4")
    assert [shard[-1] for shard in shards] == ["0 s", "+4 s", "+4 s"]


def test_tool_success_rates_and_prompt_types_multiply_and_each_rate_is_split_evenly(planned):
    ways = ("--tool-success-rate", "0.9,0.6", "--task-types", "simple_task", "--num-instances", "4")
    (*shards, _), told = planned("--model", "qwen2.5-7b-instruct", *ways)
    assert [shard[-2] for shard in shards] == ["4", "2", "2"]
    assert told.startswith("8 trials")


def test_plan_says_where_shards_run_and_what_they_share(planned):
    pytest.importorskip("ray")
    (*shards, _), told = planned(
        "--model", "deepseek-v3.1", "--replicas", "3", "--engine", "ray", "--ray-address", "a:1"
    )
    assert len(shards) == 3
    assert "100 trials, rate mode adaptive, 3 shards to a key, which share its QPS, on Ray at a:1\n" in told
    assert "share" not in planned("--model", "deepseek-v3.1")[1]
