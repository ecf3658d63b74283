"""What monitoring/ holds: promtool accepts and tests its rules, the dashboard asks for nothing that is not there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_metrics import figures, traffic

from telemetry.metrics import ShardFigures, families
from telemetry.metrics_machine import ProcessUsage
from trials.progress import ShardProgress

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
FROM_PROMETHEUS = {"up", "ALERTS"}
ON_GPUS = {"hw_gpu_utilization_ratio"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments: str) -> str:
    ran = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def expressions() -> list[str]:
    """Every query of the dashboard, its variables filled in."""
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    found += [one["expr"] for one in DASHBOARD["annotations"]["list"]]
    return [
        re.sub(r"\$__(rate_interval|range)", "1m", one).replace("$instance", ".*").replace("$model", ".*")
        for one in found
    ]


def recorded() -> set[str]:
    return set(re.findall(r"record: (\S+)", (MONITORING / "recording.yml").read_text()))


def served() -> set[str]:
    """The names of all series that a run can have."""
    told = {"model": traffic() | {"cost_usd": 1.0}, "cache": {"hit": 1, "miss": 1, "errors": 0}}
    shard = ShardFigures(number=1, deployment=figures().shards[0].deployment, progress=ShardProgress(traffic=told))
    everything = [*families(figures(shards=(shard,), eta_s=1.0)), *ProcessUsage().families({})]
    return {sample.name for family in everything for sample in family.samples}


@needs_promtool
def test_rules_and_configuration_are_valid():
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "recording.yml", "alerts.yml")


@needs_promtool
@pytest.mark.parametrize("name", sorted(path.name for path in (MONITORING / "tests").glob("*.yml")))
def test_rules_do_what_their_tests_say(name):
    promtool("test", "rules", f"tests/{name}")


@needs_promtool
def test_every_query_of_the_dashboard_is_valid(tmp_path):
    rules = [{"record": f"query:{number}", "expr": one} for number, one in enumerate(expressions())]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    promtool("check", "rules", str(path))


@needs_promtool
def test_what_is_served_is_as_prometheus_likes_it():
    from prometheus_client.exposition import generate_latest
    from test_metrics import Registry

    ran = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(Registry(figures())), capture_output=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_rules_and_dashboard_ask_only_for_what_there_is():
    rules = (MONITORING / "recording.yml").read_text() + (MONITORING / "alerts.yml").read_text()
    rules = "\n".join(
        line for line in rules.splitlines() if not re.match(r"\s*(#|summary|description|- record|- alert)", line)
    )
    asked = set(re.findall(r"\b(?:(?:eval|gen_ai|hw|failed)_\w+|eval:[\w:]+|up)(?=[{\[) ]|$)", rules, re.MULTILINE))
    asked |= {name for one in expressions() for name in re.findall(r"([a-zA-Z_:][\w:]*)\{", one)}
    asked -= {"gen_ai_token_type"}
    assert "gen_ai_client_operation_duration_seconds_bucket" in asked
    assert asked <= served() | recorded() | FROM_PROMETHEUS | ON_GPUS, asked - served() - recorded()


def test_every_recording_is_used():
    used = (MONITORING / "alerts.yml").read_text() + json.dumps(DASHBOARD)
    assert not [name for name in recorded() if name not in used]


def test_the_dashboard_is_whole_and_its_panels_do_not_overlap():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] and panel["targets"] for panel in PANELS)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_the_dashboard_needs_no_plugin():
    assert {panel["type"] for panel in PANELS} <= {"stat", "timeseries", "heatmap"}
    sources = {str(panel["datasource"]) for panel in PANELS}
    assert sources == {str({"type": "prometheus", "uid": "${datasource}"})}


def test_thresholds_are_those_of_the_founding_document():
    alerts = (MONITORING / "alerts.yml").read_text()
    for threshold in ("ratio_rate5m > 0.03", "call_duration_seconds:p99_rate5m > 0.8", "avg5m < 0.7"):
        assert threshold in alerts
