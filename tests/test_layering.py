"""The architecture as a test: imports point down only, siblings never import each other, each library has one home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    {"trials"},
    {"workflows", "questions", "providers", "stores", "telemetry"},
    {"processes", "simulator"},
    {"cluster"},
    {"commands"},
    {"batch_test_runner"},
    {"smart_batch_runner", "ultra_parallel_runner"},
]
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names}
HOMES = {
    "aiohttp": {"simulator"},
    "certifi": {"providers"},
    "click": {"commands", "simulator", "ultra_parallel_runner", "smart_batch_runner", "batch_test_runner"},
    "deltalake": {"stores"},
    "dotenv": {"providers"},
    "filelock": {"stores"},
    "genai_prices": {"providers"},
    "jinja2": {"questions"},
    "json_repair": {"questions"},
    "jsonschema": {"questions"},
    "math_verify": {"questions"},
    "referencing": {"questions"},
    "sympy": {"questions"},
    "opentelemetry": {"telemetry"},
    "prometheus_client": {"telemetry"},
    "psutil": {"processes", "telemetry"},
    "pyarrow": {"stores", "questions", "commands", "cluster"},
    "pycurl": {"providers"},
    "pynvml": {"telemetry"},
    "ray": {"cluster"},
    "redis": {"stores"},
    "regex": {"questions"},
    "requests": {"providers"},
    "resvg_py": {"telemetry"},
    "rich": {"telemetry"},
    "tomli": {"providers", "simulator"},
    "typing_extensions": {"trials"},  # for type checkers alone, and not installed for anything else
    "urllib3": {"providers"},
}
FREE = {"orjson"}
"""Has no home, not even among the pure: its functions look at nothing but their arguments."""
PURE = {"trials": set(), "workflows": set()}
IMPURE = {"os", "threading", "time", "socket", "subprocess", "logging", "asyncio"}


def sources() -> list[Path]:
    files = [path for name in LAYER for path in (ROOT / name).rglob("*.py")]
    return sorted([*files, *(ROOT / f"{name}.py" for name in LAYER if (ROOT / f"{name}.py").exists())])


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield (node.module or "").partition(".")[0], node.lineno


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_and_stay_at_home(path):
    import sys

    room = room_of(path)
    for name, line in imported(path):
        place = f"{path.relative_to(ROOT)}:{line}: {room} must not import {name}"
        if name in LAYER:
            assert name == room or LAYER[name] < LAYER[room], place
        elif name in sys.stdlib_module_names:
            assert not (room in PURE and name in IMPURE), place
        else:
            assert name in FREE or room in HOMES.get(name, set()), place


def test_every_room_is_in_the_map():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {path.stem for path in ROOT.glob("*.py")}
    assert rooms - {"tests", "conftest"} == set(LAYER)


def test_a_wrong_import_would_be_found(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f():\n    from stores.journal import x\n    import telemetry.live\n")
    assert {name for name, _ in imported(wrong)} == {"stores", "telemetry"}
