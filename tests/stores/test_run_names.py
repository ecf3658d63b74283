"""A run whose directory was deleted does not come back under the same name, and old specs can be read."""

from __future__ import annotations

import shutil

from sample_runs import Work, row
from sample_specs import spec_of

from stores.results import open_store
from stores.run_directory import open_or_create
from trials.spec import RunSpec


def test_the_rows_of_a_deleted_run_do_not_hide_those_of_its_successor(tmp_path):
    work = Work(tmp_path)
    store = open_store(work.results, simulated=True, form="parquet")
    first = work.run()
    work.end(first, 1, row("a"), row("b"))
    assert store.merge([first]) == 2
    shutil.rmtree(first.path)
    again = open_or_create(tmp_path / "logs", first.spec, work.results, fresh=False, taken=store.run_ids)
    assert again.run_id != first.run_id
    work.end(again, 1, row("c"))
    assert store.merge([again]) == 1
    third = open_or_create(tmp_path / "logs", first.spec, work.results, fresh=False, taken=store.run_ids)
    assert third.run_id == again.run_id


def test_a_spec_of_before_question_banks_is_read():
    spec = spec_of(num_instances=7, seed=3)
    flat = spec.to_json()
    asks = flat.pop("asks")
    del asks["kind"]
    assert RunSpec.from_json({**flat, **asks}) == spec
