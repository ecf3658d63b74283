"""Bad input: exit code 2 and one line that says what and where; nothing is started or written."""

from __future__ import annotations

import pytest
from real_runs import SHARD, THREE_KEYS, WORKER

SIMULATED = ("--simulate", "--model", THREE_KEYS)
REAL_QWEN = {
    "IDEALLAB_BASE_URL": "http://127.0.0.1:9/v1",
    "IDEALLAB_API_KEYS": "first-key,second-key",
}

MISTAKES = {
    "unknown model": (("--simulate", "--model", "qwen2.5-72b-instuct"), {}, ("--catalog", "'qwen2.5-72b-instruct'")),
    "model in another case": (("--simulate", "--model", "deepseek-v3-0324"), {}, ("DeepSeek-V3-0324",)),
    "no model": (("--simulate",), {}, ("--model",)),
    "blank model": (("--simulate", "--model", " , "), {}, ("--model",)),
    "unknown prompt type": ((*SIMULATED, "--prompt-types", "optimla"), {}, ("--prompt-types", "'optimal'")),
    "unknown task type": ((*SIMULATED, "--task-types", "simple_tsk"), {}, ("--task-types", "'simple_task'")),
    "unknown difficulty": ((*SIMULATED, "--difficulty", "esay"), {}, ("--difficulty", "'easy'")),
    "unknown severity": ((*SIMULATED, "--severity", "sever"), {}, ("--severity", "'severe'")),
    "unknown tool protocol": ((*SIMULATED, "--tool-protocol", "tgas"), {}, ("--tool-protocol", "'tags'")),
    "unknown rate mode": ((*SIMULATED, "--rate-mode", "adaptve"), {}, ("--rate-mode", "'adaptive'")),
    "unknown balance": ((*SIMULATED, "--balance", "pul"), {}, ("--balance", "'pull'")),
    "unknown storage format": ((*SIMULATED, "--storage-format", "parket"), {}, ("--storage-format", "'parquet'")),
    "rate above 1": ((*SIMULATED, "--tool-success-rate", "1.5"), {}, ("--tool-success-rate", "1.5")),
    "rate below 0": ((*SIMULATED, "--tool-success-rate", "0.8,-0.1"), {}, ("--tool-success-rate", "-0.1")),
    "rate not a number": ((*SIMULATED, "--tool-success-rate", "nan"), {}, ("--tool-success-rate", "nan")),
    "rate in words": ((*SIMULATED, "--tool-success-rate", "abc"), {}, ("--tool-success-rate", "'abc'")),
    "negative count": ((*SIMULATED, "--num-instances", "-5"), {}, ("--num-instances", "-5")),
    "count of zero": ((*SIMULATED, "--num-instances", "0"), {}, ("--num-instances", "0")),
    "count in words": ((*SIMULATED, "--num-instances", "abc"), {}, ("--num-instances", "'abc'")),
    "empty count": ((*SIMULATED, "--num-instances", ""), {}, ("--num-instances",)),
    "empty rate": ((*SIMULATED, "--tool-success-rate", ""), {}, ("--tool-success-rate",)),
    "half an instance": ((*SIMULATED, "--num-instances", "2.5"), {}, ("--num-instances", "'2.5'")),
    "more instances than sensible": ((*SIMULATED, "--num-instances", "10000000"), {}, ("--num-instances", "100,000")),
    "no shards": ((*SIMULATED, "--shards", "0"), {}, ("--shards",)),
    "no workers": ((*SIMULATED, "--max-workers", "0"), {}, ("--max-workers",)),
    "no attempts": ((*SIMULATED, "--max-attempts", "0"), {}, ("--max-attempts",)),
    "no rate": ((*SIMULATED, "--qps", "0"), {}, ("--qps",)),
    "no time": ((*SIMULATED, "--timeout", "-1"), {}, ("--timeout",)),
    "negative stagger": ((*SIMULATED, "--stagger", "0,-30"), {}, ("--stagger",)),
    "stagger in words": ((*SIMULATED, "--stagger", "soon"), {}, ("--stagger", "'soon'")),
    "negative seed": ((*SIMULATED, "--seed", "-1"), {}, ("--seed",)),
    "too hot": ((*SIMULATED, "--temperature", "9"), {}, ("--temperature",)),
    "unknown option": ((*SIMULATED, "--num-instance", "5"), {}, ("--num-instance",)),
    "unknown sub-command": (("stats",), {}, ("stats",)),
    "rate mode of the environment": (SIMULATED, {"RATE_MODE": "foo"}, ("RATE_MODE", "'foo'")),
    "storage format of the environment": (SIMULATED, {"STORAGE_FORMAT": "jsn"}, ("STORAGE_FORMAT", "'json'")),
    "shard to debug out of range": (SIMULATED, {"DEBUG_PROCESS_NUM": "4"}, ("DEBUG_PROCESS_NUM", "3 shards")),
    "shard to debug from zero": (SIMULATED, {"DEBUG_PROCESS_NUM": "0"}, ("DEBUG_PROCESS_NUM", "3 shards")),
    "shard to debug in words": (SIMULATED, {"DEBUG_PROCESS_NUM": "two"}, ("DEBUG_PROCESS_NUM", "'two'")),
    "debug log neither true nor false": (SIMULATED, {"DEBUG_LOG": "maybe"}, ("DEBUG_LOG", "'maybe'")),
    "missing catalog": ((*SIMULATED, "--catalog", "own.toml"), {}, ("own.toml",)),
    "no key for Azure": (
        ("--model", "gpt-4o-mini"),
        {"AZURE_OPENAI_ENDPOINT": "https://a.example"},
        ("AZURE_OPENAI_API_KEY", "--simulate"),
    ),
    "no endpoint for Azure": (
        ("--model", "gpt-4o-mini"),
        {"AZURE_OPENAI_API_KEY": "a-key"},
        ("AZURE_OPENAI_ENDPOINT", "--simulate"),
    ),
    "neither key nor endpoint for IdealLab": (
        ("--model", THREE_KEYS),
        {},
        ("IDEALLAB_BASE_URL", "IDEALLAB_API_KEY_0", "IDEALLAB_API_KEYS", "--simulate"),
    ),
    "a third key missing": (("--model", THREE_KEYS), REAL_QWEN, ("IDEALLAB_API_KEY_2", "--shards 2")),
    "no key for deepseek": (("--model", "deepseek-v3.1"), {}, ("DS_API_KEY", "DEEPSEEK_API_KEY", "--simulate")),
    "no key under the name given": (
        ("--model", "mine", "--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "MY_KEY"),
        {},
        ("MY_KEY", "--simulate"),
    ),
    "key in place of its name": (
        ("--model", "mine", "--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "sk-secret-value"),
        {},
        ("--api-key-env",),
    ),
    "base URL without a scheme": (("--model", "mine", "--base-url", "127.0.0.1:9/v1"), {}, ("--base-url", "http://")),
    "base URL without a host": (("--model", "mine", "--base-url", "http://"), {}, ("--base-url", "host")),
    "base URL with a bad port": (("--model", "mine", "--base-url", "http://a:bc/v1"), {}, ("--base-url",)),
    "simulator URL without a scheme": (
        ("--model", THREE_KEYS, "--simulator-url", "localhost:80"),
        {},
        ("--simulator-url", "http://"),
    ),
    "endpoint of the environment": (
        ("--model", "gpt-4o-mini"),
        {"AZURE_OPENAI_API_KEY": "a-key", "AZURE_OPENAI_ENDPOINT": "a.example"},
        ("AZURE_OPENAI_ENDPOINT", "http://"),
    ),
}


def told_in_one_line(ended, *words: str) -> None:
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert [word for word in words if word not in ended.stderr] == [], ended.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_told_in_one_line_and_nothing_is_written(house, command, mistake):
    arguments, env, words = MISTAKES[mistake]
    told_in_one_line(command(*arguments, env=env, code=2), *words)
    assert house.files() == set()


@pytest.mark.parametrize("mistake", ["unknown model", "neither key nor endpoint for IdealLab"])
def test_a_program_that_was_started_wrongly_says_the_same(house, mistake):
    arguments, env, words = MISTAKES[mistake]
    told_in_one_line(house.run(*arguments, env=env, code=2), *words)
    assert house.files() == set()


@pytest.mark.parametrize("program", [SHARD, WORKER])
def test_the_lower_layers_alone_tell_mistakes_in_the_same_way(house, program):
    arguments = ("--simulate", "--model", THREE_KEYS, "--prompt-types", "optimla")
    told_in_one_line(house.run(*arguments, program=program, code=2), "--prompt-types", "'optimal'")
    arguments = ("--model", THREE_KEYS)
    told_in_one_line(house.run(*arguments, program=program, code=2), "IDEALLAB_API_KEY_0", "--simulate")
    assert house.files() == set()


def test_an_unknown_deployment_is_told_with_the_nearest(house):
    ended = house.run(*SIMULATED, "--deployment", "qwen-kye1", program=SHARD, code=2)
    told_in_one_line(ended, "--deployment", "'qwen-key1'")
    assert house.files() == set()


@pytest.mark.parametrize("count", ["0", "101"])
def test_a_count_of_conversations_outside_the_plan_is_told(house, count):
    told_in_one_line(house.run(*SIMULATED, "--count", count, program=WORKER, code=2), "--count")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[models\n", ("own.toml", "line 1")),
        (b"\xff\xfe\x00", ("own.toml",)),
        (b'[models.mine]\nfamily = "azure_opne"\n', ("own.toml", "mine", "azure_open")),
        (b'[models.mine]\nfamily = "generic"\nworkers = -1\n', ("own.toml", "workers")),
        (b'[models.mine]\nfamily = "generic"\nqpps = 1\n', ("own.toml", "qpps", "qps")),
    ],
)
def test_an_invalid_catalog_is_told_with_its_place(house, command, content, words):
    (house.path / "own.toml").write_bytes(content)
    told_in_one_line(command("--simulate", "--model", "mine", "--catalog", "own.toml", code=2), *words)
    assert house.files() == {"own.toml"}


def test_a_directory_in_place_of_a_catalog_is_told(house, command):
    (house.path / "own.toml").mkdir()
    told_in_one_line(command("--simulate", "--model", "mine", "--catalog", "own.toml", code=2), "own.toml")


@pytest.mark.parametrize("flag", ["--results-dir", "--logs-dir"])
@pytest.mark.parametrize("target", ["in-the-way", "in-the-way/below"])
def test_a_file_in_the_way_of_a_directory_is_told(house, command, flag, target):
    (house.path / "in-the-way").write_text("not a directory")
    told_in_one_line(command(*SIMULATED, flag, target, code=2), "in-the-way")
    assert {name for name in house.files() if (house.path / name).is_file()} == {"in-the-way"}


def test_an_unreadable_dotenv_is_told(house, command):
    (house.path / ".env").write_bytes(b"A_KEY=\xff\xfe\n")
    told_in_one_line(command(*SIMULATED, code=2), ".env")


def test_a_key_that_cannot_be_sent_is_told_and_not_shown(house, command):
    arguments = ("--model", "mine", "--base-url", "http://127.0.0.1:9/v1", "--api-key-env", "MY_KEY")
    ended = command(*arguments, env={"MY_KEY": "half of a\nsecret"}, code=2)
    told_in_one_line(ended, "MY_KEY")
    assert "secret" not in ended.stderr.replace("MY_KEY", "")
    assert house.files() == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status",), ("--logs-dir", "logs")),
        (("status", "some-run"), ("logs",)),
        (("report",), ("--results-dir",)),
        (("merge",), ("--results-dir",)),
        (("conversation", "abc"), ("--results-dir",)),
    ],
)
def test_sub_commands_tell_that_there_is_nothing_to_look_at(house, command, arguments, words):
    told_in_one_line(command(*arguments, code=2), *words)
    assert house.files() == set()
