"""The sub-command ``verify``: whether results are what was written, and mending them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from commands.options import EXIT_SCORED
from questions.checking import check_banks
from stores.findings import ASIDE, DAMAGED, SEVERITIES, Finding
from stores.repairing import Repaired, repair_banks, repair_store
from stores.run_directory import BANKS, runs_in
from stores.verifying import Checked, check_store, is_store
from telemetry.wording import clean
from trials.errors import UsageError

EXIT_DAMAGED = 1
_LONGEST = 1_000
_SHOWN = 10


def verify_results(results_dir: str | None, logs_dir: str, *, repair: bool, as_json: bool) -> int:
    """Check stores and their runs, mend them first if asked; return 0 if nothing is damaged, else 1."""
    began = time.monotonic()
    logs = Path(logs_dir)
    places = _places(results_dir, logs)
    repaired = [repair_store(path, logs) for path in places if path.is_dir()] if repair else []
    checked = [check_store(path, logs) for path in places]
    banks = _banks(logs, repair=repair)
    findings = [*(one for store in checked for one in store.findings), *banks]
    seconds = time.monotonic() - began
    if as_json:
        click.echo(orjson.dumps(_as_json(checked, repaired, findings, seconds), option=orjson.OPT_INDENT_2))
    else:
        _show(checked, repaired, findings, seconds)
    return EXIT_DAMAGED if any(one.severity == DAMAGED for one in findings) else EXIT_SCORED


def _places(results_dir: str | None, logs: Path) -> list[Path]:
    """Return the stores to check: the one that is named, or those that runs are for."""
    if results_dir is not None:
        path = Path(results_dir)
        if not path.is_dir() or not is_store(path, logs):
            inside = path / "simulated"
            hint = f"; simulated results are in {inside}" if is_store(inside, logs) else ""
            raise UsageError(f"--results-dir: {path}: no results store here{hint}")
        return [path]
    places = sorted({run.results_dir for run in runs_in(logs)})
    if not places:
        raise UsageError(f"--logs-dir: no run in {logs}; name a results store with --results-dir")
    return places


def _banks(logs: Path, *, repair: bool) -> list[Finding]:
    damaged = dict(check_banks(logs / BANKS))
    if repair and damaged:
        repair_banks(logs, damaged)
        damaged = dict(check_banks(logs / BANKS))
    todo = "run verify with --repair, and start the run again with its --questions"
    return [
        Finding(severity=DAMAGED, path=str(path), what=f"cannot be trusted: {why}", todo=todo)
        for path, why in damaged.items()
    ]


def _show(checked: list[Checked], repaired: list[Repaired], findings: list[Finding], seconds: float) -> None:
    for done in repaired:
        for line in _done(done):
            click.echo(line)
    for severity in SEVERITIES:
        for one in findings:
            if one.severity == severity:
                click.echo(clean(f"{severity:<11}{one.path}: {one.what}; to do: {one.todo}", _LONGEST))
    counts = Counter(one.severity for one in findings)
    told = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES if counts[severity])
    rows = sum(one.rows for one in checked)
    stores = f"{len(checked)} stores" if len(checked) > 1 else str(checked[0].path)
    verdict = "DAMAGED" if counts[DAMAGED] else "sound"
    click.echo(f"{verdict}: {stores}, {rows:,} trials, {seconds:.1f} s{f'; {told}' if told else ''}")


def _done(done: Repaired) -> list[str]:
    lines = [f"moved      {path} into {done.path / ASIDE}" for path in done.moved]
    if done.rows or done.conversations:
        lines.append(f"restored   {done.rows:,} rows and {done.conversations:,} conversations of {done.path}")
    if done.lost_rows or done.lost_keys:
        shown = ", ".join(done.lost_keys[:_SHOWN]) or "none of their trial keys is known"
        more = ", …" if len(done.lost_keys) > _SHOWN else ""
        count = max(done.lost_rows, len(done.lost_keys))
        lines.append(f"lost       {count:,} rows of {done.path} could not be brought back: {shown}{more}")
    return [clean(line, _LONGEST) for line in lines]


def _as_json(
    checked: list[Checked], repaired: list[Repaired], findings: list[Finding], seconds: float
) -> dict[str, Any]:
    return {
        "sound": all(one.severity != DAMAGED for one in findings),
        "counts": Counter(one.severity for one in findings),
        "stores": [
            {"path": str(one.path), "sound": one.sound, "trials": one.rows, "statuses": one.statuses} for one in checked
        ],
        "findings": [one.to_json() for one in findings],
        "repaired": [asdict(one) | {"path": str(one.path)} for one in repaired],
        "seconds": round(seconds, 3),
    }
