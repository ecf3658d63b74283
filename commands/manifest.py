"""The manifest of a run: all that it takes to run it again, and to see what has changed since.

It stands in the run directory and holds the options as they were given, the spec that they came to, hashes of every
input, versions of code and packages, and the names that the models gave themselves. No key and no password is in it.
"""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from commands.ledger import Ledger
from commands.request import Request
from providers.catalog import BUILT_IN
from stores.run_directory import RunDirectory
from trials.digest import digest
from trials.errors import StoreError, UsageError
from trials.spec import RunSpec

NAME = "manifest.json"
SCHEMA = 1
_DISTRIBUTION = "ultra-parallel-runner"
_ROOT = Path(__file__).resolve().parent.parent
_SHOWN = 8


def write_manifest(directory: RunDirectory, request: Request) -> None:
    """Leave the manifest of a run that begins; one that is there already stays."""
    if (directory.path / NAME).exists():
        return
    values = request.given
    options = {name: value for name, value in _given(values).items() if name != "from_manifest"}
    directory.write_json(
        NAME,
        {
            "schema": SCHEMA,
            "run_id": directory.run_id,
            "created_at": directory.created_at,
            "code": {"version": _version(), "commit": _commit()},
            "python": platform.python_version(),
            "packages": dict(_packages()),
            "options": options,
            "spec": directory.spec.to_json(),
            "inputs": dict(_inputs(values)) | dict(request.workload.inputs()),
            "deployments": [
                {"name": one.name, "model": one.api_model, "url": one.base_url} for one in request.deployments
            ],
            "reported_models": {},
        },
    )


def note_reported_models(ledger: Ledger) -> None:
    """Add to a run's manifest which models answered, by their own account."""
    try:
        manifest = ledger.run.read_json(NAME)
    except StoreError:
        return  # a run of before there were manifests
    reported: dict[str, Counter[str]] = {}
    for table in ledger.tables(("model", "reported_model")):
        for row in table.group_by(["model", "reported_model"]).aggregate([([], "count_all")]).to_pylist():
            if row["reported_model"]:
                reported.setdefault(row["model"], Counter())[row["reported_model"]] += row["count_all"]
    if manifest.get("reported_models") != reported:
        ledger.run.write_json(NAME, {**manifest, "reported_models": reported})


def with_manifest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the manifest that ``from_manifest`` names, the ones that were given now laid over them.

    Raises UsageError if it cannot be read.
    """
    manifest = _read(Path(values["from_manifest"]))
    said = {name: tuple(value) if isinstance(value, list) else value for name, value in manifest["options"].items()}
    return {**values, **{name: value for name, value in said.items() if name in values}, **_given(values)}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, False, ())}


def check_same(values: Mapping[str, Any], spec: RunSpec, inputs: Mapping[str, str]) -> None:
    """Raise UsageError, naming what differs, if a run would not ask what the manifest's run asked.

    ``inputs`` are the digests of the workload's own inputs.
    """
    manifest = _read(Path(values["from_manifest"]))
    then, now = dict(_leaves(manifest["spec"])), dict(_leaves(orjson.loads(orjson.dumps(spec.to_json()))))
    differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if not differing:
        return
    shown = [f"{name} was {_short(then.get(name))}, is {_short(now.get(name))}" for name in differing[:_SHOWN]]
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    why = _explained(manifest, dict(_inputs(values)) | dict(inputs), differing)
    raise UsageError(f"--from-manifest: this would ask something else than then: {'; '.join(shown)}{more}{why}")


def _explained(manifest: Mapping[str, Any], inputs: Mapping[str, str], differing: list[str]) -> str:
    """Say which inputs have changed, where that is what a differing digest comes from."""
    if not any(name in ("asks.bank", "definition") for name in differing):
        return ""
    changed = []
    if "asks.name" in differing:
        changed.append(f"a bank is named after its file; that was called {manifest['spec']['asks']['name']!r}")
    changed += [f"{name} has changed" for name, known in manifest["inputs"].items() if inputs.get(name, known) != known]
    code = {"version": _version(), "commit": _commit()}
    if code != manifest["code"]:
        changed.append(f"the program was {_code(manifest['code'])}, is {_code(code)}")
    return f" ({'; '.join(changed)})" if changed else ""


def _code(code: Mapping[str, str]) -> str:
    return f"{code['version']} {code['commit'][:10]}".strip()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings with the path to it."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _read(path: Path) -> dict[str, Any]:
    path = path / NAME if path.is_dir() else path
    try:
        manifest = orjson.loads(path.read_bytes())
    except OSError as problem:
        raise UsageError(f"--from-manifest: cannot read {path}: {problem.strerror}") from problem
    except orjson.JSONDecodeError as problem:
        raise UsageError(f"--from-manifest: {path} is damaged: {problem}") from problem
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise UsageError(f"--from-manifest: {path} is no manifest that this version can read (schema {SCHEMA})")
    return manifest


def _inputs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what decides a run beside its options: files by name, and the digest of each."""
    files = {"catalog": str(BUILT_IN), "--catalog": values["catalog"], "--template": values["template"]}
    files |= {"--task-library": values["task_library"], "--tool-registry": values["tool_registry"]}
    for name, path in files.items():
        if path and Path(path).is_file():
            yield name, digest(Path(path).read_bytes().hex())


def _version() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    """Return the commit that this program runs from, if it is in a checkout; ``+`` says that files differ from it."""
    try:
        told = [
            subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, timeout=10, check=True)
            .stdout.decode()
            .strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return told[0] + ("+" if told[1] else "")


def _packages() -> Iterator[tuple[str, str]]:
    """Yield the installed packages and their versions."""
    found = {one.metadata["Name"]: one.version for one in metadata.distributions() if one.metadata["Name"]}
    yield from sorted(found.items(), key=lambda item: item[0].lower())
