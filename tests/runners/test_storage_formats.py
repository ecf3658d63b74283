"""Both storage forms hold the same rows; other programs read them; merging again changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pandas
import pytest
from real_runs import THREE_KEYS, House, scores

from stores.parts import SUFFIXES
from trials.rows import FIELDS


@pytest.fixture
def finished(house, simulator):
    """Run two instances of each cell in a storage form and return the command line."""

    def run(form: str, results_dir: str = "results") -> None:
        command = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--qps", "1000", "--num-instances", "2")
        house.run(*command, "--results-dir", results_dir, env={"STORAGE_FORMAT": form})

    return run


def parts(house: House, results_dir: str = "results") -> set[str]:
    return {path.suffix for path in (house.path / results_dir / "trials").iterdir()}


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def by_key(rows):
    return sorted(rows, key=lambda row: row["trial_key"])


def test_both_forms_hold_the_same_trials_with_the_same_scores(house, finished):
    finished("json", "as-json")
    finished("parquet", "as-parquet")
    assert parts(house, "as-json") == {".jsonl"}
    assert parts(house, "as-parquet") == {".parquet"}
    assert scores(house.rows("as-json")) == scores(house.rows("as-parquet"))
    assert len(house.rows("as-json")) == 10


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_converting_there_and_back_loses_nothing(house, finished, form):
    finished(form)
    before = by_key(house.rows("results"))
    other = ({"json", "parquet"} - {form}).pop()
    for target in (other, form):
        house.run("merge", "--results-dir", "results", "--storage-format", target)
        assert parts(house) == {SUFFIXES[target]}
        assert by_key(house.rows("results")) == before


def test_a_flag_wins_over_the_variable(house, simulator):
    command = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--num-instances", "1", "--qps", "1000")
    house.run(*command, "--storage-format", "json", "--results-dir", "results", env={"STORAGE_FORMAT": "parquet"})
    assert parts(house) == {".jsonl"}


def test_pandas_and_duckdb_read_the_parquet(house, finished):
    finished("parquet")
    frame = pandas.read_parquet(house.path / "results" / "trials")
    assert list(frame.columns) == list(FIELDS)
    assert len(frame) == frame["trial_key"].nunique() == 10
    query = f"select count(*), count(distinct trial_key), sum(requests) from '{house.path}/results/trials/*.parquet'"
    assert duckdb.sql(query).fetchall() == [(10, 10, frame["requests"].sum())]


def test_pandas_and_duckdb_read_the_json_lines(house, finished):
    finished("json")
    (part,) = (house.path / "results" / "trials").iterdir()
    assert len(pandas.read_json(part, lines=True)) == 10
    assert duckdb.sql(f"select count(*) from '{part}'").fetchall() == [(10,)]


def test_merging_twice_changes_nothing(house, finished):
    finished("parquet")
    before = contents(house.path / "results")
    for _ in range(2):
        assert house.run("merge", "--results-dir", "results").stdout.startswith("0 rows added")
        assert contents(house.path / "results") == before


def test_a_lost_store_is_made_again_from_the_journals(house, finished):
    finished("parquet")
    before = by_key(house.rows("results"))
    for part in (house.path / "results" / "trials").iterdir():
        part.unlink()
    assert house.run("merge", "--results-dir", "results").stdout.startswith("10 rows added")
    assert by_key(house.rows("results")) == before


def test_the_summary_is_derived_from_the_rows_in_the_shape_of_the_requirements(house, finished):
    finished("json")
    summary = json.loads((house.path / "results" / "summary.json").read_text())
    assert summary["kind"] == "simulated"
    cells = summary["results"][THREE_KEYS]["optimal"]["0.8"]["easy"]
    assert len(cells) == 5
    assert sum(cell["scored"] for cell in cells.values()) == 10


def test_two_runs_into_one_store_at_once_lose_nothing(house, simulator):
    command = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--qps", "1000", "--num-instances", "2")
    runs = [house.start(*command, "--prompt-types", prompt) for prompt in ("optimal", "baseline")]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(scores(house.rows())) == 20


def test_reports_of_a_store_add_up(house, finished):
    finished("parquet")
    told = house.run("report", "--results-dir", "results").stdout
    assert "10 planned = 10 scored + 0 provider_error + 0 harness_error + 0 pending" in told


def test_simulated_and_real_results_refuse_to_mix(house, simulator):
    simulated = ("--simulator-url", simulator.url, "--model", THREE_KEYS, "--num-instances", "1", "--qps", "1000")
    real = ("--base-url", f"{simulator.url}/v1", "--api-key-env", "A_KEY", "--model", "mine", "--num-instances", "1")
    house.run(*simulated, "--results-dir", "one")
    before = contents(house.path / "one")
    refused = house.run(*real, "--results-dir", "one", env={"A_KEY": "a-key-value"}, code=2)
    assert "one holds simulated results and this run is real" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert contents(house.path / "one") == before
    house.run(*real, "--results-dir", "two", "--qps", "1000", env={"A_KEY": "a-key-value"})
    refused = house.run(*simulated, "--results-dir", "two", code=2)
    assert "two holds real results and this run is simulated" in refused.stderr
    assert {row["simulated"] for row in house.rows("two")} == {False}
