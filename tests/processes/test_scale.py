"""Many shards in virtual time: the real supervisor and dispatcher of benchmarks/scale.py at a small size."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from scale import play_run


def test_hundred_shards_of_skewed_rates_end_together_and_lose_nothing() -> None:
    run = play_run(100, 60.0)
    assert run.ended == run.trials
    assert run.seconds <= 1.12 * run.ideal_s


def test_driver_hears_no_more_of_a_shard_where_there_are_many() -> None:
    few, many = play_run(20, 20.0, until_s=10.0), play_run(200, 20.0, until_s=10.0)
    assert many.messages / many.shards < 1.3 * few.messages / few.shards
