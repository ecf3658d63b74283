"""Figures of a run become metrics that Prometheus can read: names, labels, counts, histograms."""

from __future__ import annotations

import math
import re

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from telemetry.metrics import KINDS, STATES, RunFigures, ShardFigures, families
from telemetry.traffic import Traffic
from trials.progress import ShardProgress, summed
from trials.words import FULL, PENDING, PROVIDER_ERROR, SCORED, Deployment

NASTY = 'a"b\\c\nd{e="f"} ‮ü'


def deployment(model: str = "m", name: str = "d", **others) -> Deployment:
    return Deployment(
        **{
            "name": name,
            "provider": "azure",
            "model": model,
            "api_model": f"{model}-2",
            "family": "f",
            "api": "openai",
            "base_url": "http://127.0.0.1",
            "key_names": ("K",),
            "workers": 5,
            "qps": 1.0,
            "timeout_s": 1.0,
            "max_attempts": 1,
            "scope": "*",
        }
        | others
    )


def traffic() -> dict:
    told = Traffic()
    for latency_ms in (5, 790, 800, 801, 500_000):
        told.called("ok", latency_ms, 0)
    told.called("timeout", 150_000, 2_000)
    told.answered(100, 7)
    told.queued(30)
    told.hit(0.0002)
    told.limit_changed("requests", "cut from 9.0 to 8.1/s, after a 429")
    told.limit_changed("tokens", "start value 100.0/s")
    return told.to_json()


def figures(**others) -> RunFigures:
    progress = ShardProgress(in_flight=4, workers=5, qps_limit=8.1, traffic={"model": traffic()})
    shard = ShardFigures(
        number=1,
        deployment=deployment(),
        endings={"full": 3, "provider_errors": 2},
        progress=progress,
        queued=10,
        held=9,
        up=True,
    )
    return RunFigures(
        **{
            "run_id": "r",
            "simulated": False,
            "state": "running",
            "started_at": 1.5,
            "trials": {("m", SCORED, FULL): 3, ("m", PROVIDER_ERROR, ""): 2, ("m", PENDING, ""): 7},
            "shards": (shard,),
        }
        | others
    )


class Registry:
    def __init__(self, run: RunFigures) -> None:
        self.collect = lambda: families(run)


def samples(run: RunFigures) -> dict[tuple[str, frozenset], float]:
    """Every sample as a reader of the text sees it."""
    text = generate_latest(Registry(run)).decode()
    found = [
        ((one.name, frozenset(one.labels.items())), one.value) for family in read_text(text) for one in family.samples
    ]
    assert len(dict(found)) == len(found), "two samples of one series"
    return dict(found)


def value(run: RunFigures, name: str, **labels: str) -> float:
    found = [v for (known, own), v in samples(run).items() if known == name and labels.items() <= dict(own).items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_trials_are_counted_by_model_status_and_outcome_and_add_up_to_what_is_planned():
    run = figures()
    assert value(run, "eval_trials", status=SCORED, outcome=FULL) == 3
    assert value(run, "eval_trials", status=PROVIDER_ERROR) == 2
    assert value(run, "eval_trials", status="harness_error") == 0
    assert value(run, "eval_trials", status=PENDING) == 7
    assert sum(v for (name, _), v in samples(run).items() if name == "eval_trials") == 12


def test_a_trial_without_a_score_is_a_failed_task_and_a_wrong_answer_is_none():
    shard = ShardFigures(number=1, deployment=deployment(), endings={"failed": 5, "harness_errors": 1})
    run = figures(shards=(shard,))
    assert value(run, "failed_tasks_total", reason="harness_error") == 1
    assert value(run, "failed_tasks_total", reason="provider_error") == 0
    assert value(run, "eval_trials_ended_total", outcome="failure") == 5


def test_what_waits_is_told_by_where_it_waits():
    run = figures()
    assert value(run, "eval_trials_queued", place="dispatcher") == 10
    assert value(run, "eval_trials_queued", place="shard") == 5
    assert value(run, "eval_trials_in_flight") == 4


@pytest.mark.parametrize("state", STATES)
def test_a_run_is_in_one_state(state):
    run = figures(state=state)
    assert [one for one in STATES if value(run, "eval_run_state", state=one)] == [state]


def test_an_unknown_time_left_is_absent():
    assert "eval_run_eta_seconds" not in {name for name, _ in samples(figures())}
    assert value(figures(eta_s=4.0), "eval_run_eta_seconds") == 4


def test_requests_of_every_kind_are_there_from_the_beginning():
    run = figures(shards=(ShardFigures(number=1, deployment=deployment()),))
    assert {value(run, "eval_requests_total", outcome=kind) for kind in KINDS} == {0}
    assert value(figures(), "eval_requests_total", outcome="ok") == 5
    assert value(figures(), "eval_requests_total", outcome="timeout") == 1


def test_a_kind_of_error_that_is_new_is_counted_too():
    told = Traffic()
    told.called("eclipse", 1, 1)
    shard = ShardFigures(number=1, deployment=deployment(), progress=ShardProgress(traffic={"model": told.to_json()}))
    assert value(figures(shards=(shard,)), "eval_requests_total", outcome="eclipse") == 1


def test_calls_are_a_histogram_with_800_ms_as_a_bound_and_failed_ones_apart():
    run, name = figures(), "gen_ai_client_operation_duration_seconds"
    assert value(run, f"{name}_bucket", error_type="", le="0.01") == 1
    assert value(run, f"{name}_bucket", error_type="", le="0.8") == 3
    assert value(run, f"{name}_bucket", error_type="", le="1.28") == 4
    assert value(run, f"{name}_bucket", error_type="", le="+Inf") == value(run, f"{name}_count", error_type="") == 5
    assert value(run, f"{name}_sum", error_type="") == pytest.approx(502.396)
    assert value(run, f"{name}_count", error_type="timeout") == 1


def test_names_and_labels_are_those_of_the_conventions():
    run = figures()
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "azure.ai.openai", "gen_ai_request_model": "m-2"}
    assert value(run, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **labels) == 100
    assert value(run, "gen_ai_client_token_usage_sum", gen_ai_token_type="output", **labels) == 7
    for name, own in samples(run):
        assert re.fullmatch(r"(eval|gen_ai|failed_tasks)_[a-z0-9_]+", name), name
        assert not [label for label, _ in own if not re.fullmatch(r"[a-z][a-z0-9_]*", label)]


