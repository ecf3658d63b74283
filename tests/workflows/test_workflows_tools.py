from __future__ import annotations

import pytest

from workflows.tools import INVALID_INPUT, Tool, builtin_tools, check_arguments, similar_tools

CATEGORIES = {
    "file_operations": {"reader", "scanner", "writer", "converter", "compressor"},
    "data_processing": {"parser", "transformer", "validator", "filter", "aggregator"},
    "network": {"fetcher", "poster", "monitor", "router", "validator"},
    "computation": {"calculator", "analyzer", "predictor", "simulator", "optimizer"},
    "integration": {"authenticator", "connector", "mapper", "queue", "scheduler"},
    "utility": {"logger", "cache", "tracker", "helper", "notifier"},
}


def tool(name: str) -> Tool:
    return builtin_tools()[name]


def test_there_are_the_thirty_tools() -> None:
    expected = {f"{category}_{one}" for category, operations in CATEGORIES.items() for one in operations}
    assert set(builtin_tools()) == expected
    for name, one in builtin_tools().items():
        assert name == f"{one.metadata['category']}_{one.metadata['operation']}"
        assert one.description
        assert one.parameters
        assert one.returns
        assert set(one.dependencies) < set(builtin_tools())


def test_every_tool_has_the_common_errors_and_those_of_its_category() -> None:
    own = {
        "file_operations": {"FILE_NOT_FOUND", "PERMISSION_DENIED"},
        "network": {"NETWORK_ERROR", "INVALID_RESPONSE"},
        "computation": {"CALCULATION_ERROR", "OVERFLOW"},
    }
    for one in builtin_tools().values():
        expected = {INVALID_INPUT, "OPERATION_FAILED", "TIMEOUT"} | own.get(one.metadata["category"], set())
        assert {fault.code for fault in one.errors} == expected


def test_dependencies_have_no_cycle() -> None:
    done: set[str] = set()
    left = dict(builtin_tools())
    while left:
        ready = [name for name, one in left.items() if set(one.dependencies) <= done]
        assert ready
        done.update(ready)
        left = {name: one for name, one in left.items() if name not in done}


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("file_operations_reader", {"path": "/a.csv"}, ""),
        ("file_operations_reader", {}, "missing required parameter 'path'"),
        ("file_operations_reader", {"path": 7}, "must start with /"),
        ("file_operations_reader", {"path": ["/a"]}, "must be of type string"),
        ("file_operations_reader", {"path": "a.csv"}, "must start with /"),
        ("file_operations_reader", {"path": "/a", "encoding": "ebcdic"}, "must be one of utf-8"),
        ("file_operations_reader", {"path": "/a", "colour": 1}, "unknown parameter 'colour'"),
        ("file_operations_compressor", {"file": "/a", "level": 9}, ""),
        ("file_operations_compressor", {"file": "/a", "level": "9"}, ""),
        ("file_operations_compressor", {"file": "/a", "level": 9.0}, ""),
        ("file_operations_compressor", {"file": "/a", "level": 9.5}, "must be of type integer"),
        ("file_operations_compressor", {"file": "/a", "level": True}, "must be of type integer"),
        ("file_operations_compressor", {"file": "/a", "level": "high"}, "must be of type integer"),
        ("file_operations_compressor", {"file": "/a", "level": 0}, "must be at least 1"),
        ("file_operations_compressor", {"file": "/a", "level": 10}, "must be at most 9"),
        (
            "file_operations_scanner",
            {"directory": "/a", "name_pattern": "*", "recursive": "true"},
            "",
        ),
        (
            "file_operations_scanner",
            {"directory": "/a", "name_pattern": "*", "recursive": "often"},
            "must be of type boolean",
        ),
        ("utility_logger", {"message": "", "severity": "info"}, "must have at least 1 characters"),
        ("utility_logger", {"message": "x" * 501, "severity": "info"}, "must have at most 500 characters"),
        ("utility_tracker", {"measure": float("inf"), "metric": "m"}, ""),
        ("utility_tracker", {"measure": "many", "metric": "m"}, "must be of type number"),
    ],
)
def test_arguments_are_checked_against_types_and_constraints(
    name: str, arguments: dict[str, object], reason: str
) -> None:
    found = check_arguments(tool(name), arguments)
    assert reason in found
    assert bool(found) == bool(reason)


def test_similar_tools_begin_with_the_same_operation() -> None:
    assert similar_tools(builtin_tools(), "network_validator")[0] == "data_processing_validator"
    for name in builtin_tools():
        others = similar_tools(builtin_tools(), name)
        assert sorted([name, *others]) == sorted(builtin_tools())
