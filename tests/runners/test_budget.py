"""What a run costs, to the last token, and a bound on it: the run stops, says so, and goes on when it may."""

from __future__ import annotations

import json

import pytest
from real_runs import THREE_KEYS, WORKERS, House, adds_up

from stores.run_directory import runs_in
from stores.spending import Spending

INPUT, OUTPUT = 10.0, 100.0
PRICE = f'[models."{THREE_KEYS}"]\nprice = {{ input = {INPUT}, output = {OUTPUT} }}\n'
TRIALS = 50
pytestmark = pytest.mark.slow


def ask(house: House, simulator, *arguments: str) -> tuple[str, ...]:
    """A command line that asks a model whose price is known."""
    (house.path / "prices.toml").write_text(PRICE)
    where = ("--simulator-url", simulator.url, "--catalog", "prices.toml", "--model", THREE_KEYS)
    return (*where, "--num-instances", str(TRIALS // 5), "--qps", "1000", "--stagger", "0", *arguments)


def costs(house: House) -> float:
    """Return what all rows together cost, each checked against its tokens."""
    rows = house.rows()
    for row in rows:
        tokens = row["prompt_tokens"] * INPUT + row["completion_tokens"] * OUTPUT
        assert row["cost_usd"] == pytest.approx(tokens / 1e6, abs=1e-9), row["trial_key"]
    return sum(row["cost_usd"] for row in rows)


def spent(house: House) -> float:
    """Return what stands in the run's journals."""
    (run,) = runs_in(house.path / "logs")
    spending = Spending(run.journals)
    spending.update()
    return spending.usd


def done(house: House) -> dict:
    (path,) = house.path.glob("logs/*/DONE")
    return json.loads(path.read_text())


def test_rows_table_and_ending_tell_the_same_cost(house, simulator):
    ended = house.run(*ask(house, simulator))
    total = costs(house)
    assert total > 0
    assert spent(house) == pytest.approx(total, abs=1e-8)
    assert done(house)["cost_usd"] == pytest.approx(total, abs=1e-6)
    assert house.status()["cost_usd"] == pytest.approx(total, abs=1e-8)
    assert f"cost      ${total:.2f} spent by this run" in ended.stdout
    house.run(*ask(house, simulator))
    assert done(house)["cost_usd"] == pytest.approx(total, abs=1e-6)


def test_a_run_stops_at_its_bound_and_goes_on_with_a_higher_one_asking_nothing_twice(new_house, slow_simulator):
    house, other = new_house("house"), new_house("other")
    other.run(*ask(other, slow_simulator, "--num-instances", "1"))
    bound = 2 * costs(other)  # a fifth of what all trials will cost
    slow_simulator.reset()
    ended = house.run(*ask(house, slow_simulator, "--max-cost", f"{bound:.6f}"), code=1)
    assert "--max-cost is reached: nothing more is asked" in ended.stdout
    assert ended.stdout.rstrip().endswith("the same command with a higher --max-cost goes on")
    assert ended.stderr == ""
    view = house.status()
    assert adds_up(view)
    assert view["state"] == "stopped"
    assert "--max-cost" in view["message"]
    assert 0 < view["pending"] < TRIALS
    assert bound <= spent(house) == pytest.approx(view["cost_usd"])
    assert done(house)["outcome"] == "budget"
    assert done(house)["exit_code"] == 1
    asked = slow_simulator.stats()["requests"]
    again = house.run(*ask(house, slow_simulator, "--max-cost", f"{bound:.6f}"), code=1)
    assert "was reached before this start: nothing is asked" in again.stdout
    assert slow_simulator.stats()["requests"] == asked
    house.run(*ask(house, slow_simulator, "--max-cost", "1000"))
    assert done(house)["outcome"] == "finished"
    assert slow_simulator.stats()["repeated"] == 0
    assert len(house.rows()) == TRIALS
    assert spent(house) == pytest.approx(costs(house), abs=1e-8)


def test_what_comes_in_behind_the_bound_is_no_more_than_what_was_in_flight(house, slow_simulator):
    house.run(*ask(house, slow_simulator, "--max-cost", "0.000001"), code=1)
    # The bound is seen within a quarter of a second, and each worker waits a tenth for a reply.
    assert slow_simulator.stats()["requests"] <= 5 * WORKERS
    assert house.status()["pending"] > 0


def test_after_a_kill_nothing_is_counted_twice(house, slow_simulator):
    running = house.start(*ask(house, slow_simulator, "--max-cost", "1000"))
    slow_simulator.wait_for_requests(30)
    running.kill_shard(1)
    assert running.wait() == 0, running.output + running.complaints
    assert len(house.rows()) == TRIALS
    assert spent(house) == pytest.approx(costs(house), abs=1e-8)


def test_hits_of_the_cache_cost_nothing_and_are_counted(house, simulator):
    cached = ask(house, simulator, "--cache", "sqlite:replies.db")
    house.run(*cached)
    first = costs(house)
    house.run(*cached, "--fresh", "--max-cost", "0.01")
    rows = house.rows()
    assert {row["cost_usd"] for row in rows} == {0.0}
    assert all(row["cache_hits"] == row["requests"] and row["prompt_tokens"] for row in rows)
    view = house.status()
    assert view["cost_usd"] == 0 < first
    assert view["cache_hits"] == sum(row["cache_hits"] for row in rows)


def test_a_judge_is_paid_as_well(house, simulator):
    (house.path / "bank.jsonl").write_text('{"question": "What is 2 + 2?", "answer": "4"}\n')
    (house.path / "prices.toml").write_text(
        PRICE + '[models."deepseek-v3.1"]\nprice = { input = 1000, output = 7000 }\n'
    )
    where = ("--simulator-url", simulator.url, "--catalog", "prices.toml", "--questions", "bank.jsonl")
    house.run(*where, "--model", THREE_KEYS, "--judge-model", "deepseek-v3.1", "--scorer", "numeric")
    (row,) = house.rows()
    assert row["judge_requests"] >= 1
    own = row["prompt_tokens"] * INPUT + row["completion_tokens"] * OUTPUT
    judge = row["judge_prompt_tokens"] * 1000 + row["judge_completion_tokens"] * 7000
    assert row["cost_usd"] == pytest.approx((own + judge) / 1e6, abs=1e-9)
    assert spent(house) == pytest.approx(row["cost_usd"], abs=1e-9)


def test_a_price_that_is_not_known_is_said_once_and_never_zero(house, simulator):
    ended = house.run("--simulator-url", simulator.url, "--model", THREE_KEYS, "--num-instances", "1", "--qps", "1000")
    assert ended.stdout.count("no price is known") == 1
    assert THREE_KEYS in ended.stdout
    assert "$" not in ended.stdout
    assert {row["cost_usd"] for row in house.rows()} == {None}
    assert house.status()["cost_usd"] is None
    assert done(house)["cost_usd"] is None
