"""The sub-command ``verify``: whether results are what was written, and mending them."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import click
import orjson

from commands.options import EXIT_SCORED
from questions.checking import check_banks
from stores.findings import DAMAGED, SEVERITIES, Finding
from stores.repairing import Repaired, repair_banks, repair_store
from stores.run_directory import BANKS, runs_in
from stores.verifying import Checked, check_store
from telemetry.wording import clean
from trials.errors import UsageError

EXIT_DAMAGED = 1
_LONGEST = 1_000


def verify_results(results_dir: str | None, logs_dir: str, *, repair: bool, as_json: bool) -> int:
    """Check stores and their runs, mend them first if asked; return 0 if nothing is damaged, else 1."""
    began = time.monotonic()
    logs = Path(logs_dir)
    places = _places(results_dir, logs)
    repaired = [repair_store(path, logs) for path in places] if repair else []
    checked = [check_store(path, logs) for path in places]
    banks = _banks(logs, repair=repair)
    findings = [*(one for store in checked for one in store.findings), *banks]
    seconds = time.monotonic() - began
    if as_json:
        click.echo(orjson.dumps(_as_json(checked, repaired, findings, seconds), option=orjson.OPT_INDENT_2))
    else:
        _show(checked, repaired, findings, seconds)
    return EXIT_DAMAGED if any(one.severity == DAMAGED for one in findings) else EXIT_SCORED
