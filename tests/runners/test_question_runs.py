"""Question banks through the real programs: asked once each, marked, cached, resumed, repeated from a manifest."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from real_runs import ROOT, THREE_KEYS, House, adds_up, wait_for

EXAMPLES = ROOT / "examples" / "questions.parquet"
MODEL = "deepseek-v3.1"
MARKS = ("status", "outcome", "error_category", "answer", "target", "score", "requests")

pytestmark = pytest.mark.slow


def bank(path: Path, rows: list[dict]) -> Path:
    """Write a bank as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sums(count: int) -> list[dict]:
    """So many different questions."""
    return [{"id": f"q{n}", "question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(count)]


def ask(simulator, path: Path, *arguments: str, model: str = MODEL) -> tuple[str, ...]:
    """A command line that asks a bank."""
    where = ("--simulator-url", simulator.url, "--questions", str(path))
    return (*where, "--model", model, "--qps", "2000", "--stagger", "0", *arguments)


def marks(house: House) -> dict[tuple[str, int], tuple]:
    """Return how each question was marked; there may be one row of each only."""
    found = {(row["task_id"], row["epoch"]): tuple(row[name] for name in MARKS) for row in house.rows()}
    assert len(found) == len(house.rows())
    return found


def test_the_shipped_bank_is_asked_and_marked(house):
    ended = house.run("--simulate", "--model", MODEL, "--questions", str(EXAMPLES), "--scorer", "math")
    rows = {row["task_id"]: row for row in house.rows()}
    assert len(rows) == 60
    assert {row["status"] for row in rows.values()} == {"scored"}
    assert rows["algebra-01"]["target"] == "1"
    assert {row["task_type"] for row in rows.values()} == {"algebra", "arithmetic", "number theory", "probability"}
    assert "60 planned = 60 scored" in ended.stdout
    right = sum(row["outcome"] == "full" for row in rows.values())
    assert 40 < right <= 60
    assert house.status()["scored"] == 60


def test_a_question_is_asked_once_and_again_only_when_the_bank_has_more(house, simulator):
    path = bank(house.path / "bank.jsonl", sums(20))
    house.run(*ask(simulator, path, "--scorer", "numeric"))
    before = marks(house)
    assert simulator.stats()["requests"] == len(before) == 20
    bank(path, sums(30))
    house.run(*ask(simulator, path, "--scorer", "numeric"))
    assert simulator.stats()["requests"] == len(marks(house)) == 30
    assert before.items() <= marks(house).items()


def test_after_a_kill_the_same_command_finishes_with_the_same_marks(new_house, slow_simulator):
    calm, struck = new_house("calm"), new_house("struck")
    path = bank(calm.path / "bank.jsonl", sums(150))
    calm.run(*ask(slow_simulator, path, "--scorer", "numeric", "--max-workers", "30"))
    slow_simulator.reset()
    running = struck.start(*ask(slow_simulator, path, "--scorer", "numeric", "--max-workers", "8"))
    slow_simulator.wait_for_requests(40)
    running.process.kill()
    running.wait()
    struck.wait_until_empty()
    assert adds_up(struck.status())
    struck.run(*ask(slow_simulator, path, "--scorer", "numeric", "--max-workers", "30"))
    assert marks(struck) == marks(calm)
    assert slow_simulator.stats()["requests"] <= 150 + 8


def test_the_cache_answers_a_fresh_run_without_a_request_and_says_so(house, simulator):
    path = bank(house.path / "bank.jsonl", sums(25))
    cached = ("--cache", f"sqlite:{house.path / 'cache.db'}", "--scorer", "numeric")
    house.run(*ask(simulator, path, *cached))
    first = marks(house)
    told = house.run(*ask(simulator, path, *cached, "--fresh")).stdout
    assert simulator.stats()["requests"] == 25
    assert {row["cache_hits"] for row in house.rows()} == {1}
    assert {row["attempts"] for row in house.rows()} == {0}
    assert marks(house) == first
    assert "hits are answers out of the cache" in told


def test_identical_questions_in_three_processes_are_asked_once(house, slow_simulator):
    same = [{"id": f"q{n}", "question": "What is 6 × 7?", "answer": "42"} for n in range(100)]
    path = bank(house.path / "bank.jsonl", same)
    cache = ("--cache", f"sqlite:{house.path / 'cache.db'}", "--max-workers", "40", "--balance", "even")
    house.run(*ask(slow_simulator, path, *cache, "--scorer", "numeric", model=THREE_KEYS))
    rows = house.rows()
    assert slow_simulator.stats()["requests"] == 1
    assert len(rows) == 100
    assert Counter(row["cache_hits"] for row in rows) == {1: 99, 0: 1}
    assert len({row["deployment"] for row in rows}) == 3


@pytest.mark.parametrize(("temperature", "asked"), [("0", 10), ("0.7", 30)])
def test_epochs_share_a_cached_reply_only_where_the_model_repeats_itself(house, simulator, temperature, asked):
    path = bank(house.path / "bank.jsonl", sums(10))
    epochs = ("--epochs", "3", "--temperature", temperature, "--cache", f"sqlite:{house.path / 'cache.db'}")
    told = house.run(*ask(simulator, path, *epochs, "--scorer", "numeric")).stdout
    assert simulator.stats()["requests"] == asked
    assert len(marks(house)) == 30
    assert "pass@3" in told


def test_a_judge_marks_under_its_own_name_and_its_agreement_with_the_scorer_is_told(house, simulator):
    path = bank(house.path / "bank.jsonl", sums(30))
    told = house.run(*ask(simulator, path, "--scorer", "numeric", "--judge-model", "gpt-4o-mini")).stdout
    stats = simulator.stats()
    assert stats["by_deployment"] == {"deepseek-v3.1": 30, "gpt-4o-mini": 60}
    assert {row["judge_requests"] for row in house.rows()} == {2}
    assert {row["requests"] for row in house.rows()} == {1}
    assert "gpt-4o-mini agrees with the scorer 'numeric' on" in told


def test_a_run_is_repeated_from_its_manifest_and_refused_if_the_bank_has_changed(house, simulator):
    path = bank(house.path / "bank.jsonl", sums(12))
    house.run(*ask(simulator, path, "--scorer", "numeric", "--extra", "prefix_cache=true"))
    (manifest,) = (house.path / "logs").glob("*/manifest.json")
    told = json.loads(manifest.read_text())
    assert told["reported_models"] == {MODEL: {MODEL: 12}}
    assert told["spec"]["sampling"][MODEL]["extra"] == {"prefix_cache": True}
    assert {"pyarrow", "click"} <= set(told["packages"])
    house.run("--from-manifest", str(manifest), "--results-dir", "results/again", "--logs-dir", "logs2")
    again = {row["task_id"]: row["trial_key"] for row in house.rows("results/again")}
    assert again == {row["task_id"]: row["trial_key"] for row in house.rows()}
    bank(path, sums(13))
    refused = house.run("--from-manifest", str(manifest), code=2).stderr
    assert "asks.questions was 12, is 13" in refused
    assert "questions has changed" in refused
    moved = bank(house.path / "moved.jsonl", sums(12))
    refused = house.run("--from-manifest", str(manifest), "--questions", str(moved), code=2).stderr
    assert "named after its file; that was called 'bank'" in refused


def test_rows_go_to_a_delta_table_and_to_a_batch_file(house, simulator):
    from deltalake import DeltaTable

    path = bank(house.path / "bank.jsonl", sums(12))
    for _ in range(2):
        house.run(*ask(simulator, path, "--scorer", "numeric", "--output", "delta:table"))
        house.run(*ask(simulator, path, "--scorer", "numeric", "--output", "openai-batch:out.jsonl"))
    table = DeltaTable(house.path / "table").to_pyarrow_table()
    assert table.column_names[:3] == ["id", "answer", "latency"]
    assert sorted(table["id"].to_pylist()) == sorted(f"q{n}" for n in range(12))
    lines = [json.loads(line) for line in (house.path / "out.jsonl").read_text().splitlines()]
    assert {line["custom_id"] for line in lines} == {f"q{n}" for n in range(12)}
    assert all(line["response"]["body"]["choices"][0]["message"]["content"] for line in lines)


def test_a_batch_file_is_asked_as_it_stands(house, simulator):
    lines = [
        {
            "custom_id": f"request-{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "another",
                "max_tokens": 33,
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Say {n}."}],
            },
        }
        for n in range(5)
    ]
    house.run(*ask(simulator, bank(house.path / "batch.jsonl", lines)))
    rows = house.rows()
    assert {row["task_id"] for row in rows} == {f"request-{n}" for n in range(5)}
    assert {row["max_tokens"] for row in rows} == {33}
    assert {row["model"] for row in rows} == {MODEL}


def test_a_fifth_of_failing_requests_costs_no_score(house, simulate):
    faulty = simulate("--latency", "0.01", "--fault", "500=0.1", "--fault", "cut=0.1")
    path = bank(house.path / "bank.jsonl", sums(300))
    house.run(*ask(faulty, path, "--scorer", "numeric", "--max-attempts", "9"))
    assert {row["status"] for row in house.rows()} == {"scored"}
    assert len(house.rows()) == 300


def test_a_finished_run_needs_its_bank_no_more_to_be_looked_at(house, simulator):
    path = bank(house.path / "bank.jsonl", sums(5))
    house.run(*ask(simulator, path, "--scorer", "numeric"))
    path.unlink()
    assert house.status()["scored"] == 5
    key = house.rows()[0]["trial_key"]
    assert "What is" in house.run("conversation", key, "--results-dir", "results/simulated").stdout
    assert "numeric" in house.run("explain", key, "--results-dir", "results/simulated").stdout


def test_a_dry_run_reads_the_bank_and_writes_nothing(house):
    path = bank(house.path / "bank.jsonl", sums(5))
    told = house.run("--dry-run", "--simulate", "--model", MODEL, "--questions", str(path)).stdout
    assert "bank: 5 questions from" in told
    assert house.files() == {"bank.jsonl"}


WRONG = {
    "columns": (("--columns", "question=nowhere"), ["nowhere", "'id', 'question', 'answer'"]),
    "role": (("--columns", "queston=question"), ["queston", "did you mean 'question'"]),
    "scorer": (("--scorer", "exakt"), ["exakt", "did you mean 'exact'"]),
    "template": (("--template", "nothing.j2"), ["nothing.j2", "plain"]),
    "empty template": (("--template", "empty.j2"), ["--template", "empty.j2 is empty"]),
    "judges": (("--judge-model", "gpt-4o-mini,kimi-k2"), ["--judge-model", "one marks"]),
    "epochs": (("--epochs", "0"), ["--epochs", "outside 1"]),
    "other kind": (("--prompt-types", "cot"), ["--prompt-types", "leave it out with --questions"]),
    "cache": (("--cache", "memcached://x"), ["--cache", "sqlite:PATH"]),
    "ttl": (("--cache", "sqlite:c.db", "--cache-ttl", "soon"), ["--cache-ttl", "1h"]),
    "ttl alone": (("--cache-ttl", "1h"), ["--cache URL"]),
    "output": (("--output", "ftp://x"), ["--output", "delta:PATH"]),
    "extra": (("--extra", "temperature=1"), ["--extra", "--temperature"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_in_one_line_before_anything_starts(command, house, wrong):
    arguments, words = WRONG[wrong]
    path = bank(house.path / "bank.jsonl", sums(3))
    (house.path / "empty.j2").touch()
    ended = command("--simulate", "--model", MODEL, "--questions", str(path), *arguments, code=2)
    assert ended.stderr.count("\n") == 1
    for word in words:
        assert word in ended.stderr
    assert not (house.path / "results").exists()


def test_labels_that_a_scorer_cannot_read_are_named_before_anything_is_asked(command, house):
    path = bank(house.path / "bank.jsonl", [{"id": "capital", "question": "Of England?", "answer": "London"}])
    arguments = ("--simulate", "--model", MODEL, "--questions", str(path), "--scorer", "choice")
    said = command(*arguments, code=2).stderr
    assert "--scorer choice" in said
    assert "'London' of question 'capital'" in said


def test_options_of_question_banks_want_a_bank(command):
    assert "--questions PATH" in command("--simulate", "--model", MODEL, "--scorer", "math", code=2).stderr


def test_a_truncated_bank_is_refused_by_name(command, house):
    shutil.copy(EXAMPLES, house.path / "whole.parquet")
    torn = house.path / "torn.parquet"
    torn.write_bytes(EXAMPLES.read_bytes()[:-40])
    assert "torn.parquet" in command("--simulate", "--model", MODEL, "--questions", str(torn), code=2).stderr


def test_a_question_of_ten_megabytes_is_asked(house, simulator):
    path = house.path / "long.parquet"
    pq.write_table(pa.table({"id": ["long"], "question": ["x" * 10_000_000], "answer": ["1"]}), path)
    house.run(*ask(simulator, path, "--scorer", "none"))
    (row,) = house.rows()
    assert row["status"] == "scored"
    wait_for(lambda: simulator.stats()["served"] == 1, "it was served", 5)
