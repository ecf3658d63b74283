"""Two models on one key whose limits are joint, and two runs on one key: one hidden limit, kept as one."""

from __future__ import annotations

import pytest
from real_runs import adds_up

MODELS = "qwen2.5-7b-instruct,qwen2.5-3b-instruct"
LIMITED = ("--limit", "sim-qwen-key0=30", "--latency", "0.05", "--retry-after", "none")
CATALOG = "[families.ideallab_open]\njoint_limits = true\n"
WHAT = ("--prompt-types", "optimal", "--shards", "1", "--qps", "20")


@pytest.mark.slow
def test_two_models_on_one_key_with_joint_limits_are_paced_as_one(house, simulate):
    (house.path / "joint.toml").write_text(CATALOG)
    server = simulate(*LIMITED)
    command = ("--simulator-url", server.url, "--model", MODELS, "--catalog", "joint.toml", *WHAT)
    house.run(*command, "--num-instances", "16")
    stats = server.stats()
    assert 0 < stats["by_answer"]["429"] <= 0.05 * stats["requests"], stats["by_answer"]
    logs = "".join(path.read_text() for path in house.path.rglob("shard.log"))
    assert logs.count("another process keeps the limit of this scope") == 1
    assert adds_up(house.status())


@pytest.mark.slow
def test_two_runs_on_one_key_are_paced_as_one_and_the_one_that_is_killed_frees_its_share(new_house, simulate):
    server = simulate(*LIMITED)
    command = ("--simulator-url", server.url, "--model", "qwen2.5-7b-instruct", *WHAT, "--num-instances", "40")
    first, second = new_house("first"), new_house("second")
    killed = first.start(*command)
    server.wait_for_requests(30)
    under_way = second.start(*command)
    server.wait_for_requests(150)
    killed.process.kill()
    assert under_way.wait() == 0
    stats = server.stats()
    assert 0 < stats["by_answer"]["429"] <= 0.05 * stats["requests"], stats["by_answer"]
    logs = "".join(path.read_text() for path in second.path.rglob("shard.log"))
    assert "another process keeps the limit of this scope" in logs
