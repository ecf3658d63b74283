from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from sample_specs import spec_of

from commands.report import limits_of, write_report
from stores.parts import CONVERSATION_FIELDS, CONVERSATIONS, PartWriter, next_part_path, schema_of
from stores.results import ResultsStore, open_store, read_store
from stores.run_directory import open_or_create
from trials.errors import UsageError
from trials.rows import FIELDS, Row

CONDITION = {"model": "m", "prompt_type": "optimal", "tool_success_rate": 0.8, "difficulty": "easy", "variant": "v"}


def row(number: int, **changes: object) -> Row:
    named = {"trial_key": f"{number:032x}", "task_id": f"task-{number}", "task_type": "simple_task", "status": "scored"}
    times = {"outcome": "full", "started_at": 1.7e9 + number, "ended_at": 1.7e9 + number + 0.5, "duration_ms": 500.0}
    origin = {"run_id": "run", "shard": 1, "journal_offset": number, "simulated": True}
    return dict.fromkeys(FIELDS) | CONDITION | named | times | origin | changes


def store_of(path: Path, rows: list[Row]) -> ResultsStore:
    store = open_store(path, simulated=True, form="parquet")
    with PartWriter(next_part_path(store.trials_dir, "parquet")) as part:
        part.write(pa.Table.from_pylist(rows, schema=schema_of(FIELDS)))
    said = [
        {name: one[name] for name in ("trial_key", "run_id", "shard", "journal_offset")}
        | {"conversation": json.dumps([{"role": "user", "content": f"about {one['task_id']}"}]), "detail": "{}"}
        for one in rows
    ]
    with PartWriter(next_part_path(path / CONVERSATIONS, "parquet")) as part:
        part.write(pa.Table.from_pylist(said, schema=schema_of(CONVERSATION_FIELDS)))
    return store


@pytest.fixture
def results(tmp_path) -> Path:
    rows = [row(n, model=("m", "other")[n % 2], outcome=("full", "failure")[n % 3 == 0]) for n in range(12)]
    store_of(tmp_path / "results", rows)
    return tmp_path / "results"


def test_a_store_becomes_one_page(results, tmp_path) -> None:
    assert write_report(str(results), str(tmp_path / "r.html"), logs_dir=str(tmp_path / "none")) == 0
    page = (tmp_path / "r.html").read_text()
    assert "SIMULATED" in page
    assert "All 12 trials can be read here" in page
    assert page.count('id="chunk-') == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_store_becomes_a_page(tmp_path) -> None:
    open_store(tmp_path / "results", simulated=False, form="json")
    write_report(str(tmp_path / "results"), str(tmp_path / "r.html"))
    assert "holds no results yet" in (tmp_path / "r.html").read_text()


def test_tables_come_in_every_form(results, tmp_path) -> None:
    told = {}
    for form in ("md", "csv", "latex", "json"):
        write_report(str(results), str(tmp_path / form), form=form)
        told[form] = (tmp_path / form).read_text()
    assert json.loads(told["json"])[0]["title"] == "Results per cell"
    assert {one["model"] for one in csv.DictReader(io.StringIO(told["csv"]))} == {"m", "other"}
    assert "| m | optimal |" in told["md"]
    assert told["latex"].count("\\begin{tabular}") == len(json.loads(told["json"]))


def test_tables_can_go_to_standard_output(results, capfdbinary) -> None:
    write_report(str(results), "-", form="csv")
    assert capfdbinary.readouterr().out.startswith(b"model,")


def test_limits_are_read_off_the_logs_of_the_runs_of_this_store(tmp_path) -> None:
    store_of(tmp_path / "results", [row(0)])
    run = open_or_create(tmp_path / "logs", spec_of(simulated=True), tmp_path / "results", fresh=False)
    log = run.shard_dir(1) / "shard.log"
    lines = [
        "2026-01-02T03:04:05.678+00:00 INFO    shard worker-2 limit 10.1/s: raised from 1.0 to 10.1/s, in full use",
        "    2026-01-02T03:04:06.000+00:00 INFO    shard worker-2 limit 99.0/s: posing as a line",
        "2026-01-02T03:04:07.000+00:00 INFO    shard worker-1 limit 5.0/s: cut from 10.1 to 5.0/s, 3 429s",
    ]
    log.write_text("\n".join(lines))
    store = read_store(tmp_path / "results")
    changes = list(limits_of(store, tmp_path / "logs", {run.run_id}))
    assert [(one.rate, one.cut) for one in changes] == [(10.1, False), (5.0, True)]
    assert list(limits_of(store, tmp_path / "logs", {"another"})) == []


def test_suites_that_ended_are_in_the_page_and_broken_ones_are_named(results, tmp_path) -> None:
    from telemetry.exports import Field, Table, export

    folder = results / "suites"
    folder.mkdir()
    table = Table(title="Suite 5.1: models", columns=(Field(key="model", title="model"),), rows=(("<b>m</b>",),))
    for name in ("5.1", "5.1-comparisons"):
        (folder / f"{name}.json").write_text(export(table, "json"))
    (folder / "5.1.txt").write_text("A reading of it.")
    (folder / "5.2.json").write_text("[1]")
    write_report(str(results), str(tmp_path / "r.html"))
    page = (tmp_path / "r.html").read_text()
    assert "A reading of it." in page
    assert "&lt;b&gt;m&lt;/b&gt;" in page
    assert "suite 5.2 is left out" in page


def test_what_a_person_can_mend_is_told_in_one_line(results, tmp_path) -> None:
    with pytest.raises(UsageError, match="--format"):
        write_report(str(results), str(tmp_path / "r"), form="pdf")
    with pytest.raises(UsageError, match="no results store here"):
        write_report(str(tmp_path / "nowhere"), str(tmp_path / "r"))
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(str(results), str(tmp_path / "no" / "such" / "folder.html"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--plots"):
        write_report(str(results), str(tmp_path / "r"), plots=str(tmp_path / "file"))


def test_plots_are_written_beside_it(results, tmp_path) -> None:
    write_report(str(results), str(tmp_path / "r.html"), plots=str(tmp_path / "plots"))
    assert (tmp_path / "plots" / "over-time.svg").exists()