def test_waits_are_apart_from_calls():
    run = figures()
    assert value(run, "eval_limiter_wait_seconds_sum") == 2
    assert value(run, "eval_queue_wait_seconds_sum") == pytest.approx(0.03)


def test_a_judge_is_told_apart_from_the_model_even_where_it_is_the_same_deployment():
    progress = ShardProgress(traffic={"model": traffic(), "judge": traffic()})
    shard = ShardFigures(number=1, deployment=deployment(), progress=progress)
    run = figures(shards=(shard,), judge=deployment())
    assert value(run, "eval_requests_total", outcome="ok", role="model") == 5
    assert value(run, "eval_requests_total", outcome="ok", role="judge") == 5


def test_cache_and_cost_are_absent_where_there_is_none():
    names = {name for name, _ in samples(figures())}
    assert not [name for name in names if "cache" in name or "cost" in name]
    priced = traffic() | {"cost_usd": 0.25}
    told = {"model": priced, "cache": {"hit": 4, "miss": 6, "errors": 0}}
    shard = ShardFigures(number=1, deployment=deployment(), progress=ShardProgress(traffic=told))
    run = figures(shards=(shard,))
    assert value(run, "eval_cost_usd_total") == 0.25
    assert value(run, "eval_cache_requests_total", result="hit") == 4
    assert value(run, "eval_cache_requests_total", result="miss") == 6
    assert value(run, "eval_cache_hit_duration_seconds_bucket", le="0.0004") == 1


@pytest.mark.parametrize("model", [NASTY, "\udcff\udce4 not UTF-8", "", "x" * 5000, "</script>"])
def test_names_of_models_are_any_text(model):
    run = figures(
        run_id=model,
        trials={(model, SCORED, FULL): 1},
        shards=(ShardFigures(number=1, deployment=deployment(model, model)),),
    )
    shown = model.encode("utf-8", "replace").decode()
    assert value(run, "eval_trials", status=SCORED, outcome=FULL, model=shown) == 1
    assert value(run, "eval_shard_up", deployment=shown) == 0
    list(read_openmetrics(openmetrics(Registry(run)).decode()))


def test_openmetrics_and_the_old_text_say_the_same():
    run = figures()
    new = {
        (one.name, frozenset(one.labels.items())): one.value
        for family in read_openmetrics(openmetrics(Registry(run)).decode())
        for one in family.samples
    }
    assert new == samples(run)
    assert all(math.isfinite(one) for one in new.values())


def test_counts_of_dead_processes_are_added_up_and_new_kinds_join():
    one, other = traffic(), traffic()
    other["calls"]["access"] = other["calls"].pop("timeout")
    both = summed(summed({}, one), other)
    assert sum(both["calls"]["ok"]["counts"]) == 10
    assert set(both["calls"]) == {"ok", "timeout", "access"}
    assert both["tokens"]["input"]["sum"] == 200
    assert both["limit_changes"] == {"requests": {"refused": 2}, "tokens": {"start": 2}}
    assert one == traffic(), "summing changes nothing that it is given"
