"""The tail: a trial that hangs on one deployment is answered by another, and counts once."""

from __future__ import annotations

from real_runs import THREE_KEYS, adds_up, scores

from stores.journal import read_events

WHAT = ("--model", THREE_KEYS, "--num-instances", "12", "--prompt-types", "optimal", "--qps", "1000")
STORM = ("--latency", "0.02", "--fault", "hang=0.02", "--hang-s", "600")


def test_slow_trials_of_the_tail_are_answered_elsewhere_and_count_once(new_house, simulator, simulate):
    calm = new_house("calm")
    calm.run("--simulator-url", simulator.url, *WHAT)
    house, storm = new_house("hedged"), simulate(*STORM)
    ended = house.run("--simulator-url", storm.url, *WHAT, "--hedge")
    assert storm.stats()["by_answer"]["fault-hang"] > 0
    assert "as well" in ended.stdout + ended.stderr
    assert scores(house.rows()) == scores(calm.rows())
    assert adds_up(house.status())
    begun = [
        event["number"]
        for path in house.path.rglob("journal.jsonl")
        for _, event in read_events(path)
        if event["kind"] == "begun"
    ]
    assert len(begun) > len(set(begun)), "both attempts stand in the journals"


def test_hedge_and_even_contradict_each_other(house):
    ended = house.run("--simulate", *WHAT, "--hedge", "--balance", "even", code=2)
    assert "--hedge" in ended.stderr
    assert "--balance even" in ended.stderr
